"""The statements that read schedules: what Postgres makes of them, and that there are few."""

import itertools
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import pytest

from services import keyset
from services import schedule_statements as statements
from services.schedule import ScheduleState
from services.schedule_statements import Reading, ScheduleFilter
from services.tables import new_id

ROWS = 3_000
AGENTS = 30
EVERYTHING = Reading(agent=True, last_run=True)
ORDERS = ("created_at", "updated_at", "name")


@pytest.fixture
async def filled(database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(database_url)
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=lambda value: orjson.dumps(value).decode(), decoder=orjson.loads
    )
    await connection.execute(
        "INSERT INTO agents (id, account_id, name, protocol, url)"
        f" SELECT gen_random_uuid(), 'a', 'agent-' || n, 'SYNC', 'http://a.test' FROM generate_series(1, {AGENTS}) n"
    )
    await connection.execute(
        "INSERT INTO agent_run_schedules (id, agent_id, account_id, name, interval_seconds, interval_offset_seconds,"
        " overlap_policy, missed_fire_policy, catch_up_window_seconds, on_unknown, retry_horizon_seconds,"
        " initial_input, labels, created_at, updated_at)"
        " SELECT gen_random_uuid(), (array(SELECT id FROM agents ORDER BY id))[1 + n % $1], 'a', 'schedule-' || n, 60,"
        " 0, 'SKIP', 'RUN_ALL', 60, 'RETRY', 60, '{}', '[]', now() - n * interval '1 s', now() - n * interval '1 min'"
        " FROM generate_series(1, $2) n",
        AGENTS,
        ROWS,
    )
    await connection.execute("ANALYZE")
    yield connection
    await connection.close()


async def plan(
    connection: "asyncpg.Connection[asyncpg.Record]", filter: ScheduleFilter, order: str, window: keyset.Window
) -> list[Mapping[str, Any]]:
    """The nodes of the plan that Postgres makes once for all values."""
    names, values = statements.conditions(filter)
    statement = statements.page(names, statements.states(filter), EVERYTHING, order, keyset.form(window))
    values |= {**keyset.bounds(window), "account_id": "a"}
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    (row,) = await connection.fetch(f"EXPLAIN (FORMAT JSON) {statement.sql}", *statement.arguments(values))
    waiting, nodes = [orjson.loads(row[0])[0]["Plan"]], []
    while waiting:
        node = waiting.pop()
        nodes.append(node)
        waiting += node.get("Plans", [])
    return nodes


def on_schedules(nodes: list[Mapping[str, Any]]) -> set[tuple[str, str | None]]:
    return {
        (node["Node Type"], node.get("Index Name"))
        for node in nodes
        if node.get("Relation Name") == "agent_run_schedules"
    }


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("descending", [True, False])
async def test_a_page_reads_its_rows_from_the_index_of_its_order(
    filled: "asyncpg.Connection[asyncpg.Record]", order: str, descending: bool
) -> None:
    last = await filled.fetchrow(f"SELECT {order}, id FROM agent_run_schedules ORDER BY {order} LIMIT 1 OFFSET 1000")
    assert last is not None
    for states, after in itertools.product((None, (ScheduleState.ACTIVE,)), (None, (last[0], last[1]))):
        window = keyset.Window(50, after=after, descending=descending)
        nodes = await plan(filled, ScheduleFilter(states=states), order, window)
        assert on_schedules(nodes) == {("Index Scan", f"agent_run_schedules_account_id_{order}_id_idx")}


async def test_a_page_of_an_agent_reads_its_rows_from_an_index_of_the_agents(
    filled: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    agent_id: UUID = await filled.fetchval("SELECT id FROM agents LIMIT 1")
    window = keyset.Window(50, descending=True)
    nodes = await plan(filled, ScheduleFilter(agent_ids=(agent_id,)), "created_at", window)
    indexes = {index for node in nodes if (index := node.get("Index Name", "")).startswith("agent_run_schedules")}
    # (by the order or by the name: an agent has few)
    assert {index.startswith("agent_run_schedules_agent_id_") for index in indexes} == {True}


def test_one_text_serves_all_values_of_a_form() -> None:
    keys = [("name", new_id()) for _ in range(2)]
    forms = {keyset.form(keyset.Window(size, after=key, descending=True)) for size in (3, 7, 99) for key in keys}
    assert len(forms) == 1
    filters = [ScheduleFilter(search=text, agent_ids=(new_id(),)) for text in ("one", "two")]
    assert len({statements.conditions(each)[0] for each in filters}) == 1
