"""Reads on asyncpg's own connections: few of them, given up at once where they lead nowhere, and prepared once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import Integer, bindparam, func, literal_column, select, text

from services.database import ANSWER_TIMEOUT, Database
from services.errors import Unavailable
from services.statements import Statement
from tests.faults.figures import Figures
from tests.faults.proxy import FaultProxy

READERS = 3
SLEEPING = Statement(
    select(
        bindparam("n", type_=Integer).label("n"),
        func.pg_backend_pid().label("pid"),
        func.pg_sleep(bindparam("seconds")),
    )
)
BROKEN = Statement(select(literal_column("1 / 0")))
FORGET = Statement(text("DEALLOCATE ALL"))


@asynccontextmanager
async def reading(url: str, *, pooled: bool = False) -> AsyncIterator[Database]:
    database = Database(url, pool_size=READERS + 1, readers=READERS, transaction_pooler=pooled)
    try:
        yield database
    finally:
        await database.close()


async def ask(database: Database, n: int, seconds: float = 0.05) -> tuple[int, int]:
    """The number back, and the process of the server that answered."""
    (row,) = await database.reads.rows(SLEEPING, {"n": n, "seconds": seconds})
    return row["n"], row["pid"]


async def test_no_more_connections_are_opened_than_there_are_readers(database_url: str) -> None:
    async with reading(database_url) as database:
        answers = await asyncio.gather(*(ask(database, n) for n in range(20)))
    assert [n for n, _ in answers] == [*range(20)]
    assert len({pid for _, pid in answers}) == READERS


@pytest.mark.parametrize("pooled", [False, True])
async def test_a_statement_that_fails_leaves_its_connection_in_use(database_url: str, pooled: bool) -> None:
    async with reading(database_url, pooled=pooled) as database:
        _, before = await ask(database, 1)
        with pytest.raises(Exception, match="division by zero"):
            await database.reads.rows(BROKEN, {})
        _, after = await ask(database, 1)
    assert before == after


async def test_one_that_is_given_up_on_does_not_answer_the_next(database_url: str) -> None:
    async with reading(database_url) as database:
        given_up = asyncio.create_task(ask(database, 1, seconds=30))
        await ask(database, 2)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        answers = await asyncio.gather(*(ask(database, n) for n in range(10)))
    assert [n for n, _ in answers] == [*range(10)]


@pytest.mark.fault("F17")
@pytest.mark.parametrize("pooled", [False, True])
async def test_readers_whose_connections_lead_nowhere_are_answered_over_new_ones(
    database_url: str, figures: Figures, pooled: bool
) -> None:
    port = int(database_url.rsplit(":", 1)[1].split("/")[0])
    async with (
        FaultProxy(port).running() as proxy,
        reading(database_url.replace(f":{port}/", f":{proxy.port}/"), pooled=pooled) as database,
    ):
        # given connections that all lead nowhere
        await asyncio.gather(*(ask(database, n) for n in range(READERS)))
        assert proxy.half_open() == READERS
        # when they are used, one after another and all at once, by who waits no longer than for a statement
        async with asyncio.timeout(ANSWER_TIMEOUT.total_seconds()):
            answers = [await ask(database, n) for n in range(READERS)]
        answers += await asyncio.gather(*(ask(database, n) for n in range(READERS)))
        # then each is answered, and one of the old ones was asked in vain
        assert [n for n, _ in answers] == [*range(READERS)] * 2
        # (and perhaps called off, over a connection of its own)
        assert proxy.connections - 2 * READERS in (0, 1)
        assert proxy.swallowed_bytes > 0
        figures.injected("half-open connections of readers", READERS)


@pytest.mark.fault("F17")
async def test_readers_with_no_way_to_postgres_say_so_and_are_right_again_with_it(database_url: str) -> None:
    port = int(database_url.rsplit(":", 1)[1].split("/")[0])
    async with (
        FaultProxy(port).running() as proxy,
        reading(database_url.replace(f":{port}/", f":{proxy.port}/")) as database,
    ):
        assert (await ask(database, 1))[0] == 1
        await proxy.refuse()
        with pytest.raises(Unavailable):
            await ask(database, 2)
        await proxy.listen()
        assert (await ask(database, 3))[0] == 3


async def test_sessions_that_postgres_ends_are_replaced_without_an_error(database_url: str) -> None:
    async with reading(database_url) as database:
        _, pid = await ask(database, 1)
        async with database.read() as connection:
            await connection.execute(select(func.pg_terminate_backend(pid)))
        n, other = await ask(database, 2)
    assert n == 2
    assert other != pid


async def test_a_session_whose_prepared_statements_are_gone_is_replaced_without_an_error(database_url: str) -> None:
    async with reading(database_url) as database:
        _, pid = await ask(database, 1)
        await database.reads.rows(FORGET, {})
        n, other = await ask(database, 2)
        again = await ask(database, 3)
    assert n == 2
    assert other != pid
    assert again == (3, other)


def test_a_value_that_is_not_given_is_told() -> None:
    with pytest.raises(KeyError, match="seconds"):
        SLEEPING.arguments({"n": 1})
