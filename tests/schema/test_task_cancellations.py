"""What a task says of having been cancelled at the agent."""

from sqlalchemy import insert

from resolvers.ids import Kind, key_of
from services.run import AttemptOutcome
from services.tables import task_cancellations
from tests.schema.api import Api
from tests.stack import Stack

TASKS = """query($first: ID!, $second: ID!) {
  first: run(id: $first) { task { cancellation { attemptCount outcome endedAt error { code } run { id } } } }
  second: run(id: $second) { task { cancellation { outcome } } }
}"""


async def test_a_task_tells_which_run_had_it_stopped(api: Api, running: Stack) -> None:
    # given a run that made way for another, whose request has failed once
    schedule_id = await api.schedule(await api.agent(protocol="ASYNC"))
    document = "... on ScheduleTriggered { run { id task { id } } }"
    first, second = [(await api.change("triggerSchedule", {"id": schedule_id}, document))["run"] for _ in range(2)]
    row = {
        "task_id": key_of(Kind.TASK, first["task"]["id"]),
        "run_id": key_of(Kind.RUN, second["id"]),
        "idempotency_key": "k",
        "body": b"{}",
        "attempt_count": 1,
        "outcome": AttemptOutcome.RETRY,
        "error": {"code": "HTTP_503", "message": "Busy.", "retryable": True},
    }
    async with running.base.database.transaction() as connection:
        await connection.execute(insert(task_cancellations).values(row))
    # when both are read, then the first says so and the second was not stopped
    assert await api.ask(TASKS, first=first["id"], second=second["id"]) == {
        "first": {
            "task": {
                "cancellation": {
                    "attemptCount": 1,
                    "outcome": "RETRY",
                    "endedAt": None,
                    "error": {"code": "HTTP_503"},
                    "run": {"id": second["id"]},
                }
            }
        },
        "second": {"task": {"cancellation": None}},
    }
