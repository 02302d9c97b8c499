"""Core statements as the SQL text that asyncpg takes: compiled once, and filled with values for each use."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from sqlalchemy import BindParameter, Delete, Dialect, Insert, Select, Table, TextClause, Update, bindparam
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.sql.compiler import SQLCompiler

DIALECT: Dialect = dialect()  # type: ignore[no-untyped-call]


class Statement:
    """A statement, compiled at its first use: no process uses all that it loads. Its `bindparam`s without a value are
    what each use has to give.

    Types convert nothing here: values are bound and come back as asyncpg has them, JSON as Python values.
    """

    def __init__(self, query: Select[Any] | Insert | Update | Delete | TextClause) -> None:
        self.query = query

    @cached_property
    def sql(self) -> str:
        return self._compiled.string

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """The values in the order of the text. Raises `KeyError` where one is missing."""
        if self._fixed:
            values = {**self._fixed, **values}
        return [values[name] for name in self._names]

    @cached_property
    def _names(self) -> list[str]:
        return [bind.key for bind in self._binds]

    @cached_property
    def _fixed(self) -> dict[str, Any]:
        return {bind.key: bind.effective_value for bind in self._binds if not bind.required}

    @cached_property
    def _binds(self) -> list[BindParameter[Any]]:
        return [self._compiled.binds[name] for name in self._compiled.positiontup or ()]

    @cached_property
    def _compiled(self) -> SQLCompiler:
        return self.query.compile(dialect=DIALECT)


def given(table: Table, names: Iterable[str]) -> dict[str, BindParameter[Any]]:
    """These columns with the values that each use gives by `new`: a parameter may not be called as a column is."""
    return {name: bindparam(f"new_{name}", type_=table.c[name].type) for name in sorted(names)}


def new(columns: Mapping[str, Any]) -> dict[str, Any]:
    """The values of columns, for a statement that was made with `given`."""
    return {f"new_{name}": value for name, value in columns.items()}
