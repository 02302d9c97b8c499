"""How the transport says no before an operation runs."""

from collections.abc import Mapping, Sequence

from nextfire.transport.masking import JsonError, error_of


class Refused(Exception):
    """No operation ran: the answer holds these errors and no `data`. `status` is for clients that read it."""

    def __init__(self, status: int, errors: Sequence[JsonError]) -> None:
        self.status = status
        self.errors = list(errors)
        super().__init__(self.errors[0]["message"])

    def again(self) -> "Refused":
        """The same refusal, to be raised once more: an exception gathers the frames of each time."""
        return Refused(self.status, self.errors)


class Misfit(Refused):
    """The document, or what its variables hold, does not fit the schema.

    `errors` tell how, in the names of the schema. `veiled` is what those are told who may not read it.
    """

    def __init__(self, errors: Sequence[JsonError], veiled: Sequence[JsonError]) -> None:
        super().__init__(422, errors)
        self.veiled = list(veiled)

    def again(self) -> "Misfit":
        return Misfit(self.errors, self.veiled)


class Refusal(Refused):
    """The request is no GraphQL request, or not one to be had here: the status holds for every media type."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        self.headers = dict(headers or {})
        self._code = code
        super().__init__(status, [error_of(message, code)])

    def again(self) -> "Refusal":
        return Refusal(self.status, self._code, str(self), self.headers)
