"""Failpoints: what a plan may say, and what it makes of the place where it is reached."""

import asyncio
import signal
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from services.failpoints import Deed, Failpoint, FailpointHit, Trap, arm, parse, reach


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    arm({})


def test_a_plan_names_place_deed_and_hit() -> None:
    plan = parse(" after_claim=kill; before_settle=wait:1.5@2 ;after_commit=raise@3-;")
    assert plan == {
        Failpoint.AFTER_CLAIM: Trap(Deed.KILL, 0, 1, 1),
        Failpoint.BEFORE_SETTLE: Trap(Deed.WAIT, 1.5, 2, 2),
        Failpoint.AFTER_COMMIT: Trap(Deed.RAISE, 0, 3, None),
    }
    assert parse("") == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("after_lunch=kill", "'after_lunch' is none of before_commit"),
        ("after_claim=explode", "'explode' is none of kill"),
        ("after_claim", "not of the form"),
        ("after_claim=kill@0", "not of the form"),
        ("after_claim=wait", "seconds belong to wait"),
        ("after_claim=kill:3", "seconds belong to wait"),
        ("after_claim=kill;after_claim=raise", "after_claim is there twice"),
    ],
)
def test_what_is_no_plan_is_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse(text)


async def test_it_happens_at_the_hits_that_were_named_and_nowhere_else() -> None:
    # given a plan from the second hit on
    with capture_logs() as logs:
        arm(parse("after_claim=raise@2-"))
        # when both this place and another are passed
        await reach(Failpoint.AFTER_CLAIM)
        await reach(Failpoint.BEFORE_CLAIM)
        for _ in range(2):
            with pytest.raises(FailpointHit):
                await reach(Failpoint.AFTER_CLAIM)
    # then that was said, at the start and at each hit
    assert [(entry["action"], entry.get("hit")) for entry in logs] == [
        ("failpoints_armed", None),
        ("failpoint", 2),
        ("failpoint", 3),
    ]
    assert logs[0]["log_level"] == "critical"


async def test_nothing_happens_unless_it_is_armed() -> None:
    with capture_logs() as logs:
        arm({})
        for point in Failpoint:
            await reach(point)
    assert logs == []


async def test_a_wait_holds_up_nobody_else() -> None:
    arm(parse("before_claim=wait:60"))
    waiting = asyncio.create_task(reach(Failpoint.BEFORE_CLAIM))
    await asyncio.sleep(0)
    await reach(Failpoint.AFTER_CLAIM)
    assert not waiting.done()
    waiting.cancel()


async def test_a_simulated_process_is_struck_in_its_own_way() -> None:
    struck: list[signal.Signals] = []
    arm(parse("after_claim=kill; before_settle=freeze"), struck.append)
    await reach(Failpoint.AFTER_CLAIM)
    await reach(Failpoint.BEFORE_SETTLE)
    assert struck == [signal.SIGKILL, signal.SIGSTOP]
