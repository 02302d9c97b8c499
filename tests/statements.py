"""What Postgres is asked while a block runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from services.database import Database


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """Every statement that is sent while the block runs, but for what the pool asks to see that a connection lives,
    and for the wake-ups that commits before it may still cause.
    """
    sent: list[str] = []

    def note(statement: str) -> None:
        if not statement.startswith("NOTIFY"):
            sent.append(statement)

    def executed(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        note(statement)

    event.listen(database.engine.sync_engine, "before_cursor_execute", executed)
    database.direct.watchers.append(note)
    try:
        yield sent
    finally:
        database.direct.watchers.remove(note)
        event.remove(database.engine.sync_engine, "before_cursor_execute", executed)
