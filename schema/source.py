"""The source of a function that completes an object: fixed text, names that were checked, and constants."""

from collections.abc import Iterable
from functools import lru_cache
from types import CodeType
from typing import Any

from schema.compiled import Make, NotRead, Selection, Unexpected


class Source:
    """The lines of a function of an object `v`, lists `w` and `d` and a place `p`, and their constants.

    `reads_together` says whether they add to `w`, and `defers` whether they add to `d`.
    """

    def __init__(self) -> None:
        self.reads_together = False
        self.defers = False
        self._lines: list[str] = []
        self._constants: dict[str, Any] = {"Unexpected": Unexpected, "NotRead": NotRead}

    def add(self, line: str) -> None:
        self._lines.append(line)

    def insert(self, place: int, line: str) -> None:
        self._lines.insert(place, line)

    def call(self, make: str, selections: Iterable[Selection], name: str, indent: str, path: str) -> None:
        """Complete the variable by what was made of one of these selections. Only what defers is told its place."""
        defers = any(each.defers for each in selections)
        self.reads_together = self.reads_together or any(each.reads_together for each in selections)
        self.defers = self.defers or defers
        self.add(f"{indent}{name} = {make}({name}, w, d, {path if defers else '()'})")

    def extend(self, lines: Any) -> None:
        self._lines.extend(lines)

    def constant(self, value: Any) -> str:
        name = f"C{len(self._constants)}"
        self._constants[name] = value
        return name

    def mark(self) -> int:
        return len(self._lines)

    def undo(self, mark: int) -> None:
        del self._lines[mark:]

    def function(self, last: list[str]) -> Make:
        exec(_code("\n".join(["def make(v, w, d, p):", *self._lines, *last])), self._constants)  # noqa: S102
        made: Make = self._constants["make"]
        return made


@lru_cache(maxsize=512)
def _code(text: str) -> CodeType:
    """Compiling takes half a millisecond, and clients select the same of a type in many documents."""
    return compile(text, "<selection>", "exec")
