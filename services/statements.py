"""Core statements as the SQL text that asyncpg takes: compiled once, and filled with values for each use."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Delete, Dialect, Insert, Select, TextClause, Update
from sqlalchemy.dialects.postgresql.asyncpg import dialect

DIALECT: Dialect = dialect()  # type: ignore[no-untyped-call]


class Statement:
    """A compiled statement. Its `bindparam`s without a value are what each use has to give.

    Types convert nothing here: values are bound and come back as asyncpg has them, JSON as Python values.
    """

    def __init__(self, query: Select[Any] | Insert | Update | Delete | TextClause) -> None:
        compiled = query.compile(dialect=DIALECT)
        binds = [compiled.binds[name] for name in compiled.positiontup or ()]
        self.query = query
        self.sql = compiled.string
        self._names = [bind.key for bind in binds]
        self._fixed = {bind.key: bind.effective_value for bind in binds if not bind.required}

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """The values in the order of the text. Raises `KeyError` where one is missing."""
        if self._fixed:
            values = {**self._fixed, **values}
        return [values[name] for name in self._names]
