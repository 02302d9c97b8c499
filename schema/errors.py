"""The failures that a mutation answers as members of its union, and the one table that says which error is which."""

from datetime import datetime
from typing import Any, Self

import strawberry

from schema.enums import ErrorCode
from schema.graph import Agent, Schedule
from services import errors


@strawberry.interface(description="A failure that a caller must expect: one member of a mutation's union.")
class UserError:
    code: ErrorCode = strawberry.field(description="A stable name of the failure.")
    message: str = strawberry.field(description="What is wrong and how to mend it, in English.")
    path: list[str] | None = strawberry.field(
        description="The argument that it is about, from the field's arguments down; null where it is about none."
    )

    @classmethod
    def of(cls, error: Any) -> Self:
        return cls(**common(error))


def common(error: errors.UserError) -> dict[str, Any]:
    return {"code": ErrorCode(error.code), "message": error.message, "path": list(error.path) or None}


@strawberry.type(description="One thing that is wrong with one field of the input.")
class FieldIssue:
    path: list[str] = strawberry.field(description="The field, from the field's arguments down; list items by index.")
    message: str = strawberry.field(description="What is wrong and how to mend it, in English.")


@strawberry.type(description="One or more fields are wrong; nothing was saved.")
class InvalidInput(UserError):
    issues: list[FieldIssue] = strawberry.field(description="Everything that is wrong, each with its path.")

    @classmethod
    def of(cls, error: errors.InvalidInput) -> Self:
        issues = [FieldIssue(path=[*issue.path], message=issue.message) for issue in error.issues]
        return cls(**common(error), issues=issues)


@strawberry.type(description="There is no such thing for this caller; one that may not be seen is not there either.")
class NotFound(UserError):
    pass


@strawberry.type(description="The caller may see it and may not do this.")
class Forbidden(UserError):
    pass


@strawberry.type(description="Another live one has the name.")
class NameTaken(UserError):
    suggestion: str = strawberry.field(description="A name like it that was free just now.")

    @classmethod
    def of(cls, error: errors.NameTaken) -> Self:
        return cls(**common(error), suggestion=error.suggestion)


@strawberry.type(description="The schedule has changed since the caller read it; nothing was saved.")
class VersionConflict(UserError):
    expected: int = strawberry.field(description="The version that the caller expected.")
    actual: int = strawberry.field(description="The version that it has.")
    current: Schedule = strawberry.field(description="The schedule as it is now, to repeat the change on.")

    @classmethod
    def of(cls, error: errors.VersionConflict) -> Self:
        current = Schedule.of(error.current)
        return cls(**common(error), expected=error.expected, actual=error.actual, current=current)


@strawberry.type(description="The agent has changed since the caller read it; nothing was saved.")
class AgentVersionConflict(UserError):
    expected: int = strawberry.field(description="The version that the caller expected.")
    actual: int = strawberry.field(description="The version that it has.")
    current: Agent = strawberry.field(description="The agent as it is now, to repeat the change on.")

    @classmethod
    def of(cls, error: errors.VersionConflict) -> Self:
        current = Agent.of(error.current)
        return cls(**common(error), expected=error.expected, actual=error.actual, current=current)


@strawberry.type(description="The idempotency key was used for another request; nothing was done.")
class IdempotencyKeyReused(UserError):
    pass


@strawberry.type(description="The schedule does not fire at that time; nothing was changed.")
class FireNotFound(UserError):
    nearest: list[datetime] = strawberry.field(
        description="The due times to come next to it, the one before and the one after, as far as there are any."
    )

    @classmethod
    def of(cls, error: errors.FireNotFound) -> Self:
        return cls(**common(error), nearest=[*error.nearest])


@strawberry.type(description="Temporal did not answer in time; nothing was changed.")
class ClockUnavailable(UserError):
    retry_after_seconds: int = strawberry.field(description="After how many seconds to try again.")

    @classmethod
    def of(cls, error: errors.ClockUnavailable) -> Self:
        return cls(**common(error), retry_after_seconds=int(error.retry_after.total_seconds()))


TYPES: dict[type[errors.UserError], tuple[type[UserError], ...]] = {
    errors.InvalidInput: (InvalidInput,),
    errors.NotFound: (NotFound,),
    errors.Forbidden: (Forbidden,),
    errors.NameTaken: (NameTaken,),
    errors.VersionConflict: (VersionConflict, AgentVersionConflict),
    errors.IdempotencyKeyReused: (IdempotencyKeyReused,),
    errors.FireNotFound: (FireNotFound,),
    errors.ClockUnavailable: (ClockUnavailable,),
}
"""What becomes of an error in a field whose union has the type; in every other field it is a top-level error."""

TOP_LEVEL: tuple[type[errors.UserError], ...] = (
    errors.CursorExpired,
    errors.AgentFailure,
    errors.CountChanged,
)
"""Those that no union holds: top-level errors with their code."""


class Answer:
    """One row of the table, in the form of a `strawberry.ExceptionHandler`."""

    def __init__(self, exception_type: type[errors.UserError], error_type: type[UserError]) -> None:
        self.exception_type = exception_type
        self.error_type = error_type

    def handle(self, exception: errors.UserError, *, field: object, info: object) -> UserError:
        return self.error_type.of(exception)


def handlers() -> list[Answer]:
    return [Answer(error, answer) for error, answers in TYPES.items() for answer in answers]
