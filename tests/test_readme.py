"""Every block of the README does what it says."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from graphql import build_schema, parse, validate

from nextfire.embedded import Temporal
from nextfire.settings import Settings
from tests.programs import Api, api, demo_agent, environment, program
from tests.waiting import PATIENCE, wait_until

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
MAKEFILE = (ROOT / "Makefile").read_text()

RUNS = "{ runs(filter: {triggers: [SCHEDULED]}) { nodes { status schedule { name } } } }"


def blocks(language: str) -> list[str]:
    return [text for kind, text in BLOCKS if kind == language]


@pytest.fixture
def running(database_url: str, temporal: Temporal, tmp_path: Path) -> Iterator[Api]:
    """What `make run` starts, with the agent that it registers first."""
    variables = environment(database_url, temporal.address)
    with api(tmp_path, variables) as running, program("worker", tmp_path, variables), demo_agent(tmp_path) as url:
        running.ask(
            "mutation ($input: RegisterAgentInput!) { registerAgent(input: $input) { __typename } }",
            input={"name": "demo-sync", "protocol": "SYNC", "url": url},
        )
        yield running


def test_there_is_a_block_of_each_kind_that_is_tested_here() -> None:
    assert {kind for kind, _ in BLOCKS} == {"sh", "graphql", ""}
    assert len(blocks("sh")) == 2
    assert len(blocks("graphql")) == 2


def test_the_make_targets_are_there() -> None:
    named = set(re.findall(r"\bmake ([a-z-]+)\b", README)) - {"sure"}
    assert {"run", "test", "check", "help"} <= named
    for target in named:
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target


def test_the_first_schedule_is_made_by_paste_and_fires(running: Api) -> None:
    # given the block that a newcomer pastes, made to fire sooner than a person would want
    script = blocks("sh")[1].replace('"everySeconds": 30', '"everySeconds": 2')
    # when it is pasted
    port = running.url.rpartition(":")[2]
    pasted = subprocess.run(
        ["bash", "-ec", script],
        env={**os.environ, "NEXTFIRE_PORT": port},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    # then the schedule is in sync, and fires
    assert "'status': 'IN_SYNC'" in pasted.stdout
    delivered = {"status": "DELIVERED", "schedule": {"name": "my-first"}}
    wait_until(lambda: delivered in running.ask(RUNS)["data"]["runs"]["nodes"])
    # and the page of the README shows it
    answer = running.ask(blocks("graphql")[0])
    assert "errors" not in answer
    (row,) = answer["data"]["schedules"]["nodes"]
    assert (row["name"], row["cadence"]["description"]) == ("my-first", "Every 2 seconds")


def test_the_documents_are_valid() -> None:
    schema = build_schema((ROOT / "schema.graphql").read_text())
    for document in blocks("graphql"):
        assert validate(schema, parse(document)) == []


def test_the_table_of_variables_is_complete() -> None:
    for name, field in Settings.model_fields.items():
        assert f"`{field.validation_alias or f'NEXTFIRE_{name.upper()}'}`" in README


def test_the_layout_names_folders_that_are_there() -> None:
    for folder in re.findall(r"^([a-z]+)/ ", blocks("")[0], re.MULTILINE):
        assert (ROOT / folder).is_dir(), folder
