"""The one tree of errors that the services raise.

```
NextfireError
├── UserError               a caller can mend it; a mutation answers it as a member of its union
│   ├── InvalidInput        INVALID_INPUT           one or more fields are wrong
│   ├── NotFound            NOT_FOUND               no such thing for this caller
│   ├── Forbidden           FORBIDDEN               the caller may see it, and may not do this
│   ├── NameTaken           NAME_TAKEN              a live row has the name already
│   ├── VersionConflict     VERSION_CONFLICT        the row has moved on since it was read
│   ├── IdempotencyKeyReused IDEMPOTENCY_KEY_REUSED the key was used for another request
│   ├── FireNotFound        FIRE_NOT_FOUND          the schedule has no fire at that time
│   ├── AgentFailure        AGENT_UNREACHABLE, AGENT_REFUSED
│   ├── ClockUnavailable    CLOCK_UNAVAILABLE       Temporal did not answer
│   ├── CountChanged        COUNT_CHANGED           a bulk change would touch another number of rows
│   └── CursorExpired       CURSOR_EXPIRED          the event log no longer reaches back that far
├── Unauthenticated         UNAUTHENTICATED         nobody knows who is asking
└── Unavailable             UNAVAILABLE             Postgres or the authorization provider did not answer; try again
    ├── CommitUnknown       UNAVAILABLE             Postgres was asked to keep a change, and did not say that it has
    └── ProviderMisconfigured PROVIDER_MISCONFIGURED the provider does not know what it is asked about
```

Each class builds its own message from its fields; `code` is stable and part of the API.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

Path = tuple[str, ...]


class NextfireError(Exception):
    """The root: everything that Nextfire raises on purpose."""

    code: ClassVar[str]

    @property
    def message(self) -> str:
        return str(self)


class UserError(NextfireError):
    """Something that the caller can mend. `path` names the argument, from the field's arguments down."""

    path: Path = ()


@dataclass(frozen=True)
class Issue:
    """One thing wrong with one field of the input."""

    path: Path
    message: str

    def under(self, *prefix: str) -> "Issue":
        """The same issue, seen from further up."""
        return Issue((*prefix, *self.path), self.message)


class InvalidInput(UserError):
    code = "INVALID_INPUT"

    def __init__(self, issues: tuple[Issue, ...]) -> None:
        self.issues = issues
        self.path = issues[0].path
        super().__init__("; ".join(f"{'.'.join(i.path)}: {i.message}" for i in issues))

    @classmethod
    def of(cls, message: str, *path: str) -> "InvalidInput":
        return cls((Issue(path, message),))


class NotFound(UserError):
    code = "NOT_FOUND"

    def __init__(self, kind: str, *path: str) -> None:
        self.kind = kind
        self.path = path
        super().__init__(f"There is no such {kind}.")


class Forbidden(UserError):
    code = "FORBIDDEN"

    def __init__(self, operation: str, kind: str, *path: str) -> None:
        self.path = path
        super().__init__(f"You may not {operation} this {kind}.")


class NameTaken(UserError):
    code = "NAME_TAKEN"

    def __init__(self, kind: str, name: str, suggestion: str, *path: str) -> None:
        self.name = name
        self.suggestion = suggestion
        self.path = path
        super().__init__(f"Another {kind} is called {name!r}; {suggestion!r} is free.")


class VersionConflict(UserError):
    code = "VERSION_CONFLICT"

    def __init__(self, expected: int, actual: int, current: Any, *path: str) -> None:
        self.expected = expected
        self.actual = actual
        self.current = current
        self.path = path
        super().__init__(
            f"You expected version {expected}, and it is at {actual} now: read it again and repeat the change."
        )


class IdempotencyKeyReused(UserError):
    code = "IDEMPOTENCY_KEY_REUSED"

    def __init__(self, *path: str) -> None:
        self.path = path
        super().__init__("This idempotency key was used for another request; a new request needs a new key.")


class FireNotFound(UserError):
    code = "FIRE_NOT_FOUND"

    def __init__(self, fire_at: datetime, nearest: tuple[datetime, ...], *path: str) -> None:
        self.fire_at = fire_at
        self.nearest = nearest
        self.path = path
        instead = " and ".join(f"{at:%Y-%m-%dT%H:%M:%SZ}" for at in nearest)
        advice = f"; the nearest to come: {instead}." if instead else ", and at no other time to come."
        super().__init__(f"The schedule does not fire at {fire_at.isoformat().replace('+00:00', 'Z')}{advice}")


class AgentFailure(UserError):
    code = "AGENT_UNREACHABLE"

    def __init__(self, message: str, *, retryable: bool, refused: bool = False) -> None:
        self.retryable = retryable
        self.refused = refused
        super().__init__(message)


class ClockUnavailable(UserError):
    code = "CLOCK_UNAVAILABLE"

    def __init__(self, retry_after: timedelta) -> None:
        self.retry_after = retry_after
        super().__init__("Temporal did not answer in time; nothing was changed.")


class CountChanged(UserError):
    code = "COUNT_CHANGED"

    def __init__(self, expected: int, actual: int) -> None:
        self.expected = expected
        self.actual = actual
        self.path = ("input", "expectedCount")
        super().__init__(f"You expected {expected} schedules, and the filter matches {actual} now.")


class CursorExpired(UserError):
    code = "CURSOR_EXPIRED"
    path = ("after",)

    def __init__(self) -> None:
        super().__init__(
            "The event log does not reach back to this cursor: read again, and start from the new eventCursor."
        )


class Unauthenticated(NextfireError):
    code = "UNAUTHENTICATED"

    def __init__(self, advice: str) -> None:
        super().__init__(f"Nobody is known by these credentials. {advice}")


class Unavailable(NextfireError):
    code = "UNAVAILABLE"

    def __init__(self, what: str = "The database") -> None:
        super().__init__(f"{what} did not answer; nothing was changed. Try again shortly.")


class CommitUnknown(Unavailable):
    """A change may be kept or not: the same request again under its idempotency key finds out."""

    def __init__(self) -> None:
        NextfireError.__init__(
            self,
            "The database did not say whether the change was kept. Look, or send the same request again: under the same"
            " idempotencyKey or expectedVersion nothing is done twice.",
        )


class ProviderMisconfigured(Unavailable):
    """An outage that time does not end: the provider knows neither to allow nor to deny."""

    code = "PROVIDER_MISCONFIGURED"

    def __init__(self, what: str, status: int) -> None:
        NextfireError.__init__(
            self,
            f"The authorization provider answers {status} when it is asked about {what}: its configuration has to be"
            " mended. Nothing was changed.",
        )
