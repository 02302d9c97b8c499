"""Where a request's time goes: the CPU of the server, shared out among the stages that it was seen in."""

import json
import signal
from collections.abc import Callable

import uvloop

from benchmarks import documents
from benchmarks.bench import Bench
from benchmarks.load import drive, endlessly
from benchmarks.stack import Server
from benchmarks.workloads.live import live_request, make_live
from benchmarks.workloads.reads import FIRST, asking, some_ids

Profile = dict[str, dict[str, float]]
"""Microseconds of CPU a request, by stage, by workload."""
STEPS = [
    "receive, send",
    "authorize",
    "parse",
    "validate",
    "limit",
    "execute",
    "SQL",
    "live (Temporal)",
    "encode",
    "log",
]


def profile(bench: Bench) -> Profile:
    """Each kind of read for some seconds, by a server that samples itself."""
    kinds: dict[str, Callable[[], list[bytes]]] = {
        "page": lambda: [asking(bench, documents.PAGE, first=FIRST)],
        "client-page": lambda: [asking(bench, documents.CLIENT_PAGE, first=FIRST, withNotes=True)],
        "by-id": lambda: [asking(bench, documents.ONE, id=each) for each in some_ids(bench)],
        "live-page": lambda: [live_request(bench.database)],
    }
    if not bench.pace.full:
        return {"page": _sampled(bench, kinds["page"]())}
    make_live(bench.database, bench.nextfire)
    return {name: _sampled(bench, requests()) for name, requests in kinds.items()}


def _sampled(bench: Bench, requests: list[bytes]) -> dict[str, float]:
    counts = bench.stack.directory / "samples.json"
    with bench.stack.sampled(bench.database, counts) as server:
        uvloop.run(_asked(bench, server, requests))  # what is built once
        server.child.send(signal.SIGUSR1)
        cpu_us = uvloop.run(_asked(bench, server, requests))
    samples: dict[str, int] = json.loads(counts.read_text())
    total = sum(samples.values())
    return {stage: cpu_us * count / total for stage, count in sorted(samples.items(), key=lambda item: -item[1])}


async def _asked(bench: Bench, server: Server, requests: list[bytes]) -> float:
    """The CPU of one request in microseconds."""
    before = server.cpu_seconds()
    seconds = bench.pace.seconds * 4
    load = await drive(server.port, endlessly(requests), clients=bench.pace.clients, seconds=seconds)
    return (server.cpu_seconds() - before) / load.count * 1e6


def table(profile: Profile) -> str:
    """The stages down, the workloads across: microseconds, and the part of the whole."""
    stages = sorted({stage for found in profile.values() for stage in found}, key=_place)
    lines = [f"| stage | {' | '.join(profile)} |", "|---" * (len(profile) + 1) + "|"]
    for stage in stages:
        lines.append(f"| {stage} | {' | '.join(_cell(found, stage) for found in profile.values())} |")
    totals = " | ".join(f"{sum(found.values()):,.0f} µs" for found in profile.values())
    return "\n".join([*lines, f"| together | {totals} |"])


def _place(stage: str) -> tuple[int, str]:
    return (STEPS.index(stage) if stage in STEPS else len(STEPS), stage)


def _cell(found: dict[str, float], stage: str) -> str:
    microseconds = found.get(stage, 0)
    return f"{microseconds:,.0f} µs, {microseconds / sum(found.values()):.0%}" if microseconds else ""
