"""The audits of npm graphql-http, run by node against the real server."""

from pathlib import Path

from tests.nextfire.transport.conftest import Served
from tests.nextfire.transport.node import run_node

EXPECTED_WARNINGS = {
    # "SHOULD use a status code of 400 on variable coercion failure": the specification asks for 422 since its
    # edition of September 2026, and the audit is older.
    "86EE",
}


async def test_all_audits_pass_but_the_one_that_is_outdated(served: Served, npm_clients: Path) -> None:
    # when
    audits = await run_node(npm_clients, "audit.mjs", served.url)

    # then
    others = [audit for audit in audits if audit["status"] != "ok"]
    assert len(audits) == 61
    assert {audit["id"]: audit["status"] for audit in others} == dict.fromkeys(EXPECTED_WARNINGS, "warn"), others
