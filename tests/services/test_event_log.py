"""The event log: nothing is hidden by the order of ids, and what was pruned is said to be gone."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import text

from services.database import Database
from services.errors import CursorExpired, InvalidInput, Unavailable
from services.event_log import PRUNE_BATCH, SPAN, EventLog, Page
from services.feed_event import Cursor, EventKind
from tests.services.feeding import ACCOUNT, commit, connected, opened, write

DAY = timedelta(days=1)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with opened(database_url) as database:
        yield database


@pytest.fixture
def log(database: Database) -> EventLog:
    return EventLog(database)


def numbers(page: Page) -> list[int]:
    return [event.payload["number"] for event in page.events]


async def commit_many(database: Database, count: int, *, account_id: str = ACCOUNT, age: timedelta) -> None:
    statement = text("""
        INSERT INTO events (account_id, kind, payload, at)
        SELECT :account_id, 'FIRE_STATUS', jsonb_build_object('number', n), now() - CAST(:age AS interval)
        FROM generate_series(1, :count) AS n
    """)
    async with database.transaction() as connection:
        await connection.execute(statement, {"account_id": account_id, "age": age, "count": count})


async def test_the_end_of_an_empty_log_is_before_its_first_event(database: Database, log: EventLog) -> None:
    # given an empty log
    end = await log.end()

    # when an event is committed
    await commit(database, 1)

    # then it is behind what was the end
    page = await log.after(end, limit=10)
    assert numbers(page) == [1]
    assert (page.last, page.is_complete, page.lag) == (await log.end(), True, None)


async def test_an_event_is_read_as_it_was_written(database: Database, log: EventLog) -> None:
    # given an event
    end = await log.end()
    await commit(database, 1)

    # when it is read
    (event,) = (await log.after(end, limit=10)).events

    # then every part is there
    assert (event.account_id, event.kind, event.payload) == (ACCOUNT, EventKind.FIRE_STATUS, {"number": 1})
    assert (event.schedule_id, event.run_id, event.agent_id) == (None, None, None)
    assert event.at.utcoffset() == timedelta()
    assert event.cursor > end


@pytest.mark.fault("F28")
async def test_an_event_that_commits_late_hides_nothing(database: Database, log: EventLog) -> None:
    # given an open transaction with an event, and a later one that is committed
    end = await log.end()
    async with database.transaction() as late:
        await write(late, 1)
        await commit(database, 2)

        # then neither is read yet, and the lag shows that one waits
        page = await log.after(end, limit=10)
        assert (numbers(page), page.is_complete) == ([], True)
        assert page.lag is not None
        assert page.lag > timedelta()
        assert await log.end() == end

    # when the late one commits, then both are read, in the order that never changes
    page = await log.after(end, limit=10)
    assert (numbers(page), page.lag) == ([1, 2], None)


async def test_a_rolled_back_event_is_absent(database: Database, log: EventLog) -> None:
    # given an event whose transaction is rolled back, between two others
    end = await log.end()
    await commit(database, 1)
    async with database.transaction() as connection:
        await write(connection, 2)
        await connection.rollback()
    await commit(database, 3)

    # then it is not read
    assert numbers(await log.after(end, limit=10)) == [1, 3]


async def test_pages_follow_on_each_other(database: Database, log: EventLog) -> None:
    # given five events
    end = await log.end()
    await commit(database, 1, 2, 3, 4, 5)

    # when they are read by two
    first = await log.after(end, limit=2)
    second = await log.after(first.last, limit=2)
    third = await log.after(second.last, limit=2)

    # then each page begins where the last one ended
    assert [numbers(page) for page in (first, second, third)] == [[1, 2], [3, 4], [5]]
    assert [page.is_complete for page in (first, second, third)] == [False, False, True]


async def test_a_long_log_of_others_is_passed_in_bounded_steps(database: Database, log: EventLog) -> None:
    # given one event of ours behind more of another account than one statement looks through
    end = await log.end()
    await commit_many(database, SPAN + 5, account_id="other", age=timedelta())
    await commit(database, 1)

    # when ours are read
    first = await log.after(end, limit=10, account_id=ACCOUNT, kind=EventKind.FIRE_STATUS)
    second = await log.after(first.last, limit=10, account_id=ACCOUNT, kind=EventKind.FIRE_STATUS)

    # then the first step finds nothing and still gets on, and the second one finds it
    assert (numbers(first), first.is_complete, first.last > end) == ([], False, True)
    assert (numbers(second), second.is_complete) == ([1], True)


async def test_another_account_and_another_kind_are_not_read(database: Database, log: EventLog) -> None:
    # given events of two accounts
    end = await log.end()
    await commit(database, 1)
    await commit(database, 2, account_id="other")

    # then each account reads its own, of the kind it asks for
    theirs = await log.after(end, limit=10, account_id="other", kind=EventKind.FIRE_STATUS)
    changes = await log.after(end, limit=10, account_id=ACCOUNT, kind=EventKind.SCHEDULE_CHANGED)
    assert (numbers(theirs), numbers(changes)) == ([2], [])
    assert changes.last == await log.end()


async def test_a_cursor_of_another_history_has_expired(database: Database, log: EventLog) -> None:
    # given a cursor of another epoch
    await commit(database, 1)
    end = await log.end()

    # then it has expired, however well the rest fits
    with pytest.raises(CursorExpired):
        await log.after(Cursor(end.epoch ^ 1, end.xid, end.id), limit=10)


async def test_the_epoch_is_that_of_the_database(database_url: str, log: EventLog) -> None:
    # given the table made anew in the same database, as a restore does it
    before = await log.end()
    async with connected(database_url) as connection:
        await connection.execute("ALTER TABLE events RENAME TO gone")
        await connection.execute("CREATE TABLE events (LIKE gone INCLUDING ALL)")

    # then the cursors of the old one have expired
    with pytest.raises(CursorExpired):
        await log.after(before, limit=10)


async def test_a_cursor_of_the_future_is_refused(database: Database, log: EventLog) -> None:
    # given a cursor with a transaction id that was not handed out yet
    await commit(database, 1)
    end = await log.end()

    # then it is none of ours
    with pytest.raises(InvalidInput) as caught:
        await log.after(Cursor(end.epoch, end.xid + 1_000_000, 1), limit=10)
    assert caught.value.path == ("after",)


async def test_pruning_deletes_the_old_and_expires_their_cursors(database: Database, log: EventLog) -> None:
    # given old events, a young one, and cursors of each
    beginning = await log.end()
    await commit_many(database, 3, age=2 * DAY)
    old = (await log.after(beginning, limit=10)).events
    await commit(database, 9)

    # when everything older than a day is pruned, and pruned again
    deleted = [await log.prune(DAY), await log.prune(DAY)]

    # then cursors before the pruned events have expired, and the others lead to the young one
    assert deleted == [2, 0]
    for expired in (beginning, old[0].cursor, old[1].cursor):
        with pytest.raises(CursorExpired):
            await log.after(expired, limit=10)
    assert numbers(await log.after(old[2].cursor, limit=10)) == [9]


async def test_what_marks_the_pruned_part_tells_nothing(database_url: str, log: EventLog) -> None:
    # given a log that was pruned
    async with opened(database_url) as database:
        await commit_many(database, 3, age=2 * DAY)
    await log.prune(DAY)

    # then one row is left of it, that belongs to nobody
    async with connected(database_url) as connection:
        rows = await connection.fetch("SELECT account_id, schedule_id, run_id, agent_id, payload FROM events")
    assert [tuple(row) for row in rows] == [("", None, None, None, '{"pruned": true}')]


async def test_pruning_everything_keeps_the_end(database: Database, log: EventLog) -> None:
    # given a log of old events alone, longer than what one transaction deletes
    await commit_many(database, PRUNE_BATCH * 2 + 7, age=2 * DAY)
    end = await log.end()

    # when all of it is pruned
    deleted = await log.prune(DAY)

    # then the end of the log is where it was, and what comes next is read from there
    assert deleted == PRUNE_BATCH * 2 + 6
    assert await log.end() == end
    await commit(database, 1)
    assert numbers(await log.after(end, limit=10)) == [1]


async def test_pruning_stops_at_the_first_young_event(database: Database, log: EventLog) -> None:
    # given a young event between old ones, which happens when a transaction is long
    beginning = await log.end()
    await commit_many(database, 2, age=2 * DAY)
    await commit(database, 8)
    await commit_many(database, 2, age=2 * DAY)
    events = (await log.after(beginning, limit=10)).events

    # when the log is pruned
    await log.prune(DAY)

    # then no event behind the young one is missing
    assert numbers(await log.after(events[1].cursor, limit=10)) == [8, 1, 2]


async def test_pruning_leaves_what_cannot_be_read_yet(database: Database, log: EventLog) -> None:
    # given old events above a transaction that is still open
    end = await log.end()
    async with database.transaction() as late:
        await write(late, 1)
        await commit_many(database, 3, age=2 * DAY)

        # when the log is pruned
        deleted = await log.prune(DAY)

    # then nobody loses them
    assert deleted == 0
    assert numbers(await log.after(end, limit=10)) == [1, 1, 2, 3]


async def test_one_process_prunes_at_a_time(database: Database, log: EventLog) -> None:
    # given another process that prunes
    await commit_many(database, 3, age=2 * DAY)
    async with database.transaction() as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(6204391078)"))

        # then this one leaves it to that one
        assert await log.prune(DAY) == 0
    assert await log.prune(DAY) == 2


async def test_a_server_that_is_away_is_unavailable(unused_url: str) -> None:
    # given nobody at the address
    async with opened(unused_url) as database:
        log = EventLog(database)

        # then every call says so
        with pytest.raises(Unavailable):
            await log.end()
        with pytest.raises(Unavailable):
            await log.after(Cursor(1, 1, 1), limit=1)
        with pytest.raises(Unavailable):
            await log.prune(DAY)


@pytest.fixture
def unused_url() -> str:
    return "postgresql://nobody:secret@127.0.0.1:1/nothing"
