"""The event log in Postgres: written along with what it tells of, read in one order that never changes.

Ids are handed out before their transactions commit, so the order of ids is not the order of commits
(measured: a reader by id lost 764 of 2,400 events). The log is therefore read in the order (xid, id), and
only below the oldest transaction that still runs: nothing can appear there any more.

A place in the log is always that of an event that was committed, never a bare transaction id: after a crash
Postgres hands out again the ids of transactions that left no trace, and a place above those would hide the
events of the new ones.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from asyncpg import Record
from sqlalchemy import Text, Uuid, bindparam, func, select, text

from services.database import Database
from services.errors import CursorExpired, Unavailable
from services.feed_event import Cursor, Event, EventKind, malformed_cursor
from services.statements import Statement
from services.tables import events

READ_TIMEOUT = timedelta(seconds=6)
"""For a connection that turns out to be lost, and then another one."""
SPAN = 2_000
"""How many rows one statement looks through: an account with few events in a long log costs many quick
statements instead of one that runs into its time limit, and never gets further."""

PRUNE_BATCH = 2_000
"""How many rows one transaction deletes: while it runs, it holds back the reading of the log."""

_PRUNE_LOCK = 6_204_391_078
"""The advisory lock of the one who prunes; an arbitrary number of our own."""

_KINDS = {each.value: each for each in EventKind}

# Which history of which table the transaction ids belong to. Another server or a restored dump has another
# cluster, database or table; a promoted standby or a restored backup, which can hand out ids again, has
# another timeline. A standby that is not promoted yet has none.
_EPOCH = """
    CASE WHEN NOT pg_is_in_recovery() THEN hashtextextended(
        concat_ws(
            '/',
            (SELECT system_identifier FROM pg_control_system()),
            left(pg_walfile_name(pg_current_wal_lsn()), 8),
            (SELECT oid FROM pg_database WHERE datname = current_database()),
            CAST(CAST('events' AS regclass) AS oid)
        ),
        0
    ) END
"""

_END_TEXT = f"""
    SELECT {_EPOCH} AS epoch, coalesce(last.xid, '0') AS xid, coalesce(last.id, 0) AS id
    FROM (VALUES (0)) AS always
    LEFT JOIN (
        SELECT xid, id FROM events WHERE xid < pg_snapshot_xmin(pg_current_snapshot())
        ORDER BY xid DESC, id DESC LIMIT 1
    ) AS last ON true
"""  # noqa: S608 - a constant
_END = Statement(text(_END_TEXT))

_AFTER_TEXT = f"""
    WITH span AS (
        SELECT id, xid, account_id, kind, schedule_id, run_id, agent_id, payload, at
        FROM events
        WHERE (xid, id) > (CAST(:xid AS xid8), CAST(:id AS bigint))
            AND xid < pg_snapshot_xmin(pg_current_snapshot())
        ORDER BY xid, id LIMIT :span
    ), found AS (
        SELECT * FROM span
        WHERE (CAST(:account_id AS text) IS NULL OR account_id = :account_id)
            AND (CAST(:kind AS text) IS NULL OR kind = :kind)
        ORDER BY xid, id LIMIT :limit
    ), last AS (
        SELECT xid, id FROM span ORDER BY xid DESC, id DESC LIMIT 1
    ), oldest AS (
        SELECT xid, id, payload FROM events ORDER BY xid, id LIMIT 1
    ), log AS (
        SELECT
            {_EPOCH} AS epoch,
            (SELECT count(*) FROM span) AS looked_through,
            (SELECT xid FROM last) AS last_xid,
            (SELECT id FROM last) AS last_id,
            CAST(:xid AS xid8) >= pg_snapshot_xmax(pg_current_snapshot()) AS is_future,
            EXISTS (
                SELECT FROM oldest
                WHERE payload ->> 'pruned' = 'true' AND (xid, id) > (CAST(:xid AS xid8), CAST(:id AS bigint))
            ) AS is_pruned,
            clock_timestamp() - (
                SELECT at FROM events
                WHERE (xid, id) > (
                    coalesce((SELECT xid FROM last), CAST(:xid AS xid8)),
                    coalesce((SELECT id FROM last), CAST(:id AS bigint))
                )
                ORDER BY xid, id LIMIT 1
            ) AS lag
    )
    SELECT log.*, found.*
    FROM log LEFT JOIN found ON true
    ORDER BY found.xid, found.id
"""  # noqa: S608 - a constant
_AFTER = Statement(text(_AFTER_TEXT))

_OF_RUN_TEXT = f"""
    SELECT {_EPOCH} AS epoch, id, xid, account_id, kind, schedule_id, run_id, agent_id, payload, at
    FROM events
    WHERE run_id = :run_id AND account_id = :account_id AND kind = 'FIRE_STATUS'
        AND (xid, id) > (CAST(:xid AS xid8), CAST(:id AS bigint))
        AND xid < pg_snapshot_xmin(pg_current_snapshot())
    ORDER BY xid, id LIMIT :limit
"""  # noqa: S608 - a constant
_OF_RUN = Statement(text(_OF_RUN_TEXT))

_COUNT_OF_RUN = Statement(
    select(func.count()).where(
        events.c.run_id == bindparam("run_id", type_=Uuid),
        events.c.account_id == bindparam("account_id", type_=Text),
        events.c.kind == EventKind.FIRE_STATUS.value,
    )
)

# The newest of the rows to go stays, emptied, as the mark of how far the log reaches back: so the mark needs
# no place of its own, and the log never becomes empty, which would look like one that was never written.
# It begins where the last batch ended: what was deleted stays in the index until a vacuum, and costs time to pass.
_PRUNE = text(f"""
    WITH span AS (
        SELECT xid, id, at >= now() - CAST(:older_than AS interval) AS is_kept
        FROM events
        WHERE (xid, id) >= (CAST(:xid AS xid8), CAST(:id AS bigint))
            AND xid < pg_snapshot_xmin(pg_current_snapshot())
        ORDER BY xid, id LIMIT {PRUNE_BATCH}
    ), first_kept AS (
        SELECT xid, id FROM span WHERE is_kept ORDER BY xid, id LIMIT 1
    ), mark AS (
        SELECT xid, id FROM span
        WHERE NOT EXISTS (SELECT FROM first_kept) OR (xid, id) < (SELECT xid, id FROM first_kept)
        ORDER BY xid DESC, id DESC LIMIT 1
    ), marked AS (
        UPDATE events
        SET payload = '{{"pruned": true}}', account_id = '', schedule_id = NULL, run_id = NULL, agent_id = NULL
        WHERE id = (SELECT id FROM mark)
    ), deleted AS (
        DELETE FROM events USING span
        WHERE events.id = span.id AND (span.xid, span.id) < (SELECT xid, id FROM mark)
        RETURNING events.id
    )
    SELECT xid, id, (SELECT count(*) FROM deleted) AS deleted FROM mark
""")  # noqa: S608 - a constant


@dataclass(frozen=True, slots=True)
class Page:
    """Events in order, and what is known about the log behind them."""

    events: list[Event]
    last: Cursor
    """Everything up to here was looked at, whether it was asked for or not."""
    is_complete: bool
    """Whether that is all that could be read at the time."""
    lag: timedelta | None
    """The age of the oldest committed event behind `last`; None when there is none."""


class EventLog:
    """Reads the log, by the database's `reads`, and prunes it.

    Every method raises `Unavailable` where Postgres does not answer in time.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def end(self) -> Cursor:
        """The end of the log, as far as it can be read now."""
        (row,) = await self._rows(_END, {})
        return Cursor(_unsigned(row["epoch"]), row["xid"], row["id"])

    async def after(
        self,
        cursor: Cursor,
        *,
        limit: int,
        account_id: str | None = None,
        kind: EventKind | None = None,
        span: int = SPAN,
    ) -> Page:
        """The next events after the cursor: at most `limit`, of this account and kind or of all, and no more than there
        are in the next `span` rows.

        Raises:
            CursorExpired: the log does not reach back that far, or is another one.
            InvalidInput: the cursor lies in the future.
        """
        if account_id is None and kind is None:
            span = limit
        parameters = {"xid": cursor.xid, "id": cursor.id, "limit": limit, "span": span}
        rows = await self._rows(_AFTER, {**parameters, "account_id": account_id, "kind": kind})
        log = rows[0]
        if _unsigned(log["epoch"]) != cursor.epoch or log["is_pruned"]:
            raise CursorExpired
        if log["is_future"]:
            raise malformed_cursor()
        found = [_to_event(cursor.epoch, row) for row in rows] if log["xid"] is not None else []
        if len(found) == limit:
            return Page(found, found[-1].cursor, False, log["lag"])
        last = Cursor(cursor.epoch, log["last_xid"], log["last_id"]) if log["looked_through"] else cursor
        return Page(found, last, log["looked_through"] < span, log["lag"])

    async def of_run(self, account_id: str, run_id: UUID, *, after: Cursor | None, limit: int) -> list[Event]:
        """The next events of one run after the cursor, at most `limit`; those that were pruned are gone.

        Raises:
            CursorExpired: the cursor is of another log, or nothing is behind it and the log does not reach back to it.
            InvalidInput: the cursor lies in the future.
        """
        place = {"xid": after.xid if after else 0, "id": after.id if after else 0}
        parameters = {"account_id": account_id, "run_id": run_id, "limit": limit, **place}
        rows = await self._database.reads.rows(_OF_RUN, parameters)
        if not rows:
            if after is not None:
                await self.after(after, limit=1)  # where the cursor is to blame, that says so
            return []
        epoch = _unsigned(rows[0]["epoch"])
        if after is not None and epoch != after.epoch:
            raise CursorExpired
        return [_to_event(epoch, row) for row in rows]

    async def count_of_run(self, account_id: str, run_id: UUID) -> int:
        """How many events of the run are kept."""
        values = {"run_id": run_id, "account_id": account_id}
        (row,) = await self._database.reads.rows(_COUNT_OF_RUN, values)
        return int(row[0])

    async def prune(self, older_than: timedelta) -> int:
        """Delete the events that are older than this; cursors from before them expire. The number of deleted
        rows.

        It goes from the old end up to the first event that is young enough. Where another process prunes, it
        does nothing.
        """
        total: int = 0
        xid, id_ = 0, 0
        while True:
            async with self._database.transaction() as connection:
                lock = text("SELECT pg_try_advisory_xact_lock(:lock)")
                if not await connection.scalar(lock, {"lock": _PRUNE_LOCK}):
                    return total
                parameters = {"older_than": older_than, "xid": xid, "id": id_}
                mark = (await connection.execute(_PRUNE, parameters)).first()
            if mark is None:
                return total
            total, xid, id_ = total + mark.deleted, mark.xid, mark.id
            if mark.deleted < PRUNE_BATCH - 1:
                return total

    async def _rows(self, statement: Statement, parameters: dict[str, Any]) -> list[Record]:
        try:
            async with asyncio.timeout(READ_TIMEOUT.total_seconds()):
                rows = await self._database.reads.rows(statement, parameters)
        except TimeoutError as error:
            raise Unavailable from error
        if rows[0]["epoch"] is None:
            raise Unavailable
        return rows


def _to_event(epoch: int, row: Record) -> Event:
    id_, xid, account_id, kind, schedule_id, run_id, agent_id, payload, at = row[-9:]
    return Event(Cursor(epoch, xid, id_), account_id, _KINDS[kind], schedule_id, run_id, agent_id, payload, at)


def _unsigned(hash_value: int) -> int:
    return hash_value % 2**64
