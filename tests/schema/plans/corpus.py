"""Every GraphQL document that stands in the repository: in the tests, and in what a reader or a client is shown."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from graphql import DocumentNode, GraphQLSchema, OperationDefinitionNode, parse, type_from_ast, validate

from tests.schema.plans.drawing import input_value

ROOT = Path(__file__).parents[3]
BLOCK = re.compile(r"```graphql\n(.*?)```", re.DOTALL)
SHOWN = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
OPERATIONS = sorted((ROOT / "web" / "src" / "operations").glob("*.graphql"))


def shown(schema: GraphQLSchema) -> list[DocumentNode]:
    """What README and docs show, and what the playground opens with."""
    texts = [text for path in SHOWN for text in BLOCK.findall(path.read_text())]
    texts += [path.read_text() for path in OPERATIONS]
    return [found for text in texts if (found := document(schema, text))]


def in_tests(schema: GraphQLSchema) -> list[DocumentNode]:
    """The texts of the tests that are documents of the schema."""
    texts: dict[str, None] = {}
    for path in sorted((ROOT / "tests").rglob("*.py")):
        texts |= dict.fromkeys(_texts(path))
    return [found for text in texts if (found := document(schema, text))]


def _texts(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "{" in node.value:
            yield node.value


def document(schema: GraphQLSchema, text: str) -> DocumentNode | None:
    """The document, if the text is a valid one."""
    try:
        found = parse(text)
    except Exception:
        return None
    return None if validate(schema, found) else found


def variables(schema: GraphQLSchema, document: DocumentNode) -> dict[str, Any]:
    """A value for each variable."""
    return {
        definition.variable.name.value: input_value(type_from_ast(schema, definition.type))
        for operation in document.definitions
        if isinstance(operation, OperationDefinitionNode)
        for definition in operation.variable_definitions or ()
    }
