"""Failpoints: places at which a test lets a process die, freeze or wait, to see what is left of its work.

They are armed once, at the start of a process, from what `nextfire/` was told by `NEXTFIRE_FAILPOINTS`; unarmed, a
failpoint is one test of a variable. A plan looks like `after_claim=kill; before_clock_write=freeze@2`:

    <failpoint>=<deed>[:<seconds>][@<hit>]

It happens at the first hit, or at the one that is named; `@2-` is every one from the second on.
"""

import asyncio
import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import structlog

log = structlog.get_logger(__name__)


class Failpoint(StrEnum):
    """Where a process can be made to break: what has happened by then, and what has not."""

    BEFORE_COMMIT = "before_commit"
    """A mutation has written everything, and committed nothing."""
    AFTER_COMMIT = "after_commit"
    """A mutation is committed; Temporal knows nothing of it, nor does the caller."""
    BEFORE_CLOCK_WRITE = "before_clock_write"
    """The clock was read and the plan is made; the write is not sent."""
    AFTER_CLOCK_ACCEPTED = "after_clock_accepted"
    """Temporal has taken the write; the row does not know."""
    AFTER_START = "after_start"
    """Temporal has taken the workflow of a run whose row came first; the row does not know."""
    BEFORE_CLAIM = "before_claim"
    AFTER_CLAIM = "after_claim"
    """The claim is committed; Temporal does not know."""
    BEFORE_ATTEMPT = "before_attempt"
    """A worker has the delivery; no attempt is written down."""
    AFTER_ATTEMPT_ROW = "after_attempt_row"
    """The attempt is written down; its request is not sent."""
    AFTER_AGENT_ACCEPTED = "after_agent_accepted"
    """The agent has answered; nothing of that is written down."""
    BEFORE_SETTLE = "before_settle"
    AFTER_SETTLE = "after_settle"
    """The end of the run is committed; Temporal does not know."""
    AFTER_AUDIT_CLAIM = "after_audit_claim"
    """The auditor has made the runs that were missing; their workflows are not started."""


class Deed(StrEnum):
    KILL = "kill"
    """SIGKILL to this process."""
    TERMINATE = "terminate"
    """SIGTERM to this process, which goes on until it is done with it."""
    FREEZE = "freeze"
    """SIGSTOP to this process, until somebody sends it SIGCONT."""
    WAIT = "wait"
    """Whoever came here waits for so many seconds, and the rest of the process goes on."""
    RAISE = "raise"
    """`FailpointHit` is raised."""


SIGNALS = {Deed.KILL: signal.SIGKILL, Deed.TERMINATE: signal.SIGTERM, Deed.FREEZE: signal.SIGSTOP}


class FailpointHit(Exception):
    """A failpoint was told to raise this."""


@dataclass(frozen=True, slots=True)
class Trap:
    """What happens at a failpoint, and at which of its hits."""

    deed: Deed
    seconds: float
    first: int
    last: int | None

    def takes(self, hit: int) -> bool:
        return hit >= self.first and (self.last is None or hit <= self.last)


Plan = Mapping[Failpoint, Trap]
Name = TypeVar("Name", bound=StrEnum)

_STEP = re.compile(r"(?P<point>\w+)=(?P<deed>\w+)(:(?P<seconds>\d+(\.\d+)?))?(@(?P<hit>[1-9]\d*)(?P<onward>-)?)?")


def _signal_this_process(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


_plan: Plan = {}
_strike: Callable[[signal.Signals], None] = _signal_this_process
_hits: Counter[Failpoint] = Counter()


def parse(text: str) -> Plan:
    """The plan that the text describes. Raises ValueError, which says what is wrong with it."""
    plan: dict[Failpoint, Trap] = {}
    for step in filter(None, (each.strip() for each in text.split(";"))):
        if (found := _STEP.fullmatch(step)) is None:
            raise ValueError(f"{step!r} is not of the form failpoint=deed[:seconds][@hit]")
        point, deed = _member(Failpoint, found["point"]), _member(Deed, found["deed"])
        if point in plan:
            raise ValueError(f"{point} is there twice")
        if (deed is Deed.WAIT) != (found["seconds"] is not None):
            raise ValueError(f"{step!r}: seconds belong to {Deed.WAIT}, and to nothing else")
        first = int(found["hit"] or 1)
        plan[point] = Trap(deed, float(found["seconds"] or 0), first, None if found["onward"] else first)
    return plan


def _member(names: type[Name], text: str) -> Name:
    try:
        return names(text)
    except ValueError:
        raise ValueError(f"{text!r} is none of {', '.join(names)}") from None


def arm(plan: Plan, strike: Callable[[signal.Signals], None] = _signal_this_process) -> None:
    """Let this process break itself by the plan; an empty one disarms it. It is said as loudly as a log can.

    `strike` sends the signal of a deed; a simulation, whose processes are none, does as that signal would.
    """
    global _plan, _strike
    _plan, _strike = plan, strike
    _hits.clear()
    if plan:
        log.critical(
            "FAILPOINTS ARE ARMED: this process will break itself on purpose. Unset NEXTFIRE_FAILPOINTS unless it is"
            " under test",
            action="failpoints_armed",
            failpoints={str(point): str(trap.deed) for point, trap in plan.items()},
        )


async def reach(point: Failpoint) -> None:
    """Say that the process is here; nothing happens unless this failpoint is armed. Raises `FailpointHit`."""
    if _plan:
        await _reach(point)


async def _reach(point: Failpoint) -> None:
    trap = _plan.get(point)
    if trap is None:
        return
    _hits[point] += 1
    if not trap.takes(_hits[point]):
        return
    log.warning("A failpoint was hit", action="failpoint", failpoint=point, deed=trap.deed, hit=_hits[point])
    if trap.deed in SIGNALS:
        _strike(SIGNALS[trap.deed])
        await asyncio.sleep(0)
    elif trap.deed is Deed.WAIT:
        await asyncio.sleep(trap.seconds)
    else:
        raise FailpointHit(point)
