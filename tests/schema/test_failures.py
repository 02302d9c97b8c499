"""What a service raises is answered as a member of the field's union, and where there is none, at the top level."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from resolvers.context import ServerFacts, Services
from services.authorization import OpenAuthorizer
from services.errors import (
    ClockUnavailable,
    CursorExpired,
    FireNotFound,
    Forbidden,
    IdempotencyKeyReused,
    InvalidInput,
    NameTaken,
    NextfireError,
    NotFound,
    Unavailable,
)
from tests.schema.api import Api, creation, input_type

ID = f"Schedule:{uuid4()}"
INPUTS: dict[str, dict[str, Any]] = {
    "registerAgent": {"name": "a", "protocol": "SYNC", "url": "http://agent.test"},
    "updateAgent": {"id": ID, "expectedVersion": 1},
    "deleteAgent": {"id": ID},
    "runAgent": {"agentId": ID, "initialInput": {"content": "Hello."}},
    "createSchedule": creation(ID),
    "updateSchedule": {"id": ID, "expectedVersion": 1},
    "pauseSchedule": {"id": ID},
    "resumeSchedule": {"id": ID},
    "deleteSchedule": {"id": ID},
    "triggerSchedule": {"id": ID},
    "skipFire": {"id": ID, "fireAt": "2090-01-01T00:00:00Z"},
    "unskipFire": {"id": ID, "fireAt": "2090-01-01T00:00:00Z"},
    "backfillSchedule": {"id": ID, "from": "2020-01-01T00:00:00Z", "to": "2020-01-02T00:00:00Z"},
    "retryRun": {"id": ID},
    "resolveRun": {"id": ID, "outcome": "DELIVERED"},
}
INVALID = InvalidInput.of("This is wrong.", "input", "name")
MISSING = NotFound("schedule", "input", "id")
FORBIDDEN = Forbidden("change", "schedule", "input", "id")
TAKEN = NameTaken("schedule", "a", "a-2", "input", "name")
REUSED = IdempotencyKeyReused("input", "idempotencyKey")
AWAY = ClockUnavailable(timedelta(seconds=5))
NO_FIRE = FireNotFound(datetime(2090, 1, 1, tzinfo=UTC), (), "input", "fireAt")
ANSWERED: list[tuple[str, NextfireError]] = [
    *(("registerAgent", error) for error in (INVALID, FORBIDDEN, TAKEN)),
    *(("updateAgent", error) for error in (INVALID, MISSING, FORBIDDEN, TAKEN)),
    *(("deleteAgent", error) for error in (MISSING, FORBIDDEN)),
    *(("runAgent", error) for error in (INVALID, MISSING, FORBIDDEN, REUSED)),
    *(("createSchedule", error) for error in (INVALID, MISSING, FORBIDDEN, TAKEN, REUSED)),
    *(("updateSchedule", error) for error in (INVALID, MISSING, FORBIDDEN, TAKEN)),
    *(("pauseSchedule", error) for error in (INVALID, MISSING, FORBIDDEN)),
    *(("resumeSchedule", error) for error in (INVALID, MISSING, FORBIDDEN)),
    *(("deleteSchedule", error) for error in (INVALID, MISSING, FORBIDDEN)),
    *(("triggerSchedule", error) for error in (INVALID, MISSING, FORBIDDEN, REUSED, AWAY)),
    *(("skipFire", error) for error in (INVALID, MISSING, FORBIDDEN, NO_FIRE)),
    *(("unskipFire", error) for error in (INVALID, MISSING, FORBIDDEN, NO_FIRE)),
    *(("backfillSchedule", error) for error in (INVALID, MISSING, FORBIDDEN, REUSED, AWAY)),
    *(("retryRun", error) for error in (INVALID, MISSING, FORBIDDEN, REUSED, AWAY)),
    *(("resolveRun", error) for error in (INVALID, MISSING, FORBIDDEN)),
]


class Raising:
    """A service whose every command raises the same."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        async def command(*_: object, **__: object) -> None:
            raise self._error

        return command


def raising(error: Exception) -> Api:
    """A caller of a product in which everything but the authorization raises the same."""
    service: Any = Raising(error)
    server = ServerFacts("0", True, "default", None, service.ping)
    parts: dict[str, Any] = {each.name: service for each in fields(Services)}
    return Api(Services(**parts | {"server": server, "authorizer": OpenAuthorizer()}))


@pytest.mark.parametrize(("mutation", "error"), ANSWERED, ids=lambda each: getattr(each, "code", each))
async def test_an_error_of_the_caller_is_a_member_of_the_union(mutation: str, error: NextfireError) -> None:
    answer = await raising(error).change(mutation, INPUTS[mutation])

    assert answer["__typename"] == type(error).__name__
    assert answer["code"] == error.code
    assert answer["message"] == error.message
    assert answer["path"] == (list(getattr(error, "path", ())) or None)


@pytest.mark.parametrize("mutation", INPUTS)
@pytest.mark.parametrize("error", [Unavailable(), CursorExpired()], ids=lambda error: error.code)
async def test_every_other_error_is_a_top_level_one(mutation: str, error: NextfireError) -> None:
    document = f"mutation($input: {input_type(mutation)}!) {{ {mutation}(input: $input) {{ __typename }} }}"

    assert await raising(error).refusal(document, input=INPUTS[mutation]) is error


async def test_an_error_that_the_union_does_not_hold_is_a_top_level_one() -> None:
    document = 'mutation { deleteAgent(input: {id: "x"}) { __typename } }'

    assert await raising(TAKEN).refusal(document) is TAKEN


async def test_a_list_answers_postgres_being_away_with_an_error() -> None:
    error = Unavailable()

    assert await raising(error).refusal("{ schedules { totalCount } }") is error
