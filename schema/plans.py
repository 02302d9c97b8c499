"""The compiled selection sets of a document."""

from typing import Any

from graphql import DirectiveNode, DocumentNode, VariableNode, Visitor, visit

from schema.compiled import Make, Selection
from schema.only_field import OnlyField
from schema.plain_fields import PlainFields

MOST_CONDITIONS = 16
"""For how many values of the variables in its directives a document is compiled; all over again for one more."""
MOST_PLANS = 1_000
"""How many plans there are for one of them."""
_ABSENT = "absent"

Plan = Selection | Make
Key = tuple[Any, ...]


class Known(dict[Key, Plan | None]):
    """The plans under one set of conditions. `only` are the only fields of the document's operations, by these."""

    def __init__(self) -> None:
        super().__init__()
        self.only: dict[int, OnlyField | None] = {}


class Plans:
    """The compiled selection sets of one document. They are found by the identity of its nodes, so they live with it.

    `used` and `abandoned` count the values that were completed, and those that were left to graphql-core.
    """

    def __init__(self, fields: PlainFields, document: DocumentNode) -> None:
        self.fields = fields
        self.used = 0
        self.abandoned = 0
        self._document = document
        finder = _ConditionFinder()
        visit(document, finder)
        self._names = tuple(sorted(finder.names))
        self._plans: dict[Key, Known] = {}

    def under(self, variables: dict[str, Any], *, ready: bool, together: bool) -> Known:
        """The plans for these values of the variables that decide what is selected.

        `ready` tells those apart that take what may have been read along with an object for read, and `together` those
        that read fields of many objects in one go.
        """
        key = (ready, together, *[_condition(variables.get(name, _ABSENT)) for name in self._names])
        found = self._plans.get(key)
        if found is None:
            if len(self._plans) >= MOST_CONDITIONS:
                self._plans.clear()
            found = self._plans[key] = Known()
        return found


def _condition(value: Any) -> Any:
    """What tells conditions apart: null, which is refused, from a variable that is left out, which is not. One that is
    no condition in this operation may be one in another of the document; it may be of any type here."""
    return value if value is None or value.__class__ is bool else _ABSENT


class _ConditionFinder(Visitor):
    """The variables in conditions of directives."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def enter_directive(self, node: DirectiveNode, *_: Any) -> None:
        values = (argument.value for argument in node.arguments or () if argument.name.value == "if")
        self.names.update(value.name.value for value in values if isinstance(value, VariableNode))
