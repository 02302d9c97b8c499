"""Selection sets as Python functions.

`Compiler` makes of a selection set a function that takes an object and answers the dictionary of its plain fields, or
raises where anything is not as expected. Times in UTC stay what they are: whoever writes the answer writes them. Fields
that are read together for many objects, and objects with deferred fragments, are named to the lists that it takes as
well; all others that are not plain are holes, which the executor fills. Of an object over a row, columns are read
without its attributes.

The source is made of fixed text, of attribute names, and of response names as literals, each checked to be a name;
everything else is a global of the function.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any

from graphql import (
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLError,
    GraphQLField,
    GraphQLID,
    GraphQLInt,
    GraphQLLeafType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLString,
    Undefined,
    get_nullable_type,
    is_abstract_type,
    is_leaf_type,
    is_object_type,
)
from graphql.execution.collect_fields import CollectedFields, FieldDetailsList, GroupedFieldSet
from graphql.execution.incremental.build_execution_plan import build_execution_plan
from graphql.execution.values import VariableValues
from strawberry.types.cast import TYPE_CAST_ATTRIBUTE

from schema.arguments import Arguments
from schema.compiled import Given, Hole, Make, Part, Selection
from schema.deferral import Deferral, deferral
from schema.fields import NOT_READ, Show
from schema.plain_fields import KNOWN_CLASSES, Attribute, Known, Method, PlainFields, Ready, Together
from schema.rows import Column, Row
from schema.scalars import show_time
from schema.source import Source

Collect = Callable[[GraphQLObjectType, FieldDetailsList], CollectedFields]

_NAME = re.compile(r"[_A-Za-z][_0-9A-Za-z]*")
_LARGEST, _SMALLEST = 2**31 - 1, -(2**31)
_CONDITIONS = frozenset({"skip", "include", "defer"})
_EXACT = {GraphQLString: "str", GraphQLID: "str", GraphQLBoolean: "bool"}


class Compiler:
    """Compiles selection sets of one document, under one set of conditions.

    With `ready`, what may have been read along with an object is compiled as its attribute; without, it is a hole. So
    is, without `together`, what is read for many objects in one go. What is deferred in part is compiled only by one
    that `defers`; `at_once` is the same without that.
    """

    def __init__(
        self, fields: PlainFields, collect: Collect, *, ready: bool, together: bool, defers: bool = False
    ) -> None:
        self._fields = fields
        self._collect = collect
        self._ready = ready
        self._together = together
        self._defers = defers

    @cached_property
    def at_once(self) -> "Compiler":
        return self._other(together=self._together) if self._defers else self

    @cached_property
    def _one_by_one(self) -> "Compiler":
        return self._other(together=False)

    def _other(self, *, together: bool) -> "Compiler":
        return Compiler(self._fields, self._collect, ready=self._ready, together=together)

    def value(self, type_: GraphQLOutputType, details: FieldDetailsList) -> Make | None:
        """What completes a value of the type, if all fields below are plain."""
        source = Source()
        if is_strange(details) or not self._complete(source, type_, details, "v", "    ", "p"):
            return None
        return source.function(["    return v"])

    def of_type(self, type_: GraphQLObjectType, details: FieldDetailsList) -> Selection | None:
        """The selection on the type; None where graphql-core has to cut it up, or no class is known for the type."""
        if is_strange(details):
            return None
        try:
            collected = self._collect(type_, details)
        except GraphQLError:  # a condition that is null: graphql-core says so at the object whose field it is
            return None
        usages, grouped = collected.new_defer_usages, collected.grouped_field_set
        if not usages:
            return self.of_fields(type_, grouped)
        if not self._defers:
            return None
        at_once, later = build_execution_plan(grouped)
        return self.of_fields(type_, at_once, deferral(type_, usages, later, partial(self._fragment, type_)))

    def _fragment(self, type_: GraphQLObjectType, grouped: GroupedFieldSet) -> Make | None:
        selection = self.at_once.of_fields(type_, grouped)
        return None if selection is None or selection.holes else selection.make

    def of_fields(
        self, type_: GraphQLObjectType, grouped: GroupedFieldSet, deferral: Deferral | None = None
    ) -> Selection | None:
        classes = self._fields.classes(type_)
        if not classes or any(is_strange(details) for details in grouped.values()):
            return None
        if not all(map(_NAME.fullmatch, grouped)):
            return None
        selection = self._selection(type_, classes, grouped, deferral)
        if selection is None or not selection.holes:
            return selection
        if deferral is not None:
            return None
        one_by_one = selection.reads_together or selection.defers
        return self._one_by_one._selection(type_, classes, grouped) if one_by_one else selection

    def _selection(
        self,
        type_: GraphQLObjectType,
        classes: frozenset[type],
        grouped: GroupedFieldSet,
        deferral: Deferral | None = None,
    ) -> Selection | None:
        source = Source()
        row_class = self._fields.row_class(type_)
        if row_class is not None:
            of_rows = Source()
            of_rows.add("    r = v.row")
            last, _ = self._body(of_rows, type_, grouped, row_class, deferral)
            make = source.constant(of_rows.function(last))
            source.add(f"    if v.__class__ is {source.constant(row_class)}: return {make}(v, w, d, p)")
        source.add(f"    if v.__class__ not in {source.constant(classes)}: raise Unexpected")
        source.add(f"    if getattr(v, {TYPE_CAST_ATTRIBUTE!r}, None) is not None: raise Unexpected")
        last, holes = self._body(source, type_, grouped, None, deferral)
        if grouped and len(holes) == len(grouped) and not any(hole.method for hole in holes):
            return None
        return Selection(type_, source.function(last), tuple(holes), source.reads_together, source.defers)

    def _body(
        self,
        source: Source,
        type_: GraphQLObjectType,
        grouped: GroupedFieldSet,
        row_class: type[Row] | None,
        deferral: Deferral | None,
    ) -> tuple[list[str], list[Hole]]:
        """Write what reads the fields of `v`, of a row `r` if it has one. The last lines, and the holes."""
        entries, named, holes = [], [], []
        for number, (key, details) in enumerate(grouped.items()):
            entry = self._entry(source, type_, key, details, f"a{number}", row_class)
            entries.append(f"{key!r}: {entry}")
            if entry != "None":
                continue
            part = self._part(type_, key, details) if self._together else None
            if part is not None:
                source.reads_together = True
                if isinstance(part.arguments, Given):  # the wrong ones are refused before anything is waited for
                    named.append(f"    w.arguments[{source.constant(part.arguments)}]")
                named.append(f"    w.append(({source.constant(part)}, v, made))")
            else:
                holes.append(self._hole(type_, key, details))
        if deferral is not None and deferral.labels:
            source.defers = True
            named.append(f"    d.append(({source.constant(deferral)}, v, p))")
        return [f"    made = {{{', '.join(entries)}}}", *named, "    return made"], holes

    def _entry(
        self,
        source: Source,
        parent: GraphQLObjectType,
        key: str,
        details: FieldDetailsList,
        name: str,
        row_class: type[Row] | None,
    ) -> str:
        """The expression for a field's value; `None` for one that is to be filled in."""
        node = details[0].node
        if node.name.value == "__typename":
            return repr(parent.name)
        type_ = parent.fields[node.name.value].type
        how = self._fields.field(parent, node.name.value)
        show = how.show if isinstance(how, Attribute | Known) else None
        if isinstance(how, Attribute):
            column = row_class.columns.get(how.name) if row_class is not None else None
            if column is not None:
                return self._column(source, type_, details, name, column)
            read = [f"    {name} = v.{how.name}"]
        elif isinstance(how, Ready) and self._ready:
            read = [
                f"    {name} = v.{how.attribute}",
                f"    if {name} is {source.constant(NOT_READ)}: raise NotRead",
            ]
        elif isinstance(how, Method) and how.is_plain:
            read = [f"    {name} = {source.constant(how.call)}(v)"]
        elif (
            isinstance(how, Known) and self._ready and (given := _arguments(parent, how.arguments, details)) is not None
        ):
            constant = source.constant(given)
            arguments = (
                f", **w.arguments[{constant}]" if isinstance(given, Given) else f", **{constant}" if given else ""
            )
            read = [
                f"    {name} = {source.constant(how.call)}(v{arguments})",
                f"    if {name} is {source.constant(NOT_READ)}: raise NotRead",
            ]
        else:
            return "None"
        mark = source.mark()
        source.extend(read)
        path = f"p + {(key, parent.name)!r}"
        if self._complete(source, type_, details, name, "    ", path, show):
            return name
        source.undo(mark)
        return "None"

    def _column(
        self, source: Source, type_: GraphQLOutputType, details: FieldDetailsList, name: str, column: Column
    ) -> str:
        """Write what completes the value of a column."""
        if column.kind is not None:
            source.add(f'    {name} = f"{column.kind}:{{r[{column.place}]}}"')
            return name
        source.add(f"    {name} = r[{column.place}]")
        leaf: Any = get_nullable_type(type_)
        if isinstance(leaf, GraphQLEnumType):
            names = source.constant(self._fields.enum_names_by_value(leaf))
            if_there = "" if isinstance(type_, GraphQLNonNull) else f"if {name} is not None: "
            source.add(f"    {if_there}{name} = {names}[{name}]")
        else:
            self._complete(source, type_, details, name, "    ", "()")
        return name

    def _part(self, parent: GraphQLObjectType, key: str, details: FieldDetailsList) -> Part | None:
        """The field as one that is read together; None where it is not, or is not all plain below."""
        how = self._fields.field(parent, details[0].node.name.value)
        if not isinstance(how, Together) or not share_a_part(details):
            return None
        arguments = _arguments(parent, how.arguments, details)
        make = self.at_once.value(parent.fields[details[0].node.name.value].type, details)
        if arguments is None or make is None:
            return None
        return Part(key, parent, details, how.field, how.call, arguments, make)

    def _hole(self, parent: GraphQLObjectType, key: str, details: FieldDetailsList) -> Hole:
        how = self._fields.field(parent, details[0].node.name.value)
        if isinstance(how, Known | Together):
            how = how.method
        # The same nodes may be deferred at one place of a document and not at another.
        at_once = [each._replace(defer_usage=None) for each in details]
        return Hole(key, at_once, how if isinstance(how, Method) else None)

    def _complete(
        self,
        source: Source,
        type_: GraphQLOutputType,
        details: FieldDetailsList,
        name: str,
        indent: str,
        path: str,
        show: Show | None = None,
    ) -> bool:
        """Write what completes the variable in place, None included. False if it is not all plain.

        `path` is the expression for its place, which only what defers evaluates.
        """
        if isinstance(type_, GraphQLNonNull):
            return self._complete_present(source, type_.of_type, details, name, indent, path, show)
        source.add(f"{indent}if {name} is not None:")
        return self._complete_present(source, type_, details, name, indent + "    ", path, show)

    def _complete_present(
        self,
        source: Source,
        type_: Any,
        details: FieldDetailsList,
        name: str,
        indent: str,
        path: str,
        show: Show | None,
    ) -> bool:
        """The same where None is unexpected, which each of these finds by itself."""
        if isinstance(type_, GraphQLList):
            item, items = f"{name}_i", f"{name}_l"
            source.add(f"{indent}if {name}.__class__ is not list and {name}.__class__ is not tuple: raise Unexpected")
            source.add(f"{indent}{items} = []")
            head, before = source.mark(), source.defers
            source.add(f"{indent}for {item} in {name}:")
            source.defers = False
            of_item = f"{name}_p + ({name}_n, None)"
            whole = self._complete(source, type_.of_type, details, item, indent + "    ", of_item, show)
            if source.defers:
                source.insert(head, f"{indent}{name}_p, {name}_n = {path}, -1")
                source.insert(head + 2, f"{indent}    {name}_n += 1")
            source.defers = source.defers or before
            source.add(f"{indent}    {items}.append({item})")
            source.add(f"{indent}{name} = {items}")
            return whole
        if is_leaf_type(type_):
            source.extend(indent + line for line in self._leaf(source, type_, name, show))
            return True
        if not share_a_part(details):
            return False
        if is_object_type(type_):
            selection = self.of_type(type_, details)
            if selection is None or selection.holes:
                return False
            source.call(source.constant(selection.make), [selection], name, indent, path)
            return True
        return is_abstract_type(type_) and self._abstract(source, type_, details, name, indent, path)

    def _abstract(
        self, source: Source, type_: Any, details: FieldDetailsList, name: str, indent: str, path: str
    ) -> bool:
        selections = {}
        for class_, runtime_type in self._fields.runtime_types(type_).items():
            selection = self.of_type(runtime_type, details)
            if selection is None or selection.holes:
                return False
            selections[class_] = selection
        makes = source.constant({class_: selection.make for class_, selection in selections.items()})
        source.call(f"{makes}[{name}.__class__]", [*selections.values()], name, indent, path)
        return True

    def _leaf(self, source: Source, type_: GraphQLLeafType, name: str, show: Show | None) -> list[str]:
        """What serializes the leaf; each value that is not of the usual class is graphql-core's."""
        exact = next((found for scalar, found in _EXACT.items() if type_ is scalar), None)
        if exact is not None:
            return [f"if {name}.__class__ is not {exact}: raise Unexpected"]
        if type_ is GraphQLInt:
            bounds = f"{_SMALLEST} <= {name} <= {_LARGEST}"
            return [f"if {name}.__class__ is not int or not {bounds}: raise Unexpected"]
        names = self._fields.enum_names(type_) if isinstance(type_, GraphQLEnumType) else None
        if names is not None:
            return [f"{name} = {source.constant(names)}[id({name})]"]
        lines = [
            f"if {name}.__class__ not in {source.constant(KNOWN_CLASSES)}: raise Unexpected",
            f"{name} = {source.constant(show or type_.coerce_output_value)}({name})",
            f"if {name} is None or {name} is {source.constant(Undefined)}: raise Unexpected",
        ]
        if type_.coerce_output_value is not show_time:
            return lines
        # Whoever writes the answer writes times in UTC as the scalar does, and several times as fast.
        is_shown = f"{name}.__class__ is {source.constant(datetime)} and {name}.tzinfo is {source.constant(UTC)}"
        return [f"if not ({is_shown}):", *(f"    {line}" for line in lines)]


def _arguments(
    parent: GraphQLObjectType, names: Mapping[str, str], details: FieldDetailsList
) -> dict[str, Any] | Given | None:
    """The arguments of a field by their names in Python, if there can be no others than these; else None."""
    node = details[0].node
    field: GraphQLField = parent.fields[node.name.value]
    given_here = {each.name.value for each in node.arguments or ()}
    defaults = {name for name, each in field.args.items() if each.default or each.default_value is not Undefined}
    if (given_here | defaults) - names.keys():
        return None
    given = Given(Arguments(field, node), names)
    if given.arguments.take_variables:
        return given
    try:
        return given.under(VariableValues({}, {}))
    except GraphQLError:
        return None


def share_a_part(details: FieldDetailsList) -> bool:
    """Whether all mentions of a field are deferred together, or none is. What is below them comes together then."""
    first = details[0].defer_usage
    return all(each.defer_usage is first for each in details)


def is_strange(details: FieldDetailsList) -> bool:
    """Whether a field has what is not compiled: directives with a meaning of their own, arguments of fragments."""
    return any(
        each.fragment_variable_values is not None
        or any(directive.name.value not in _CONDITIONS for directive in each.node.directives or ())
        for each in details
    )
