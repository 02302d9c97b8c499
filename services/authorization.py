"""What a caller may do, and who says so: nobody in open mode, the caller's role, or the authorization provider.

An `Action` is what the product knows; the role that it needs, and the type and operation that the provider is asked
for, both follow from it.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from services.principals import Actor, Role

ANY = "*"
"""The selector that stands for every resource of its type, and for one that is not there yet."""

SCHEDULE_PREFIX = "run-schedule"

_RANKS = {role: rank for rank, role in enumerate(Role)}


class ResourceType(StrEnum):
    """The values are those of the provider's contract."""

    AGENT = "agent"
    TASK = "task"
    SCHEDULE = "schedule"

    __hash__ = str.__hash__  # as for roles


class Operation(StrEnum):
    """The values are those of the provider's contract."""

    CREATE = "create"
    READ = "read"
    UPDATE = "update"
    DELETE = "delete"
    EXECUTE = "execute"


@dataclass(frozen=True, slots=True)
class Resource:
    type: ResourceType
    selector: str


@dataclass(frozen=True, slots=True)
class Action:
    """Something that a caller may be allowed to do with a resource of the type."""

    type: ResourceType
    operation: Operation
    role: Role
    """The least role that may do it."""
    verb: str
    """Stands in the refusal: "You may not {verb} this agent."."""


READ_AGENT = Action(ResourceType.AGENT, Operation.READ, Role.VIEWER, "see")
RUN_AGENT = Action(ResourceType.AGENT, Operation.EXECUTE, Role.EDITOR, "run")
SCHEDULE_AGENT = Action(ResourceType.AGENT, Operation.UPDATE, Role.EDITOR, "schedule runs of")
REGISTER_AGENT = Action(ResourceType.AGENT, Operation.CREATE, Role.OPERATOR, "register")
UPDATE_AGENT = Action(ResourceType.AGENT, Operation.UPDATE, Role.OPERATOR, "change")
DELETE_AGENT = Action(ResourceType.AGENT, Operation.DELETE, Role.OPERATOR, "delete")
READ_SCHEDULE = Action(ResourceType.SCHEDULE, Operation.READ, Role.VIEWER, "see")
UPDATE_SCHEDULE = Action(ResourceType.SCHEDULE, Operation.UPDATE, Role.EDITOR, "change")
TRIGGER_SCHEDULE = Action(ResourceType.SCHEDULE, Operation.UPDATE, Role.EDITOR, "run")
DELETE_SCHEDULE = Action(ResourceType.SCHEDULE, Operation.DELETE, Role.EDITOR, "delete")
READ_TASK = Action(ResourceType.TASK, Operation.READ, Role.VIEWER, "see")


def agent_resource(agent_id: UUID) -> Resource:
    return Resource(ResourceType.AGENT, str(agent_id))


def schedule_resource(agent_id: UUID, schedule_id: UUID) -> Resource:
    return Resource(ResourceType.SCHEDULE, f"{SCHEDULE_PREFIX}::{agent_id}::{schedule_id}")


def task_resource(task_id: UUID) -> Resource:
    return Resource(ResourceType.TASK, str(task_id))


def selected_id(type: ResourceType, selector: str) -> UUID | None:
    """The id of the row that a selector stands for; None for one that was not made here."""
    text = selector
    if type is ResourceType.SCHEDULE:
        prefix, _, rest = selector.partition("::")
        _, _, text = rest.partition("::")
        if prefix != SCHEDULE_PREFIX:
            return None
    try:
        return UUID(text)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Question:
    """Whether an action is allowed with this resource."""

    action: Action
    resource: Resource


class Authorizer(Protocol):
    """Decides for a caller. Every method but `known` raises `Unavailable` where nobody can decide now."""

    def known(self, actor: Actor, action: Action) -> bool | None:
        """Whether the caller may do it with every resource of its account, or with none; None: it has to be asked."""
        ...

    async def allowed(self, actor: Actor, questions: Sequence[Question]) -> list[bool]:
        """The answers, in the order of the questions."""
        ...

    async def readable(self, actor: Actor, type: ResourceType) -> frozenset[UUID] | None:
        """The ids of all that the caller may read; None where that is everything in its account."""
        ...

    def visibility(self, actor: Actor) -> Hashable:
        """Equal for callers to whom every answer about what they may do is the same, now and later."""
        ...


class OpenAuthorizer:
    """Allows everything: for development."""

    def known(self, actor: Actor, action: Action) -> bool | None:
        return True

    async def allowed(self, actor: Actor, questions: Sequence[Question]) -> list[bool]:
        return [True for _ in questions]

    async def readable(self, actor: Actor, type: ResourceType) -> frozenset[UUID] | None:
        return None

    def visibility(self, actor: Actor) -> Hashable:
        return actor.account_id


class RoleAuthorizer:
    """Decides by the role that came with the caller's credential; a caller without one may do nothing."""

    def known(self, actor: Actor, action: Action) -> bool | None:
        return actor.role is not None and has_role(actor.role, action.role)

    async def allowed(self, actor: Actor, questions: Sequence[Question]) -> list[bool]:
        return [bool(self.known(actor, question.action)) for question in questions]

    async def readable(self, actor: Actor, type: ResourceType) -> frozenset[UUID] | None:
        return None if actor.role is not None else frozenset()

    def visibility(self, actor: Actor) -> Hashable:
        return actor.account_id, actor.role


def has_role(role: Role, least: Role) -> bool:
    """Whether the role includes the other; each one includes those before it."""
    return _RANKS[role] >= _RANKS[least]
