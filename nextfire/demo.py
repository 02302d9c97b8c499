"""The demonstration that the first `nextfire dev` sets up, through the public API as any client would."""

from collections.abc import Mapping
from typing import Any

import httpx

from nextfire.processes import StackError

REGISTER_AGENT = """
mutation Register($input: RegisterAgentInput!) {
  registerAgent(input: $input) {
    __typename
    ... on AgentRegistered { agent { id } }
    ... on UserError { code message }
  }
}"""
AGENT_BY_NAME = "query AgentByName($name: String!) { agent(by: {name: $name}) { id } }"
CREATE_SCHEDULE = """
mutation Create($input: CreateScheduleInput!) {
  createSchedule(input: $input) {
    __typename
    ... on ScheduleCreated { schedule { id } }
    ... on UserError { code message }
  }
}"""
DESCRIPTIONS = {
    "demo-sync": "Answers each message at once; `python -m nextfire.demo_agents sync`.",
    "demo-async": "Takes events and works on them later; `python -m nextfire.demo_agents async`.",
}


class Api:
    """A client of the GraphQL endpoint at `url`."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, document: str, variables: Mapping[str, object] | None = None) -> dict[str, Any]:
        """The data of the answer.

        Raises:
            StackError: the server refused the request or did not answer it.
        """
        try:
            # A proxy of the environment is for other machines than this one.
            with httpx.Client(trust_env=False, timeout=30) as client:
                answer = client.post(self._url, json={"query": document, "variables": variables or {}}).json()
        except (httpx.HTTPError, ValueError) as error:
            raise StackError(f"{self._url} gave no answer: {error}") from error
        if answer.get("errors"):
            raise StackError(f"{self._url} refused a request: {answer['errors']}")
        data: dict[str, Any] = answer["data"]
        return data

    def change(self, document: str, values: Mapping[str, object]) -> dict[str, Any]:
        """The result of a mutation with the one argument `input`; it may be a UserError."""
        (result,) = self.ask(document, {"input": values}).values()
        return dict(result)


def seed(api: Api, sync_url: str, async_url: str) -> None:
    """Register the two demo agents and create their schedules; what an earlier try left is kept.

    Raises:
        StackError: the API refused a part of it.
    """
    echo = register(api, "demo-sync", "SYNC", sync_url)
    worker = register(api, "demo-async", "ASYNC", async_url)
    for values in schedules(echo, worker):
        result = api.change(CREATE_SCHEDULE, {**values, "idempotencyKey": f"demo:{values['name']}"})
        if result["__typename"] != "ScheduleCreated" and result["code"] != "NAME_TAKEN":
            raise StackError(f"The demo schedule {values['name']} was refused: {result['message']}")


def register(api: Api, name: str, protocol: str, url: str) -> str:
    """The id of the agent, which an earlier run may have registered."""
    values = {"name": name, "description": DESCRIPTIONS[name], "protocol": protocol, "url": url}
    result = api.change(REGISTER_AGENT, values)
    if result["__typename"] == "AgentRegistered":
        return str(result["agent"]["id"])
    if result["code"] != "NAME_TAKEN":
        raise StackError(f"The demo agent {name} was refused: {result['message']}")
    return str(api.ask(AGENT_BY_NAME, {"name": name})["agent"]["id"])


def schedules(echo: str, worker: str) -> list[dict[str, object]]:
    """The inputs of the demo schedules: two that fire soon, one as in real life, one that is paused."""
    demo = [{"key": "demo", "value": "true"}]

    def schedule(agent: str, name: str, text: str, cadence: object, **more: object) -> dict[str, object]:
        values = {"agentId": agent, "name": name, "cadence": cadence, "initialInput": {"content": text}}
        return {**values, "labels": demo, **more}

    def cron(expression: str, time_zone: str) -> object:
        return {"cron": {"expression": expression, "timeZone": time_zone}}

    return [
        schedule(echo, "every-20-seconds", "Say hello.", {"interval": {"everySeconds": 20}}),
        schedule(worker, "every-minute", "Check the queue.", cron("* * * * *", "UTC")),
        schedule(
            echo,
            "weekday-report",
            "Write the report of the day.",
            cron("0 17 * * MON-FRI", "America/New_York"),
            taskMetadata={"display_name": "Report of the day"},
        ),
        schedule(worker, "nightly-cleanup", "Clean up.", cron("30 2 * * *", "Europe/Berlin"), paused=True),
    ]
