"""Transactions on asyncpg's own connections: kept whole or not at all, and begun anew where one leads nowhere."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asyncpg import PostgresError, UniqueViolationError
from sqlalchemy import Integer, Text, bindparam, func, insert, literal_column, select, table, text

from services.database import Database
from services.errors import CommitUnknown, NotFound, Unavailable
from services.statements import Statement
from services.tables import agents
from services.transactions import CoreTransaction, Transaction
from tests.faults.figures import Figures
from tests.faults.proxy import FaultProxy
from tests.waiting import eventually

CHANGERS = 2
PID = Statement(select(func.pg_backend_pid().label("pid"), func.pg_sleep(bindparam("seconds"))))
BROKEN = Statement(select((literal_column("1") / bindparam("by", type_=Integer)).label("n")))
FORGET = Statement(text("DEALLOCATE ALL"))
END = Statement(select(func.pg_terminate_backend(bindparam("pid", type_=Integer))))
ADD = Statement(
    insert(agents).values(
        id=func.gen_random_uuid(),
        account_id="a",
        name=bindparam("called"),
        protocol="SYNC",
        url="http://a.test",
    )
)
LIMIT = Statement(select(func.current_setting("statement_timeout").label("limit")))
SHORTER = Statement(select(func.set_config("statement_timeout", "50", True)))
SLEEPERS = Statement(
    select(literal_column("pid"))
    .select_from(table("pg_stat_activity"))
    .where(literal_column("wait_event") == "PgSleep", literal_column("datname") == func.current_database())
)
NAMES = Statement(select(agents.c.name).where(agents.c.account_id == bindparam("account", type_=Text)))


@asynccontextmanager
async def changing(url: str) -> AsyncIterator[Database]:
    database = Database(url, pool_size=4 * CHANGERS, readers=2 * CHANGERS)
    try:
        yield database
    finally:
        await database.close()


async def pid_of(transaction: Transaction, seconds: float = 0.0) -> int:
    """The process of the server that answers."""
    (row,) = await transaction.rows(PID, {"seconds": seconds})
    pid: int = row["pid"]
    return pid


async def used(database: Database, seconds: float = 0.05) -> int:
    """One transaction that takes a while; the process that it was in."""
    async with database.changes.begin() as transaction:
        return await pid_of(transaction, seconds)


async def add(database: Database, name: str, *then: tuple[Statement, dict[str, Any]]) -> None:
    async with database.changes.begin() as transaction:
        await transaction.rows(ADD, {"called": name})
        for statement, values in then:
            await transaction.rows(statement, values)


async def names(database: Database) -> list[str]:
    return sorted(row["name"] for row in await database.reads.rows(NAMES, {"account": "a"}))


async def all_at_work(database: Database) -> bool | None:
    """True once as many transactions sleep as there may be."""
    return True if len(await database.reads.rows(SLEEPERS, {})) == CHANGERS else None


async def test_what_is_done_in_a_transaction_is_kept_together_or_not_at_all(database_url: str) -> None:
    async with changing(database_url) as database:
        await add(database, "kept", (ADD, {"called": "kept-too"}))
        with pytest.raises(PostgresError, match="division by zero"):
            await add(database, "undone", (BROKEN, {"by": 0}))
        with pytest.raises(UniqueViolationError) as caught:
            await add(database, "undone", (ADD, {"called": "kept"}))
        assert await names(database) == ["kept", "kept-too"]
    assert caught.value.constraint_name == "agents_account_id_name_key"


async def test_an_error_of_ours_undoes_it_and_leaves_the_connection_in_use(database_url: str) -> None:
    async def refused() -> int:
        async with database.changes.begin() as transaction:
            pids.append(await pid_of(transaction))
            await transaction.rows(ADD, {"called": "undone"})
            raise NotFound("agent", "input", "id")

    pids: list[int] = []
    async with changing(database_url) as database:
        with pytest.raises(NotFound):
            await refused()
        assert await used(database) == pids[0]
        assert await names(database) == []


async def test_a_session_whose_prepared_statements_are_gone_fails_once_and_is_replaced(database_url: str) -> None:
    async with changing(database_url) as database:
        await add(database, "kept")
        await database.reads.rows(FORGET, {})
        with pytest.raises(PostgresError, match="does not exist"):
            await add(database, "undone")
        await add(database, "kept-too")
        assert await names(database) == ["kept", "kept-too"]


async def test_a_failure_that_the_caller_swallows_is_no_commit(database_url: str) -> None:
    async def careless() -> None:
        async with database.changes.begin() as transaction:
            await transaction.rows(ADD, {"called": "undone"})
            with pytest.raises(PostgresError):
                await transaction.rows(BROKEN, {"by": 0})

    async with changing(database_url) as database:
        with pytest.raises(RuntimeError, match="kept nothing"):
            await careless()
        assert await names(database) == []
        await add(database, "kept")
        assert await names(database) == ["kept"]


async def test_a_statement_that_takes_too_long_is_unavailable_and_undone(database_url: str) -> None:
    async def sleep() -> None:
        async with database.changes.begin() as transaction:
            (row,) = await transaction.rows(LIMIT, {})
            pids.append(await pid_of(transaction))
            limits.append(row["limit"])
            await transaction.rows(ADD, {"called": "undone"})
            # the test need not wait for the real bound
            await transaction.rows(SHORTER, {})
            await pid_of(transaction, 600.0)

    limits: list[str] = []
    pids: list[int] = []
    async with changing(database_url) as database:
        with pytest.raises(Unavailable):
            await sleep()
        assert limits == ["10s"]
        assert await names(database) == []
        assert await used(database) == pids[0]


async def test_one_that_is_given_up_on_is_undone_and_does_not_answer_the_next(database_url: str) -> None:
    async with changing(database_url) as database:
        given_up = asyncio.create_task(add(database, "undone", (PID, {"seconds": 30.0})))
        await used(database)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        # the name is free again as soon as Postgres has undone it
        await add(database, "undone")
        assert await names(database) == ["undone"]


async def test_no_more_connections_are_opened_than_there_are_changers(database_url: str) -> None:
    async with changing(database_url) as database:
        pids = await asyncio.gather(*(used(database) for _ in range(5 * CHANGERS)))
    assert len(set(pids)) == CHANGERS


async def test_a_session_that_postgres_ends_is_unavailable_within_and_replaced_between(database_url: str) -> None:
    async with changing(database_url) as database:
        first = await used(database)
        await database.reads.rows(END, {"pid": first})
        second = await used(database)
        assert second != first
        with pytest.raises(Unavailable):
            await add(database, "undone", (END, {"pid": second}), (PID, {"seconds": 0.0}))
        assert await names(database) == []
        assert await used(database) != second


@pytest.mark.fault("F17")
async def test_changes_whose_connections_lead_nowhere_are_made_over_new_ones(
    database_url: str, figures: Figures
) -> None:
    port = int(database_url.rsplit(":", 1)[1].split("/")[0])
    async with (
        FaultProxy(port).running() as proxy,
        changing(database_url.replace(f":{port}/", f":{proxy.port}/")) as database,
    ):
        # given connections that all lead nowhere
        await asyncio.gather(*(used(database) for _ in range(CHANGERS)))
        assert proxy.half_open() == CHANGERS
        # when they are used, one after another and at once
        await add(database, "first")
        await asyncio.gather(*(add(database, f"more-{n}") for n in range(CHANGERS)))
        # then each change is made once, and one of the old ones was asked in vain
        assert proxy.swallowed_bytes > 0
        figures.injected("half-open connections of changes", CHANGERS)
    async with changing(database_url) as database:
        assert await names(database) == ["first", *(f"more-{n}" for n in range(CHANGERS))]


@pytest.mark.fault("F17")
async def test_changes_with_no_way_to_postgres_say_so_and_are_made_again_with_it(database_url: str) -> None:
    port = int(database_url.rsplit(":", 1)[1].split("/")[0])
    async with (
        FaultProxy(port).running() as proxy,
        changing(database_url.replace(f":{port}/", f":{proxy.port}/")) as database,
    ):
        await add(database, "before")
        await proxy.refuse()
        with pytest.raises(Unavailable):
            await add(database, "away")
        await proxy.listen()
        await add(database, "after")
        assert await names(database) == ["after", "before"]


@pytest.mark.parametrize("asyncpg_itself", [True, False])
async def test_a_commit_that_is_not_answered_is_said_to_be_unknown(database_url: str, asyncpg_itself: bool) -> None:
    port = int(database_url.rsplit(":", 1)[1].split("/")[0])

    @asynccontextmanager
    async def begun(database: Database) -> AsyncIterator[Transaction]:
        if asyncpg_itself:
            async with database.changes.begin() as transaction:
                yield transaction
        else:
            async with database.transaction() as connection:
                yield CoreTransaction(connection)

    async def break_before(database: Database) -> None:
        async with begun(database) as transaction:
            proxy.reset_open()
            await transaction.rows(ADD, {"called": "before"})

    async def break_over(database: Database) -> None:
        async with begun(database) as transaction:
            await transaction.rows(ADD, {"called": "over"})
            proxy.reset_open()

    async with (
        FaultProxy(port).running() as proxy,
        changing(database_url.replace(f":{port}/", f":{proxy.port}/")) as database,
    ):
        with pytest.raises(Unavailable, match="nothing was changed"):
            await break_before(database)
        with pytest.raises(CommitUnknown, match="did not say whether"):
            await break_over(database)


async def test_a_statement_means_the_same_in_a_transaction_of_sqlalchemys(database_url: str) -> None:
    async with changing(database_url) as database:
        async with database.transaction() as connection:
            transaction = CoreTransaction(connection)
            assert not await transaction.rows(ADD, {"called": "kept"})
            assert [row["name"] for row in await transaction.rows(NAMES, {"account": "a"})] == ["kept"]
        assert await names(database) == ["kept"]


def test_the_connections_of_both_pools_are_those_that_were_given() -> None:
    def sizes(database: Database) -> tuple[int, int, int]:
        return database.direct.slots._value, database.changes._slots._value, database.engine.pool.size()  # type: ignore[attr-defined]

    url = "postgresql://nobody@127.0.0.1:9/nothing"
    assert [sizes(Database(url, pool_size=size)) for size in (2, 3, 10)] == [(1, 1, 1), (2, 1, 1), (7, 5, 3)]
    assert sizes(Database(url, pool_size=10, readers=0)) == (0, 1, 10)


async def test_changes_that_wait_leave_connections_to_reads(database_url: str) -> None:
    async with changing(database_url) as database:
        waiting = [asyncio.create_task(used(database, seconds=30.0)) for _ in range(2 * CHANGERS)]
        await eventually(lambda: all_at_work(database))
        assert await names(database) == []
        for each in waiting:
            each.cancel()
        await asyncio.wait(waiting)
