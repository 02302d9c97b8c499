"""The one place where errors become what a client may see.

A client is told what it did wrong, or which of Nextfire's own errors stopped it. Everything else is logged here,
once, and answered as `Internal error` with the request id to ask about.
"""

import re
from collections.abc import Iterable
from typing import Any

import structlog
from graphql import GraphQLError
from strawberry.exceptions import StrawberryInputCoercionError

from nextfire.request_ids import request_id
from services.errors import InvalidInput, NextfireError

PARSE_FAILED = "GRAPHQL_PARSE_FAILED"
VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"
BAD_USER_INPUT = "BAD_USER_INPUT"
BAD_REQUEST = "BAD_REQUEST"
INTERNAL = "INTERNAL"
TIMEOUT = "TIMEOUT"
NO_FIT = (
    "This does not fit the schema, and you may not read it here, so that you are told no more: "
    "check the document against schema.graphql, or ask an operator."
)

JsonError = dict[str, Any]
"""An error as the response holds it: https://spec.graphql.org/draft/#sec-Errors, always with `extensions.code`."""

_log = structlog.get_logger(__name__)

# graphql-core and Strawberry write Python values, class names and the text of exceptions into messages.
_SUGGESTION = re.compile(r" Did you mean .*\?$", re.DOTALL)
_FOUND = re.compile(r"(?:, found|, but encountered error '.*'; found)(?:: .*| null)\.?$.*", re.DOTALL)
_CANNOT_REPRESENT = re.compile(r"(cannot represent [^:]*): .*", re.DOTALL)
_ARGUMENT = re.compile(r"^Argument '\w+'")
_VARIABLE = re.compile(r"^Variable '\$\w+' has invalid value(?: at [\w.\[\]]+)?(?=: )")
_MAYBE = re.compile(r"^(?:.*Field '(\w+)' of type|.*Field of type) 'Maybe\[.*", re.DOTALL)


def request_errors(errors: Iterable[GraphQLError], code: str) -> list[JsonError]:
    """Errors found before anything ran: in the text of the document, or in the values of the variables."""
    return [_shown(error, clean_message(error), _own_code(error) or code) for error in errors]


def veiled_error(error: GraphQLError, code: str) -> JsonError:
    """An error of the same kind that tells where something does not fit the schema, and no name of the schema's."""
    variable = _VARIABLE.match(error.message)
    return _shown(error, f"{variable[0]}: {NO_FIT}" if variable else NO_FIT, code)


def field_errors(errors: Iterable[GraphQLError], action: str = "graphql.execute") -> list[JsonError]:
    """Errors that came up while the operation ran."""
    return [_field_error(error, action) for error in errors]


def exception_errors(error: BaseException, action: str) -> list[JsonError]:
    """An exception that no field caught, as the only error of the answer."""
    return field_errors([GraphQLError("", original_error=error)], action)  # type: ignore[arg-type]


def error_of(message: str, code: str, **extensions: Any) -> JsonError:
    """An error with the message and the code that the transport itself wrote."""
    return {"message": message, "extensions": {"code": code, **extensions}}


def _field_error(error: GraphQLError, action: str) -> JsonError:
    cause = _cause(error)
    code = getattr(cause, "code", None)
    if isinstance(cause, NextfireError) and code:
        return _shown(error, cause.message, code, **_details(cause))
    if isinstance(cause, GraphQLError):
        own = _own_code(cause)
        if own:
            return _shown(error, cause.message, own)
        if isinstance(cause, StrawberryInputCoercionError):
            return _shown(error, clean_message(cause), BAD_USER_INPUT)
        if argument := _ARGUMENT.match(cause.message):
            # The rest names types. Literals were validated: it is what variables hold, and that is most often null.
            message = f"{argument[0]} cannot take what its variables hold: is one of them null?"
            return _shown(error, message, BAD_USER_INPUT)
    _log.error("an error was masked", action=action, request_id=request_id(), path=error.path or [], exc_info=cause)
    return _shown(error, "Internal error", INTERNAL, requestId=request_id())


def _cause(error: GraphQLError) -> BaseException:
    """What was raised, below the errors that graphql-core wrapped it in."""
    cause: BaseException = error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    return cause


def _details(error: NextfireError) -> dict[str, Any]:
    if isinstance(error, InvalidInput):
        return {"issues": [{"path": list(i.path), "message": i.message} for i in error.issues]}
    return {}


def _own_code(error: GraphQLError) -> str | None:
    code = (error.extensions or {}).get("code")
    return code if isinstance(code, str) else None


def _shown(error: GraphQLError, message: str, code: str, **extensions: Any) -> JsonError:
    shown: JsonError = {"message": message}
    if error.locations:
        shown["locations"] = [location.formatted for location in error.locations]
    if error.path is not None:
        shown["path"] = list(error.path)
    return shown | {"extensions": {"code": code, **extensions}}


def clean_message(error: GraphQLError) -> str:
    """The message without Python's names, values and exceptions, which graphql-core and Strawberry put in."""
    inner = error.original_error
    if isinstance(inner, GraphQLError) and error.message.endswith(inner.message):
        return error.message.removesuffix(inner.message) + clean_message(inner)
    message = error.message
    field = _MAYBE.match(message)
    if field:
        name = f"'{field[1]}'" if field[1] else "A field that may be left out"
        return f"{name} cannot be null: leave it out instead."
    message = message.replace(" not to be None.", " not to be null.")
    message = _SUGGESTION.sub("", message)  # one rule of graphql-core's makes some whatever it is told
    message = _CANNOT_REPRESENT.sub(r"\1.", message)
    return _FOUND.sub(".", message)
