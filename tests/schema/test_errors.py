from collections.abc import Iterator

from schema import errors as answers
from schema.enums import ErrorCode
from services import errors


def descendants(of: type[errors.UserError]) -> Iterator[type[errors.UserError]]:
    for child in of.__subclasses__():
        yield child
        yield from descendants(child)


def test_every_error_of_a_caller_has_a_type_or_is_named_as_a_top_level_one() -> None:
    raised = set(descendants(errors.UserError))

    assert set(answers.TYPES) | set(answers.TOP_LEVEL) == raised
    assert not set(answers.TYPES) & set(answers.TOP_LEVEL)


def test_every_type_of_error_stands_for_an_error() -> None:
    types = {answer for each in answers.TYPES.values() for answer in each}

    assert types == set(answers.UserError.__subclasses__())


def test_every_error_with_a_type_has_its_code_in_the_schema() -> None:
    assert {error.code for error in answers.TYPES} <= {code.value for code in ErrorCode}
