"""GraphQL documents: parsed, measured, validated, and kept.

One cache holds a document with what validation said of it, under its text. Clients send the same few documents
again and again, and parsing and validating cost ten times what a small query costs to run.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import strawberry
from graphql import (
    REMOVE,
    ASTValidationRule,
    DirectiveNode,
    DocumentNode,
    ExecutableDefinitionsRule,
    GraphQLError,
    GraphQLSyntaxError,
    KnownFragmentNamesRule,
    LoneAnonymousOperationRule,
    NoFragmentCyclesRule,
    NoUndefinedVariablesRule,
    NoUnusedFragmentsRule,
    NoUnusedVariablesRule,
    OperationDefinitionNode,
    OperationType,
    StringValueNode,
    UniqueArgumentNamesRule,
    UniqueFragmentNamesRule,
    UniqueInputFieldNamesRule,
    UniqueOperationNamesRule,
    UniqueVariableNamesRule,
    Visitor,
    parse,
    specified_rules,
    validate,
    visit,
)
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule

from nextfire.transport.masking import (
    BAD_USER_INPUT,
    PARSE_FAILED,
    VALIDATION_FAILED,
    JsonError,
    request_errors,
    veiled_error,
)
from nextfire.transport.refusal import Misfit, Refusal, Refused
from schema.limits import TOO_COMPLEX, Limits, Meter, OperationCost
from schema.one_of import OneOfRule
from schema.plain_fields import PlainFields
from schema.plans import Plans
from schema.program import Program

_ESCAPED_NUL = re.compile(r"\\u(?:0000|\{0+\})")
_TOO_MANY_TOKENS = re.compile(r"contains more than \d+ tokens")


# graphql-core calls a rule with a context only, whatever its class says.
_RULES: tuple[type[ASTValidationRule], ...] = (*specified_rules, MaybeNullValidationRule, OneOfRule)

_RULES_OF_THE_TEXT: tuple[type[ASTValidationRule], ...] = (
    ExecutableDefinitionsRule,
    UniqueOperationNamesRule,
    LoneAnonymousOperationRule,
    UniqueFragmentNamesRule,
    KnownFragmentNamesRule,
    NoUnusedFragmentsRule,
    NoFragmentCyclesRule,
    UniqueVariableNamesRule,
    NoUndefinedVariablesRule,
    NoUnusedVariablesRule,
    UniqueArgumentNamesRule,
    UniqueInputFieldNamesRule,
)
"""Those that look at the document alone, and so tell nothing of the schema."""


@dataclass(frozen=True)
class Operation:
    """One valid operation. `at_once` runs it with nothing deferred."""

    document: DocumentNode
    program: Program
    at_once: Program
    cost: OperationCost
    introspects: bool

    @property
    def name(self) -> str | None:
        name = self.program.operation.name
        return name.value if name else None

    @cached_property
    def kind(self) -> OperationType:
        return self.program.operation.operation

    @cached_property
    def subscribes(self) -> bool:
        return self.kind is OperationType.SUBSCRIPTION

    @cached_property
    def defers(self) -> bool:
        return self.at_once is not self.program and not self.subscribes


class Documents:
    """The documents that a schema was asked to run, most recent first, at most `size` of them."""

    def __init__(self, schema: strawberry.Schema, limits: Limits, size: int = 128) -> None:
        self._schema = schema._schema
        self._fields = PlainFields(schema)
        self._limits = limits
        self._prepare = lru_cache(maxsize=size)(self._prepare_anew)

    def operation(self, source: str, name: str | None) -> Operation:
        """The operation of that name, or the only one. Refused with what is wrong with the document."""
        prepared = self.operations(source)
        if name is None:
            if len(prepared) != 1:
                raise _unknown_operation("The document holds several operations: say which by 'operationName'.")
            return prepared[0]
        for operation in prepared:
            if operation.name == name:
                return operation
        raise _unknown_operation("The document holds no operation of the name in 'operationName'.")

    def operations(self, source: str) -> Sequence[Operation]:
        """All operations of a document. Refused with what is wrong with it."""
        prepared = self._prepare(source)
        if isinstance(prepared, Refused):
            raise prepared.again()
        return prepared

    def _prepare_anew(self, source: str) -> Sequence[Operation] | Refused:
        try:
            document = parse(source, max_tokens=self._limits.max_tokens)
        except GraphQLSyntaxError as error:
            too_long = _TOO_MANY_TOKENS.search(error.message)
            return Refused(400, request_errors([error], TOO_COMPLEX if too_long else PARSE_FAILED))
        if _ESCAPED_NUL.search(source) and _holds_nul(document):
            return Refusal(400, BAD_USER_INPUT, "The document holds a NUL character (U+0000) in a string.")
        meter = Meter(self._schema, document, self._limits)
        if errors := meter.errors():
            return Refused(422, request_errors(errors, TOO_COMPLEX))
        if errors := self._validate(document, _RULES):
            return Misfit(request_errors(errors, VALIDATION_FAILED), self._veiled(document, errors))
        # @stream is not offered: clients that know @defer break on it.
        document = _without(document, "stream")
        programs = self._programs(document)
        plain = _without(document, "defer")
        at_once = programs if plain is document else self._programs(plain)
        return [
            Operation(document, program, plain_program, *measured)
            for program, plain_program, measured in zip(programs, at_once, meter.measured(), strict=True)
        ]

    def _programs(self, document: DocumentNode) -> list[Program]:
        plans = Plans(self._fields, document)
        operations = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
        return [Program(self._schema, plans, document, each) for each in operations]

    def _validate(self, document: DocumentNode, rules: Collection[type[ASTValidationRule]]) -> list[GraphQLError]:
        return validate(self._schema, document, rules, max_errors=self._limits.max_errors, hide_suggestions=True)

    def _veiled(self, document: DocumentNode, errors: list[GraphQLError]) -> list[JsonError]:
        """All that is wrong with the text, and the first place that does not fit the schema: with several, one document
        would test several guesses."""
        of_the_text = self._validate(document, _RULES_OF_THE_TEXT)
        of_the_schema = [each for each in errors if each not in of_the_text]
        first = [veiled_error(each, VALIDATION_FAILED) for each in of_the_schema[:1]]
        return [*request_errors(of_the_text, VALIDATION_FAILED), *first]


def _unknown_operation(message: str) -> Refused:
    return Refused(422, request_errors([GraphQLError(message)], BAD_USER_INPUT))


class _NulFinder(Visitor):
    found = False

    def enter_string_value(self, node: StringValueNode, *_: Any) -> None:
        self.found = self.found or "\0" in node.value


def _holds_nul(document: DocumentNode) -> bool:
    finder = _NulFinder()
    visit(document, finder)
    return finder.found


class _Remover(Visitor):
    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self.removed = False

    def enter_directive(self, node: DirectiveNode, *_: Any) -> Any:
        if node.name.value != self._name:
            return None
        self.removed = True
        return REMOVE


def _without(document: DocumentNode, directive: str) -> DocumentNode:
    """The document as if each use of the directive had `if: false`; the same object if there is none."""
    remover = _Remover(directive)
    without = visit(document, remover)
    return without if remover.removed else document
