"""`nextfire serve` in a process that looks at its own stack every millisecond of CPU.

A timer of the kernel that counts only CPU time (`ITIMER_PROF`) interrupts it between two steps of the interpreter.
The stage is that of the innermost frame that belongs to one. What C code does, such as orjson, counts for the Python
function that called it; what uvloop, httptools and asyncpg's protocol do with no Python above them is the event
loop's. SIGUSR1 begins the counts anew; they are written to a file when the server ends.
"""

import json
import re
import signal
import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType

from nextfire.__main__ import main

INTERVAL_SECONDS = 0.001
LOOP = "event loop, sockets"
STAGES = {
    LOOP: r"uvicorn/(server|main|_compat)|uvloop/|click/|nextfire/commands/",
    "parse": r"graphql/language/",
    "validate": r"graphql/validation/|strawberry/schema/validation",
    "limit": r"schema/(limits|cost)|nextfire/allowances|transport/(admission|rates|leases|store)",
    "authorize": r"nextfire/(callers|authenti|authori)|resolvers/permissions"
    r"|services/(authenti|authori|key_authenti|api_key|principals)",
    "encode": r"transport/.*:encode",
    "live (Temporal)": r"temporalio/|services/(live|clock_list)|resolvers/live",
    "SQL": r"sqlalchemy/|asyncpg/|services/",
    "log": r"structlog/|nextfire/telemetry|transport/correlation",
    "execute": r"graphql/|strawberry/|schema/|resolvers/",
    "receive, send": r"starlette/|uvicorn/|nextfire/",
}
"""The first whose pattern is found in `file:function` has the function."""

samples: Counter[str] = Counter()
_known: dict[CodeType, str | None] = {}


def stage_of(code: CodeType) -> str | None:
    """The stage that a function belongs to; None for what serves any, such as the standard library."""
    path = code.co_filename
    within = path.rpartition("site-packages/")[2] if "site-packages/" in path else "/".join(Path(path).parts[-4:])
    if path.startswith(sys.base_prefix) and "site-packages" not in path:
        return None
    named = f"{within}:{code.co_name}"
    return next((stage for stage, pattern in STAGES.items() if re.search(pattern, named)), None)


def sample(_number: int, frame: FrameType | None) -> None:
    """Count the stage that is on the CPU."""
    while frame is not None:
        code = frame.f_code
        if code not in _known:
            _known[code] = stage_of(code)
        stage = _known[code]
        if stage is not None:
            samples[stage] += 1
            return
        frame = frame.f_back
    samples[LOOP] += 1


def sampled_serve(target: Path) -> None:
    """Serve until SIGTERM, then write the counts."""
    # uvicorn ends at the signal, and then raises it anew for whoever handled it before.
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGUSR1, lambda *_: samples.clear())
    signal.signal(signal.SIGPROF, sample)
    signal.setitimer(signal.ITIMER_PROF, INTERVAL_SECONDS, INTERVAL_SECONDS)
    try:
        main(["serve"], standalone_mode=False)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        target.write_text(json.dumps(samples))


if __name__ == "__main__":
    sampled_serve(Path(sys.argv[1]))
