"""Runs that an older worker began: the present workflow goes on with each, whatever it has come to."""

import base64
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner
from temporalio.workflow import NondeterminismError

from nextfire.worker import WORKFLOWS
from services import workflows
from services.activities import RunActivities
from services.run import RunStatus
from services.workflows import ScheduledAgentRun
from tests.services.recording import HISTORIES, SCENARIOS

FILES = sorted(HISTORIES.glob("*.json"))
each_history = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


@workflow.defn(name="ScheduledAgentRun")
class Paused(ScheduledAgentRun):
    """A change that breaks every run under way: a pause before the first step."""

    @workflow.run
    async def run(self, schedule_id: str, trigger: str, run_id: str | int | None = None) -> str:
        await workflow.sleep(1)
        return await super().run(schedule_id, trigger, run_id)


@workflow.defn(name="ScheduledAgentRun")
class Unsettled(ScheduledAgentRun):
    """A change that breaks some of them: nothing is settled."""

    @workflow.run
    async def run(self, schedule_id: str, trigger: str, run_id: str | int | None = None) -> str:
        return await super().run(schedule_id, trigger, run_id)

    async def _settle(self, request: Any) -> None:
        return


def replayer(*classes: type) -> Replayer:
    return Replayer(workflows=classes, workflow_runner=UnsandboxedWorkflowRunner())


def history(file: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json(file.stem, file.read_text())


@each_history
async def test_the_present_workflow_replays_it(file: Path) -> None:
    await replayer(*WORKFLOWS).replay_workflow(history(file))


@each_history
async def test_a_workflow_that_was_changed_carelessly_does_not(file: Path) -> None:
    with pytest.raises(NondeterminismError):
        await replayer(Paused).replay_workflow(history(file))
    if "settle_run" in activities_of(file):
        with pytest.raises(NondeterminismError):
            await replayer(Unsettled).replay_workflow(history(file))


def test_every_kind_of_workflow_and_of_end_has_its_history() -> None:
    assert {file.stem.split(".")[0] for file in FILES} == set(SCENARIOS)
    # by what the worker offers
    types = {str(workflow._Definition.must_from_class(each).name) for each in WORKFLOWS}
    assert {type_of(file) for file in FILES} == types
    # by the steps that there are
    assert {step for file in FILES for step in activities_of(file)} == _activity_names(RunActivities)
    # and by how a run can end once its workflow runs
    ends = {RunStatus.DELIVERED, RunStatus.CANCELLED, RunStatus.FAILED, RunStatus.UNKNOWN}
    assert {end for file in FILES for end in ends_of(file)} == ends


@each_history
def test_it_tells_nothing_of_the_machine_it_was_recorded_on(file: Path) -> None:
    text = file.read_text()
    payloads = re.findall(r'"data": "([^"]*)"', text)
    for each in (text, *(base64.b64decode(payload).decode() for payload in payloads)):
        assert not re.search(r"\d+@|/tmp/|/home/|/root/|\.py\b", each)


def events_of(file: Path) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = orjson.loads(file.read_text())["events"]
    return events


def type_of(file: Path) -> str:
    return str(events_of(file)[0]["workflowExecutionStartedEventAttributes"]["workflowType"]["name"])


def scheduled(file: Path) -> list[dict[str, Any]]:
    name = "activityTaskScheduledEventAttributes"
    return [event[name] for event in events_of(file) if name in event]


def activities_of(file: Path) -> set[str]:
    return {each["activityType"]["name"] for each in scheduled(file)}


def ends_of(file: Path) -> set[str]:
    inputs = [each["input"]["payloads"][0]["data"] for each in scheduled(file) if _is_settle(each)]
    return {orjson.loads(base64.b64decode(each))["status"] for each in inputs}


def _is_settle(scheduled_event: dict[str, Any]) -> bool:
    return bool(scheduled_event["activityType"]["name"] == workflows.SETTLE)


def _activity_names(activities: type) -> set[str]:
    definitions = (getattr(each, "__temporal_activity_definition", None) for each in vars(activities).values())
    return {str(each.name) for each in definitions if each is not None}
