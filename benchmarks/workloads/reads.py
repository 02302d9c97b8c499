"""Reads of schedules from Postgres: a page, one by id, and the page with more in it."""

from typing import Any

from benchmarks import data, documents
from benchmarks.bench import Bench
from benchmarks.comparing import require_same
from benchmarks.contest import Contestant, contest, data_of
from benchmarks.contestants import one_contestants, page_contestants
from benchmarks.load import endlessly, get, post
from benchmarks.results import Figures, of_speed
from benchmarks.rounds import Entrant, compete

FIRST = 50
IDS = 500


def asking(bench: Bench, document: str, account: str = data.ACCOUNT, /, **variables: object) -> bytes:
    """One GraphQL request to the product."""
    body = {"query": document, "variables": variables}
    return post("/graphql", body, bench.database.headers(account))


def page(bench: Bench) -> dict[str, Figures]:
    """A page of 50 schedules with fifteen fields, the agent and cursors."""
    return contest(ours(bench, documents.PAGE), [*page_contestants(bench, FIRST)], bench.pace)


def by_id(bench: Bench) -> dict[str, Figures]:
    """One schedule with fifteen fields and the agent, by its id."""
    ids = some_ids(bench)
    requests = [asking(bench, documents.ONE, id=each) for each in ids]
    first = Contestant("nextfire", bench.nextfire, requests)
    return contest(first, [*one_contestants(bench, ids)], bench.pace)


def some_ids(bench: Bench) -> list[str]:
    """Global ids from all over the table."""
    step = max(1, bench.pace.rows // IDS)
    return [f"Schedule:{data.schedule_id(number)}" for number in range(0, bench.pace.rows, step)]


def client_page(bench: Bench) -> dict[str, Figures]:
    """The page as real clients send it, beside the plain one."""
    variables = {"first": FIRST, "withNotes": True}
    asked = ours(bench, documents.CLIENT_PAGE, name="as clients send it", **variables)
    found = data_of(bench.nextfire, asked.requests[0])
    require_same("The page as clients send it", data_of(bench.nextfire, plain(bench).requests[0]), _without_more(found))
    return race(bench, plain(bench), asked)


def _without_more(value: Any) -> Any:
    """What the plain page has of it: no `__typename`, no computed field."""
    if isinstance(value, dict):
        return {
            name: _without_more(each) for name, each in value.items() if name not in ("__typename", "deliveryMethod")
        }
    return [_without_more(each) for each in value] if isinstance(value, list) else value


def last_run(bench: Bench) -> dict[str, Figures]:
    """The page with the last run of each schedule."""
    limit = Contestant("limit", bench.python_peer("limit"), [get(f"/with-runs?first={FIRST}")])
    return contest(ours(bench, documents.LAST_RUN_PAGE), [limit], bench.pace)


def last_three(bench: Bench) -> dict[str, Figures]:
    """The page with the last three runs of each schedule."""
    limit = Contestant("limit", bench.python_peer("limit"), [get(f"/with-runs?first={FIRST}&runs=3")])
    return contest(ours(bench, documents.LAST_THREE_PAGE), [limit], bench.pace)


def ours(bench: Bench, document: str, *, name: str = "nextfire", **variables: object) -> Contestant:
    """The product, asked for a page."""
    return Contestant(name, bench.nextfire, [asking(bench, document, **({"first": FIRST} | variables))])


def plain(bench: Bench) -> Contestant:
    return ours(bench, documents.PAGE, name="plain")


def race(bench: Bench, *contestants: Contestant) -> dict[str, Figures]:
    """The speeds of several requests, whose answers need not be the same."""
    entrants = [Entrant(each.name, each.server, endlessly(each.requests)) for each in contestants]
    return {name: of_speed(speed) for name, speed in compete(entrants, bench.pace).items()}
