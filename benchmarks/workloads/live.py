"""The page with live values of a real Temporal server, at once and deferred."""

import itertools
import statistics
import time
from typing import Any

import uvloop

from benchmarks import data, documents
from benchmarks.bench import Bench
from benchmarks.contest import Contestant, compare
from benchmarks.load import ask, drive, endlessly, get, post
from benchmarks.results import Figures, of_speed
from benchmarks.rounds import Entrant, compete
from benchmarks.stack import Database, Server
from benchmarks.workloads.reads import FIRST
from benchmarks.workloads.writes import new_schedules

SHARED_SECONDS = 2.2
"""A little more than the age that live values of a page may have: what is asked later costs a call of its own."""
CROWD = 64


def live_page(bench: Bench) -> dict[str, Figures]:
    """Under load, where requests share calls; and one at a time, each with a call of its own."""
    ours, theirs = nextfire_page(bench), described_page(bench)
    compare(ours, [theirs])
    entrants = [Entrant(each.name, each.server, endlessly(each.requests)) for each in (ours, theirs)]
    speeds = {name: of_speed(speed) for name, speed in compete(entrants, bench.pace, clients=4).items()}
    count = 8 if bench.pace.full else 1
    alone = {each.name: one_by_one(bench, each, count) for each in (ours, theirs)}
    return {name: {**figures, **alone[name]} for name, figures in speeds.items()}


def nextfire_page(bench: Bench) -> Contestant:
    make_live(bench.database, bench.nextfire)
    return Contestant("nextfire", bench.nextfire, [live_request(bench.database)])


def described_page(bench: Bench) -> Contestant:
    request = get(f"/page?first={FIRST}")
    return Contestant("describes", bench.python_peer("described"), [request], expected=without_age)


def make_live(database: Database, server: Server) -> None:
    """Create the schedules with clocks that the page shows, unless they are there."""
    asked = post("/graphql", {"query": "{ schedules { totalCount } }"}, database.headers(data.LIVE_ACCOUNT))
    answer: Any = uvloop.run(ask(server.port, asked)).json()
    missing = FIRST + 1 - answer["data"]["schedules"]["totalCount"]
    if missing > 0:
        new_schedules(database, server, missing, data.LIVE_ACCOUNT)


def live_request(database: Database, document: str = documents.LIVE_PAGE, **headers: str) -> bytes:
    body = {"query": document, "variables": {"first": FIRST}}
    return post("/graphql", body, {**database.headers(data.LIVE_ACCOUNT), **headers})


def without_age(answer: Any) -> Any:
    """All but when Temporal was asked, which the describes do not tell."""
    for edge in answer["schedules"]["edges"]:
        del edge["node"]["live"]["asOf"]
    return answer


def one_by_one(bench: Bench, contestant: Contestant, count: int) -> Figures:
    """Medians of requests so far apart that none shares what another has read, and the calls that they cost."""
    server, request = contestant.server, contestant.requests[0]
    calls = uvloop.run(bench.stack.temporal_calls("ListSchedules"))
    seconds, cpu = [], []
    for _ in range(count):
        time.sleep(SHARED_SECONDS)
        before = server.cpu_seconds()
        seconds.append(uvloop.run(ask(server.port, request)).seconds)
        cpu.append(server.cpu_seconds() - before)
    calls = uvloop.run(bench.stack.temporal_calls("ListSchedules")) - calls
    return {
        "alone_ms": statistics.median(seconds) * 1e3,
        "alone_cpu_us": statistics.median(cpu) * 1e6,
        "list_calls": calls / count,
    }


def crowd(bench: Bench) -> dict[str, Figures]:
    """The live page for 64 clients at once: how many calls Temporal gets."""
    page = nextfire_page(bench)
    clients, seconds = (CROWD, 10.0) if bench.pace.full else (4, 1.0)

    async def measured() -> Figures:
        before, cpu = await bench.stack.temporal_calls("ListSchedules"), page.server.cpu_seconds()
        load = await drive(page.server.port, endlessly(page.requests), clients=clients, seconds=seconds)
        calls = await bench.stack.temporal_calls("ListSchedules") - before
        cpu_us = (page.server.cpu_seconds() - cpu) / load.count * 1e6
        return {"per_second": load.per_second, "cpu_us": cpu_us, "list_calls_per_second": calls / load.seconds}

    return {"nextfire": uvloop.run(measured())}


def deferred(bench: Bench) -> dict[str, Figures]:
    """The time to the first part of a page whose live values are deferred, beside the page without any."""
    make_live(bench.database, bench.nextfire)
    requests = {
        "without live": live_request(bench.database, documents.PAGE),
        "first part": live_request(bench.database, documents.DEFERRED_PAGE, accept="multipart/mixed"),
    }
    entrants = [Entrant(name, bench.nextfire, itertools.repeat(request).__next__) for name, request in requests.items()]
    return {name: of_speed(speed) for name, speed in compete(entrants, bench.pace, clients=1).items()}
