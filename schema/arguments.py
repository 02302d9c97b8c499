"""The arguments of a field, worked out once for a document but for the values of variables."""

from collections.abc import Iterator
from typing import Any

from graphql import FieldNode, GraphQLError, GraphQLField, VariableNode, Visitor, visit
from graphql.execution.values import VariableValues, get_argument_values


class Mark:
    """Stands where the value of a variable goes."""

    def __init__(self, name: str) -> None:
        self.name = name


class Arguments:
    """What a node of a valid document gives to its field.

    graphql-core is asked once, with a mark for the value of each variable. Where the marks come out is where values go
    that are there and not null; for all others it is asked each time.
    """

    def __init__(self, field: GraphQLField, node: FieldNode) -> None:
        self._field = field
        self._node = node
        finder = _VariableFinder()
        for argument in node.arguments or ():
            visit(argument, finder)
        self._names = finder.names
        self._form = self._with_marks()

    @property
    def take_variables(self) -> bool:
        """Whether one operation after the other knows what they are."""
        return bool(self._names)

    def of(self, values: VariableValues) -> dict[str, Any]:
        """The arguments by their names. Raises `GraphQLError` where the field cannot take them."""
        form, coerced = self._form, values.coerced
        for name in self._names:
            if coerced.get(name) is None:
                form = None
        if form is None:
            return get_argument_values(self._field, self._node, values, hide_suggestions=True)
        return {name: _filled(each, coerced) for name, each in form.items()}

    def _with_marks(self) -> dict[str, Any] | None:
        """None where marks are lost on the way, as in a scalar that looks at what it is made of."""
        marks = VariableValues({}, {name: Mark(name) for name in self._names})
        try:
            form = get_argument_values(self._field, self._node, marks, hide_suggestions=True)
        except (GraphQLError, TypeError, KeyError, AttributeError):
            return None
        return form if {*_names(form)} == self._names else None


def _filled(form: Any, values: dict[str, Any]) -> Any:
    """The form with values for its marks; lists and objects are new each time."""
    if form.__class__ is Mark:
        return values[form.name]
    if form.__class__ is dict:
        return {name: _filled(each, values) for name, each in form.items()}
    if form.__class__ is list:
        return [_filled(each, values) for each in form]
    return form


def _names(form: Any) -> Iterator[str]:
    if isinstance(form, Mark):
        yield form.name
    elif isinstance(form, dict | list):
        for each in form.values() if isinstance(form, dict) else form:
            yield from _names(each)


class _VariableFinder(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def enter_variable(self, node: VariableNode, *_: Any) -> None:
        self.names.add(node.name.value)
