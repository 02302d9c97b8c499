"""What depends on how the server is set up: trusted documents, how much there is, and its start."""

import hashlib
import json
import statistics
import time
from contextlib import ExitStack

from benchmarks import data, documents
from benchmarks.bench import Bench
from benchmarks.contest import Contestant, contest
from benchmarks.load import endlessly, post
from benchmarks.results import Figures, of_speed
from benchmarks.rounds import Entrant, compete
from benchmarks.stack import Database, Server
from benchmarks.workloads.live import live_request, make_live
from benchmarks.workloads.reads import FIRST, IDS, asking

SETTING = "NEXTFIRE_TRUSTED_DOCUMENTS"


def trusted(bench: Bench) -> dict[str, Figures]:
    """The page by the hash of its document, beside the page by its text; nothing where there is no such setting."""
    digest = hashlib.sha256(documents.PAGE.encode()).hexdigest()
    manifest = bench.stack.directory / "documents.json"
    manifest.write_text(json.dumps({digest: documents.PAGE}))
    if not bench.stack.knows(SETTING):
        return {}
    body = {"documentId": f"sha256:{digest}", "variables": {"first": FIRST}}
    text = Contestant("by text", bench.nextfire, [asking(bench, documents.PAGE, first=FIRST)])
    with bench.stack.nextfire(bench.database, **{SETTING: str(manifest)}) as server:
        by_hash = Contestant("by hash", server, [post("/graphql", body, bench.database.headers())])
        return contest(text, [by_hash], bench.pace)


def growth(bench: Bench) -> dict[str, Figures]:
    """One by id, a page and a live page with 1,000 and with 100,000 schedules in Postgres."""
    sizes = (1_000, 100_000) if bench.pace.full else (500, 1_000)
    figures: dict[str, Figures] = {}
    with ExitStack() as stack:
        few, many = (bench.stack.database(size) for size in sizes)
        found = [
            (name, each, stack.enter_context(bench.stack.nextfire(each)))
            for name, each in (("few", few), ("many", many))
        ]
        for kind in ("by id", "page", "live page"):
            entrants = [grown(kind, name, database, server) for name, database, server in found]
            speeds = compete(entrants, bench.pace)
            figures |= {name: of_speed(speed) for name, speed in speeds.items()}
    return figures


def grown(kind: str, size: str, database: Database, server: Server) -> Entrant:
    name = f"{kind}, {size}"
    if kind == "live page":
        make_live(database, server)
        return Entrant(name, server, endlessly([live_request(database)]))
    if kind == "page":
        body = {"query": documents.PAGE, "variables": {"first": FIRST}}
        return Entrant(name, server, endlessly([post("/graphql", body, database.headers())]))
    keys = [f"Schedule:{data.schedule_id(number)}" for number in range(0, database.rows, max(1, database.rows // IDS))]
    bodies = [{"query": documents.ONE, "variables": {"id": key}} for key in keys]
    return Entrant(name, server, endlessly([post("/graphql", body, database.headers()) for body in bodies]))


def start(bench: Bench) -> dict[str, Figures]:
    """From the command to the first answer."""
    seconds = []
    for _ in range(5 if bench.pace.full else 1):
        begun = time.perf_counter()
        with bench.stack.nextfire(bench.database):
            seconds.append(time.perf_counter() - begun)
    return {"nextfire": {"seconds": statistics.median(seconds)}}
