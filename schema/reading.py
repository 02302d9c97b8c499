"""Reading input values into those of `services/`, with everything that is wrong collected on the way."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from strawberry import Some

from schema.scalars import malformed_in
from services.errors import InvalidInput, Issue

NOT_NULL = "This may not be null: leave it out, or give a value."


class Reader:
    """Collects the issues of one input; what could not be read is None."""

    def __init__(self) -> None:
        self._issues: list[Issue] = []

    @property
    def issues(self) -> tuple[Issue, ...]:
        return tuple(self._issues)

    def refuse(self, message: str, *path: str) -> None:
        self._issues.append(Issue(path, message))

    def scalar(self, value: Any, *path: str) -> Any:
        """What a scalar made of its value."""
        malformed = malformed_in(value)
        if malformed is not None:
            self.refuse(malformed.message, *path)
            return None
        return value

    def time(self, value: object, *path: str) -> datetime | None:
        read: datetime | None = self.scalar(value, *path)
        return read

    def finish(self) -> None:
        """Raises `InvalidInput` if anything was wrong: for arguments, which no service checks."""
        if self._issues:
            raise InvalidInput(self.issues)


def seconds(value: int) -> timedelta:
    return timedelta(seconds=value)


Convert = Callable[[Reader, Any, tuple[str, ...]], Any]


class _Refused:
    """Stands for null where null is refused."""


REFUSED = _Refused()


@dataclass(frozen=True, slots=True)
class Change:
    """One field of an update: its attribute, its name in the API, and the key of the change that it makes.

    `null` is what an explicit null means.
    """

    attribute: str
    name: str
    key: str
    convert: Convert
    null: Any = REFUSED


def changes(reader: Reader, input: object, fields: tuple[Change, ...]) -> dict[str, Any]:
    """The fields that are present; absent ones, and those that could not be read, are left out."""
    found: dict[str, Any] = {}
    for field in fields:
        given: Some[Any] | None = getattr(input, field.attribute)
        if given is None:
            continue
        path = ("input", field.name)
        if given.value is not None:
            before = len(reader.issues)
            value = field.convert(reader, given.value, path)
            if len(reader.issues) == before:
                found[field.key] = value
        elif field.null is REFUSED:
            reader.refuse(NOT_NULL, *path)
        else:
            found[field.key] = field.null
    return found


def plain(_reader: Reader, value: Any, _path: tuple[str, ...]) -> Any:
    return value


def scalar(reader: Reader, value: Any, path: tuple[str, ...]) -> Any:
    return reader.scalar(value, *path)


def duration(_reader: Reader, value: int, _path: tuple[str, ...]) -> timedelta:
    return seconds(value)
