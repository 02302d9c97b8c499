"""Objects of the schema over the rows that were read of them.

What is read by the page is selected in part and shown once. So nothing is made of a row before it is asked for: plans
read its columns themselves, and for everyone else all attributes are made when the first of them is wanted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Column:
    """At which place a row holds the value of an attribute. With `kind`, it is the key in a global id."""

    place: int
    kind: str | None = None


class Row:
    """A class of these is a subclass of the schema's type.

    `columns` are the attributes that a column is the value of; for an enum it is that of the member.
    """

    columns: ClassVar[Mapping[str, Column]]

    def __init__(self, row: Any) -> None:
        self.row = row

    def attributes(self) -> dict[str, Any]:
        """All that the type's objects have."""
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        """Called for what is not there: before the first time, that is all."""
        if name.startswith("__") or "row" not in self.__dict__:
            raise AttributeError(name)
        attributes = self.attributes()
        self.__dict__ |= attributes
        if name not in attributes:
            raise AttributeError(name)
        return attributes[name]
