"""Mutations, against the same SQL by hand, and against the same calls of Temporal with nothing in Postgres."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import uvloop

from benchmarks import data, documents
from benchmarks.bench import Bench
from benchmarks.contest import data_of
from benchmarks.load import Answer, Refused, ask, drive, post
from benchmarks.results import Figures, of_speed
from benchmarks.rounds import Entrant, compete
from benchmarks.stack import Database, Server
from benchmarks.workloads.reads import asking

YEARLY = {"cron": {"expression": "0 0 1 1 *"}}
_names = itertools.count()


def new_schedules(database: Database, server: Server, count: int, account: str = data.WRITE_ACCOUNT) -> list[str]:
    """Create schedules with clocks; their ids."""
    headers = database.headers(account)
    wanted = {"name": f"agent-{next(_names)}", "protocol": "SYNC", "url": "http://127.0.0.1:9/"}
    body = {"query": documents.REGISTER, "variables": {"input": wanted}}
    agent = data_of(server, post("/graphql", body, headers))["registerAgent"]["agent"]["id"]
    bodies = [{"query": documents.CREATE, "variables": {"input": wish(agent)}} for _ in range(count)]
    requests = iter([post("/graphql", body, headers) for body in bodies])
    ids: list[str] = []

    def seen(answer: Answer) -> None:
        ids.append(successful(answer, "createSchedule")["schedule"]["id"])

    uvloop.run(drive(server.port, lambda: next(requests, None), clients=4, seen=seen))
    return ids


def wish(agent: str) -> dict[str, Any]:
    name, content = f"schedule-{next(_names)}", {"content": "Write the report."}
    return {"agentId": agent, "name": name, "cadence": YEARLY, "initialInput": content}


def successful(answer: Answer, mutation: str) -> dict[str, Any]:
    """The success of a mutation. Raises `Refused`."""
    body: Any = answer.json()
    result: dict[str, Any] = (body.get("data") or {}).get(mutation) or {}
    if body.get("errors") or "code" in result:
        raise Refused(answer.body.decode())
    return result


class Versions:
    """Update after update, each with the version that its schedule has by then.

    There are many more schedules than clients, so that the last update of one is answered before its next is sent.
    """

    def __init__(self, ids: list[str], make: Callable[[dict[str, Any]], bytes]) -> None:
        self._make = make
        self._next: Iterator[tuple[int, str]] = ((n, each) for n in itertools.count(1) for each in ids)

    def __call__(self) -> bytes:
        version, schedule = next(self._next)
        return self._make({"id": schedule, "expectedVersion": version, "description": f"Change no. {version}"})


def agent_of(bench: Bench, schedule: str) -> str:
    """The id of the agent that a schedule runs."""
    found = data_of(bench.nextfire, asking(bench, documents.ONE, data.WRITE_ACCOUNT, id=schedule))
    agent: str = found["schedule"]["agent"]["id"]
    return agent


def require_success(entrant: Entrant, mutation: str) -> None:
    """Raises `Refused` where the first request of an entrant does not succeed."""
    request = entrant.requests()
    assert request is not None
    successful(uvloop.run(ask(entrant.server.port, request)), mutation)


def race(bench: Bench, mutation: str, *entrants: Entrant) -> dict[str, Figures]:
    for entrant in entrants:
        require_success(entrant, mutation)
    return {name: of_speed(speed) for name, speed in compete(entrants, bench.pace).items()}


def update(bench: Bench) -> dict[str, Figures]:
    """Change the description of a schedule with `expectedVersion`."""
    count = 256 if bench.pace.full else 32
    ours, theirs = (new_schedules(bench.database, bench.nextfire, count) for _ in range(2))
    return race(
        bench,
        "updateSchedule",
        Entrant("nextfire", bench.nextfire, Versions(ours, lambda change: _mutation(bench, documents.UPDATE, change))),
        Entrant("limit", bench.python_peer("limit"), Versions(theirs, lambda change: post("/update", change))),
    )


def create(bench: Bench) -> dict[str, Figures]:
    """Create a schedule of an agent."""
    agent = agent_of(bench, new_schedules(bench.database, bench.nextfire, 1)[0])
    return race(
        bench,
        "createSchedule",
        Entrant("nextfire", bench.nextfire, lambda: _mutation(bench, documents.CREATE, wish(agent))),
        Entrant("limit", bench.python_peer("limit"), lambda: post("/create", wish(agent))),
        Entrant("Temporal alone", bench.python_peer("clocks"), lambda: post("/create", wish(agent))),
    )


def trigger(bench: Bench) -> dict[str, Figures]:
    """Run a schedule now: the run and its event in Postgres, and the start of its workflow."""
    count = 256 if bench.pace.full else 32
    ids = itertools.cycle(new_schedules(bench.database, bench.nextfire, count))
    return race(
        bench,
        "triggerSchedule",
        Entrant("nextfire", bench.nextfire, lambda: _mutation(bench, documents.TRIGGER, {"id": next(ids)})),
        Entrant("Temporal alone", bench.python_peer("clocks"), lambda: post("/trigger", {"id": next(ids)})),
    )


def _mutation(bench: Bench, document: str, wanted: dict[str, Any]) -> bytes:
    return asking(bench, document, data.WRITE_ACCOUNT, input=wanted)
