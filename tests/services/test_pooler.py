"""Behind a pooler that gives each transaction another server, nothing may be left in a session, and nothing is missed
there."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from asyncpg import UniqueViolationError
from sqlalchemy import Text, Uuid, bindparam, func, insert, select

from services.database import Database
from services.principals import OPEN_ACTOR
from services.schedule_queries import ScheduleQueries
from services.schedule_statements import ScheduleFilter
from services.statements import Statement
from services.tables import agents, new_id
from tests.services.pooler import SERVERS, pgbouncer, transaction_pooler

pytestmark = pytest.mark.skipif(pgbouncer() is None, reason="no pgbouncer here: apt-get install pgbouncer")

AT_ONCE = 4 * SERVERS
BY_ID = Statement(select(agents.c.name, agents.c.status).where(agents.c.id == bindparam("id", type_=Uuid)))
BY_NAME = Statement(select(agents.c.id, agents.c.created_at).where(agents.c.name == bindparam("name", type_=Text)))

LIMIT = Statement(select(func.current_setting("statement_timeout").label("limit")))
ADD = Statement(
    insert(agents).values(
        id=func.gen_random_uuid(), account_id="a", name=bindparam("called"), protocol="SYNC", url="http://a.test"
    )
)


@pytest.fixture
async def pooled(database_url: str, tmp_path: Path) -> AsyncIterator[Database]:
    async with transaction_pooler(database_url, tmp_path) as url:
        database = Database(url, pool_size=2 * AT_ONCE, transaction_pooler=True)
        yield database
        await database.close()


async def test_changes_and_reads_of_many_at_once_are_right_on_whatever_server(pooled: Database) -> None:
    async def work(number: int) -> None:
        agent_id, name = new_id(), f"agent-{number}"
        values = {"id": agent_id, "account_id": "a", "name": name, "protocol": "SYNC", "url": "http://a.test"}
        async with pooled.transaction() as connection:
            await connection.execute(insert(agents).values(values))
            count = select(func.count()).select_from(agents).where(agents.c.id == agent_id)
            assert (await connection.execute(count)).scalar_one() == 1
        for _ in range(10):
            (by_id,) = await pooled.reads.rows(BY_ID, {"id": agent_id})
            (by_name,) = await pooled.reads.rows(BY_NAME, {"name": name})
            assert (by_id["name"], by_id["status"], by_name["id"]) == (name, "ACTIVE", agent_id)
            async with pooled.read() as connection:
                found = await connection.execute(select(agents.c.name).where(agents.c.id == agent_id))
                assert found.scalar_one() == name

    await asyncio.gather(*(work(number) for number in range(AT_ONCE)))


async def test_a_transaction_has_its_limits_and_leaves_none_behind(pooled: Database) -> None:
    setting = select(func.current_setting("statement_timeout"))
    async with pooled.transaction() as connection:
        assert (await connection.execute(setting)).scalar_one() == "10s"
    async with pooled.changes.begin() as transaction:
        assert [row["limit"] for row in await transaction.rows(LIMIT, {})] == ["10s"]
    async with pooled.read() as connection:
        assert (await connection.execute(setting)).scalar_one() == "0"


async def test_changes_of_many_at_once_are_right_on_whatever_server(pooled: Database) -> None:
    async def work(number: int) -> None:
        values = {"called": f"agent-{number}"}
        async with pooled.changes.begin() as transaction:
            await transaction.rows(ADD, values)
            (added,) = await transaction.rows(BY_NAME, {"name": values["called"]})
            (found,) = await transaction.rows(BY_ID, {"id": added["id"]})
            assert (found["name"], found["status"]) == (values["called"], "ACTIVE")
        with pytest.raises(UniqueViolationError):
            await again(values)

    async def again(values: dict[str, str]) -> None:
        async with pooled.changes.begin() as transaction:
            await transaction.rows(ADD, values)

    await asyncio.gather(*(work(number) for number in range(AT_ONCE)))


async def test_lists_of_schedules_are_read(pooled: Database) -> None:
    queries = ScheduleQueries(pooled)
    assert await asyncio.gather(*(queries.count(OPEN_ACTOR, ScheduleFilter()) for _ in range(AT_ONCE))) == [0] * AT_ONCE
