"""Tools that others attack GraphQL with: schemathesis makes operations from the schema, clairvoyance guesses it.

`make attacks` builds their environment and names its Python in NEXTFIRE_ATTACKS_PYTHON. Without the variable these
tests are skipped and say so.
"""

import asyncio
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from graphql import GraphQLSchema, print_schema

from nextfire.embedded import Temporal
from services.api_keys import ApiKeys
from services.database import Database
from services.principals import Role
from tests.attacks.target import Target
from tests.programs import Api, api, environment
from tests.schema.api import SCHEMA

PYTHON = os.environ.get("NEXTFIRE_ATTACKS_PYTHON", "")
EXAMPLES = "15"
"""Operations that schemathesis makes for each field of the three roots."""

pytestmark = pytest.mark.skipif(
    not PYTHON, reason="needs schemathesis and clairvoyance: run `make attacks` (NEXTFIRE_ATTACKS_PYTHON is unset)"
)


async def tool(name: str, *arguments: str, **variables: str) -> tuple[int, str]:
    """Run a tool to its end: its exit code, and what it printed."""
    running = await asyncio.create_subprocess_exec(
        str(Path(PYTHON).with_name(name)),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **variables},
    )
    printed, _ = await running.communicate()
    assert running.returncode is not None
    return running.returncode, printed.decode(errors="replace")


def readable() -> str:
    """The schema as the tool can read it: it refuses a file that has `@defer`."""
    schema = SCHEMA._schema
    directives = [directive for directive in schema.directives if directive.name != "defer"]
    parts: dict[str, Any] = {**schema.to_kwargs(), "directives": directives}
    return print_schema(GraphQLSchema(**parts))


async def test_schemathesis_finds_no_error_of_the_server(target: Target, tmp_path: Path) -> None:
    # given
    schema, answers = tmp_path / "schema.graphql", tmp_path / "answers.jsonl"
    schema.write_text(readable())
    # when it makes operations for every field, and sends them as the attacker
    code, printed = await tool(
        "schemathesis",
        *("run", str(schema), "--url", f"{target.api.url}/graphql"),
        *(*key(target.attacker), "--checks", "no_error_of_the_server"),
        *("--max-examples", EXAMPLES, "--seed", "1", "--suppress-health-check", "all", "--rate-limit", "auto"),
        ANSWERS=str(answers),
        SCHEMATHESIS_HOOKS=str(Path(__file__).with_name("schemathesis_hooks.py")),
    )
    # then none of them brought the server to an error, and none of the answers tells what it must not
    assert code == 0, printed[-4_000:]
    for line in answers.read_text().splitlines():
        target.look_at(line)
    await target.serve_bystander()


async def test_clairvoyance_finds_nothing_without_credentials(target: Target, tmp_path: Path) -> None:
    assert await guessed(target.api, tmp_path) == set()


async def test_clairvoyance_finds_nothing_with_a_key(target: Target, attacked_url: str, tmp_path: Path) -> None:
    """Whoever may not read the schema is told where a document does not fit it, and none of its names."""
    # given one who may look, one who may introspect, and words of which most are right
    database = Database(attacked_url)
    keys = ApiKeys(database)
    _, viewer = await keys.create(account_id="owner", name="page", role=Role.VIEWER, expires_at=None)
    _, operator = await keys.create(account_id="owner", name="ops", role=Role.OPERATOR, expires_at=None)
    await database.close()
    words = tmp_path / "words"
    words.write_text("\n".join(["agents", "authenticated", "nodes", "nope", "serverInfo", "version", "viewer"]))

    # when
    by_its_own_list = await guessed(target.api, tmp_path, *key(viewer.text))
    by_ours = await guessed(target.api, tmp_path, *key(viewer.text), "-w", str(words))
    who_may_introspect = await guessed(target.api, tmp_path, *key(operator.text), "-w", str(words))

    # then
    assert by_its_own_list == by_ours == set()
    assert {"viewer", "authenticated"} <= who_may_introspect
    await target.serve_bystander()


async def test_clairvoyance_finds_nothing_where_documents_are_trusted(
    target: Target, attacked_url: str, temporal: Temporal, tmp_path: Path
) -> None:
    # given an API that is locked to the documents of a frontend
    document = "query Page { schedules { nodes { id name } } }"
    manifest = tmp_path / "documents.json"
    manifest.write_text(json.dumps({hashlib.sha256(document.encode()).hexdigest(): document}))
    variables = environment(
        attacked_url, temporal.address, NEXTFIRE_AUTH="keys", NEXTFIRE_TRUSTED_DOCUMENTS=str(manifest)
    )
    with api(tmp_path, variables) as locked:
        # when one whom it knows guesses
        found = await guessed(locked, tmp_path, *key(target.attacker))
    # then
    assert found == set()


def key(text: str) -> tuple[str, str]:
    """The arguments that a tool sends a key for."""
    return "-H", f"Authorization: Bearer {text}"


async def guessed(attacked: Api, directory: Path, *credentials: str) -> set[str]:
    """The fields that clairvoyance takes for ours, by its own list of words; it gives up where it learns nothing."""
    result = directory / "found.json"
    result.unlink(missing_ok=True)
    arguments = (f"{attacked.url}/graphql", "-o", str(result), "-p", "slow", "-m", "1", *credentials)
    _, printed = await tool("clairvoyance", *arguments)
    assert "Starting blind introspection" in printed
    if not result.exists():
        return set()
    types = json.loads(result.read_text())["data"]["__schema"]["types"]
    return {field["name"] for type_ in types for field in type_.get("fields") or ()}
