"""A schema whose objects hold what they must not: nulls, exceptions, awaitables, things of other classes."""

from __future__ import annotations

from collections.abc import Generator
from enum import Enum
from random import Random
from typing import Annotated, Any, NewType

import strawberry
from graphql import GraphQLError
from strawberry.scalars import JSON
from strawberry.schema.config import StrawberryConfig
from strawberry.types.scalar import ScalarDefinition

from schema.fields import NOT_READ, resolved

Shout = NewType("Shout", str)


@strawberry.enum
class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Awaited:
    """Something to await, as often as one likes."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __await__(self) -> Generator[Any, None, Any]:
        if isinstance(self._value, Exception):
            raise self._value
        return self._value
        yield

    def __repr__(self) -> str:
        return "awaited"


class Thing:
    """Of no use to any field. What a bare object says of itself differs each time."""

    def __repr__(self) -> str:
        return "a thing"


class Duck:
    """Not of the schema, but with all attributes that are asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return None if name in ("maybe", "friend", "boss") else "duck"

    def __repr__(self) -> str:
        return "a duck"


@strawberry.interface
class Named:
    name: str
    maybe: str | None


@strawberry.type
class Cat(Named):
    lives: int
    colour: Colour
    colours: list[Colour | None]
    weight: float | None
    friend: Named | None

    @strawberry.field
    def loud(self) -> str:
        return self.name.upper()

    @strawberry.field
    def broken(self) -> str | None:
        raise ValueError(f"broken {self.name}")

    @strawberry.field
    async def later(self) -> str:
        return self.name + " later"

    @strawberry.field
    async def owner(self) -> Dog | None:
        return self.friend if isinstance(self.friend, Dog) else None


@strawberry.type
class Dog(Named):
    tricks: list[str]
    grid: list[list[int]] | None
    shout: Shout | None
    boss: Pet | None
    pack: list[Pet]

    @strawberry.field
    def path(self, info: strawberry.Info[Any, None]) -> str:
        return "/".join(str(each) for each in info.path.as_list()) + info.field_name

    @strawberry.field
    async def hard(self) -> int:
        raise GraphQLError("hard", extensions={"code": "HARD"})

    @strawberry.field
    async def hard_at_times(self) -> int:
        if self.maybe is None:
            raise RuntimeError(self.name)
        return len(self.maybe)

    @strawberry.field
    async def puppies(self, info: strawberry.Info[Any, None]) -> list[Dog]:
        assert info.field_name == "puppies"
        return [each for each in self.pack if isinstance(each, Dog)]

    @strawberry.field
    def again(self, times: int = 2) -> list[str | None]:
        return [self.maybe] * times


async def _following(info: strawberry.Info[Any, None], notes: list[Note]) -> list[Note | None]:
    assert info.field_name == "following"
    return [None if each.loud else Note.of(each.text, True) for each in notes]


@strawberry.type
class Note:
    text: str
    loud: bool

    @resolved("Read together, below what is.", together=_following)
    async def following(self) -> Note | None:
        return None if self.loud else Note.of(self.text, True)

    @classmethod
    def of(cls, text: Any, loud: bool) -> Note:
        return cls(text=str(text), loud=loud)

    @classmethod
    async def of_boxes(cls, info: strawberry.Info[Any, None], boxes: list[Box], loud: bool = False) -> list[Note]:
        assert info.field_name == "note"
        return [cls.of(each.label, loud) for each in boxes]


@strawberry.type
class Box:
    """Of no interface, so that anything with the attributes will do."""

    label: str
    tag: strawberry.ID | None
    holds: Pet | None
    named: Named | None
    boxes: list[Box | None]
    flag: bool

    @strawberry.field
    def upper(self) -> str:
        return self.label.upper()

    @strawberry.field
    def inner(self) -> Box:
        return self

    @resolved(
        "Read together, and never odd by chance: of several that fail, which is told is a matter of time.",
        together=Note.of_boxes,
    )
    async def note(self, loud: bool = False) -> Note:
        return Note.of(self.label, loud)

    @resolved("Known, and refused where it is too much.", known=lambda box, times=2, loud=False: box.cry(times, loud))
    def cries(self, times: int | None = 2, loud: bool = False) -> list[str | None]:
        return self.cry(times, loud)

    def cry(self, times: int | None, loud: bool) -> list[str | None]:
        if times is not None and times > 3:
            raise ValueError("too much")
        return [self.label.upper() if loud else None] * (times or 1)

    @resolved("Known to most.", known=lambda box: NOT_READ if box.tag == "Rex" else Note.of("known", False))
    def known(self) -> Note:
        return Note.of("known", False)


Pet = Annotated[Cat | Dog, strawberry.union("Pet")]


class Made:
    """Values of the types, a share of which are something else."""

    def __init__(self, seed: str, odd: float) -> None:
        self.random = Random(seed)
        self._odd = odd

    def some(self, make: Any, *arguments: Any) -> Any:
        return self._odd_one(make, arguments) if self.random.random() < self._odd else make(*arguments)

    def _odd_one(self, make: Any, arguments: Any) -> Any:
        kind = self.random.randint(0, 9)
        if kind == 0:
            return None
        if kind == 1:
            return ValueError("held")
        if kind == 2:
            return Awaited(make(*arguments))
        if kind == 3:
            return Awaited(RuntimeError("late"))
        if kind == 4:
            return Duck()
        if kind == 5:
            return GraphQLError("coded", extensions={"code": "CODED"})
        if kind == 6:
            return strawberry.cast(Dog, self.cat(0))
        return [2**31, "7", True, 1.5, ("a",), range(2), Thing(), float("nan")][self.random.randint(0, 7)]

    def maybe(self, make: Any, *arguments: Any) -> Any:
        return None if self.random.random() < 0.3 else self.some(make, *arguments)

    def text(self) -> str:
        return self.random.choice(["", "Tom", "Rex"])

    def several(self, make: Any, *arguments: Any) -> list[Any]:
        return [self.some(make, *arguments) for _ in range(self.random.randint(0, 3))]

    def pet(self, depth: int) -> Any:
        return self.cat(depth) if self.random.random() < 0.5 else self.dog(depth)

    def cat(self, depth: int) -> Cat:
        return Cat(
            name=self.some(self.text),
            maybe=self.maybe(self.text),
            lives=self.some(self.random.randint, 0, 9),
            colour=self.some(self.random.choice, list(Colour)),
            colours=self.some(self.several, self.random.choice, [*Colour, None]),
            weight=self.maybe(self.random.choice, [1.5, 2]),
            friend=self.maybe(self.pet, depth - 1) if depth > 0 else None,
        )

    def dog(self, depth: int) -> Dog:
        return Dog(
            name=self.some(self.text),
            maybe=self.maybe(self.text),
            tricks=self.some(self.several, self.text),
            grid=self.maybe(self.several, self.several, self.random.randint, 0, 9),
            shout=self.maybe(self.text),
            boss=self.maybe(self.pet, depth - 1) if depth > 0 else None,
            pack=self.some(self.several, self.pet, depth - 1) if depth > 0 else [],
        )

    def box(self, depth: int) -> Box:
        return Box(
            label=self.some(self.text),
            tag=self.maybe(self.text),
            holds=self.maybe(self.pet, depth - 1) if depth > 0 else None,
            named=self.maybe(self.pet, depth - 1) if depth > 0 else None,
            boxes=self.some(self.several, self.box, depth - 1) if depth > 0 else [],
            flag=self.some(self.random.choice, [True, False]),
        )


def made(info: strawberry.Info[Any, None], make: str, number: int = 0) -> Any:
    seed, odd = info.context
    world = Made(f"{seed} {number} {info.path.as_list()}", odd)
    return world.some(getattr(world, make), 3)


@strawberry.input
class Size:
    width: int
    height: int | None = 7
    unit: Colour = Colour.RED


@strawberry.input
class Wish:
    names: list[str | None]
    text: str | None = "wish"
    size: Size | None = strawberry.field(default_factory=lambda: Size(width=1))
    grid: list[list[int]] | None = None
    shout: Shout | None = None
    at: JSON | None = None


@strawberry.input(one_of=True)
class Either:
    name: strawberry.Maybe[str]
    size: strawberry.Maybe[Size]


@strawberry.type
class Query:
    @strawberry.field
    async def wished(
        self,
        info: strawberry.Info[Any, None],
        wish: Wish | None = None,
        either: Either | None = None,
        colours: list[Colour | None] | None = None,
        colour: Colour = Colour.BLUE,
        id: strawberry.ID | None = strawberry.UNSET,
        times: int = 1,
    ) -> Note:
        return Note.of((wish, either, colours, colour, id, times), False)

    @strawberry.field
    def told(self, info: strawberry.Info[Any, None]) -> Note:
        """What a resolver is told."""
        raw = info._raw_info
        variables = [(name, type(value).__name__, value) for name, value in info.variable_values.items()]
        names = [each.name and each.name.value for each in (raw.operation, *raw.fragments.values())]
        of = [str(each) for each in (raw.parent_type, raw.return_type)]
        nodes = [each.loc and each.loc.start for each in raw.field_nodes]
        return Note.of((raw.field_name, raw.path, raw.path.typename, variables, names, of, nodes, raw.root_value), True)

    @strawberry.field
    def pet(self, info: strawberry.Info[Any, None]) -> Pet | None:
        pet: Pet | None = made(info, "pet")
        return pet

    @strawberry.field
    async def named(self, info: strawberry.Info[Any, None]) -> Named | None:
        named: Named | None = made(info, "pet")
        return named

    @strawberry.field
    async def pets(self, info: strawberry.Info[Any, None]) -> list[Pet]:
        return [made(info, "pet"), *made(info, "dog").pack]

    @strawberry.field
    def box(self, info: strawberry.Info[Any, None]) -> Box | None:
        box: Box | None = made(info, "box")
        return box

    @strawberry.field
    async def boxes(self, info: strawberry.Info[Any, None], count: int = 4) -> list[Box] | None:
        return [made(info, "box", number) for number in range(count)]

    @strawberry.field
    async def dogs(self, info: strawberry.Info[Any, None]) -> list[Dog | None] | None:
        return [made(info, "dog", number) for number in range(3)]


@strawberry.type
class Mutation(Query):
    """The same, one after the other."""


def _shout(value: Any) -> str | None:
    if value == "Rex":
        raise ValueError("not this one")
    return value.upper() or None


def nasty_schema() -> strawberry.Schema:
    scalars: dict[object, ScalarDefinition] = {
        Shout: strawberry.scalar(name="Shout", serialize=_shout, parse_value=str)
    }
    config = StrawberryConfig(scalar_map=scalars, enable_experimental_incremental_execution=True)
    return strawberry.Schema(query=Query, mutation=Mutation, config=config)
