"""What a client may see of an error."""

import re
from typing import Any

import pytest
from structlog.typing import EventDict

from tests.nextfire.transport.conftest import Served
from tests.nextfire.transport.toy import SECRET

V = "Variable '$v' has invalid value: "
EVEN = "query($v: Even!) { even(value: $v) }"
CHOSEN = "query($v: Choice!) { chosen(choice: $v) }"
PATCHED = "query($v: Patch!) { patched(patch: $v) }"
LEAVES = "query($v: Int!) { leaves(count: $v) { name } }"
ONE_KEY = "OneOf Input Object 'Choice' must specify exactly one key."
# Python's names for types and values, its exceptions, and what they say.
PYTHONIC = re.compile(
    r"None|True|False|Maybe\[|Error|Exception|object of type|has no len|<class|__|\bdict\b|\bint\b|hunter2|UNSET"
)


async def test_an_unknown_exception_is_masked_and_logged_once(served: Served, logged: list[EventDict]) -> None:
    # when
    response = await served.post({"query": "{ hello broken }"}, x_request_id="mine")

    # then
    assert response.json() == {
        "data": {"hello": "hello world", "broken": None},
        "errors": [
            {
                "message": "Internal error",
                "locations": [{"line": 1, "column": 9}],
                "path": ["broken"],
                "extensions": {"code": "INTERNAL", "requestId": "mine"},
            }
        ],
    }
    (entry,) = logged
    assert str(entry.pop("exc_info")) == SECRET
    assert entry == {
        "event": "an error was masked",
        "log_level": "error",
        "action": "graphql.execute",
        "request_id": "mine",
        "path": ["broken"],
    }


@pytest.mark.parametrize("query", ["{ notNull }", "{ unwritable }"])
async def test_a_result_that_breaks_the_schema_is_masked(served: Served, logged: list[EventDict], query: str) -> None:
    # when
    response = await served.post({"query": query})

    # then
    (error,) = response.json()["errors"]
    assert (error["message"], error["extensions"]["code"]) == ("Internal error", "INTERNAL")
    assert len(logged) == 1


async def test_our_own_errors_show_their_message_and_code(served: Served, logged: list[EventDict]) -> None:
    # when
    response = await served.post({"query": "{ invalid unavailable }"})

    # then
    invalid, unavailable = response.json()["errors"]
    assert invalid["extensions"] == {
        "code": "INVALID_INPUT",
        "issues": [
            {"path": ["input", "name"], "message": "is blank"},
            {"path": ["input", "cron"], "message": "is no cron"},
        ],
    }
    assert unavailable["message"] == "The database did not answer; nothing was changed. Try again shortly."
    assert unavailable["extensions"] == {"code": "UNAVAILABLE"}
    assert logged == []


@pytest.mark.parametrize(("who", "status", "code"), [("nobody", 401, "UNAUTHENTICATED"), ("crash", 500, "INTERNAL")])
@pytest.mark.parametrize("accept", ["application/json", "application/graphql-response+json", "text/event-stream"])
async def test_a_context_that_fails_ends_the_request(
    served: Served, who: str, status: int, code: str, accept: str
) -> None:
    # when
    response = await served.post({"query": "{ hello }"}, authorization=who, accept=accept)

    # then
    assert response.status_code == status
    assert response.json()["errors"][0]["extensions"]["code"] == code
    assert "hunter2" not in response.text


@pytest.mark.parametrize(
    ("query", "variables", "message"),
    [
        (EVEN, {"v": 5}, V + "Expected value of type 'Even'."),
        (EVEN, {"v": "abc"}, V + "Expected value of type 'Even'."),
        (EVEN, {"v": None}, V + "Expected value of non-null type 'Even!' not to be null."),
        (EVEN, {}, V + "Expected a value of non-null type 'Even!' to be provided."),
        ("{ even(value: 5) }", None, "Expected value of type 'Even'."),
        ('{ even(value: "abc") }', None, "Expected value of type 'Even'."),
        ("query($v: Clean!) { clean(value: $v) }", {"v": "x"}, V + "This is not clean."),
        ('{ clean(value: "x") }', None, "This is not clean."),
        ("query($v: String!) { hello(name: $v) }", {"v": 5}, V + "String cannot represent a non string value."),
        ("{ hello(name: 5) }", None, "String cannot represent a non string value."),
        (LEAVES, {"v": 10**12}, V + "Int cannot represent non 32-bit signed integer value."),
        (PATCHED, {"v": {"size": None, "x": True}}, None),
        (PATCHED, {"v": [True]}, V + "Expected value of type 'Patch' to be an object."),
        (PATCHED, {"v": {"note": None}}, "A field that may be left out cannot be null: leave it out instead."),
        ("{ patched(patch: {note: null}) }", None, "'note' cannot be null: leave it out instead."),
        (CHOSEN, {"v": {}}, ONE_KEY),
        (CHOSEN, {"v": {"left": None}}, "Value for member field 'left' must be non-null"),
        ("{ chosen(choice: {left: 1, right: 2}) }", None, ONE_KEY),
        ("{ leaf }", None, "Field 'leaf' of type 'Leaf!' must have a selection of subfields."),
        ("{ painted(colour: REDD) }", None, "Value 'REDD' does not exist in 'Colour' enum."),
        ("query($v: Colour!) { painted(colour: $v) }", {"v": "REDD"}, None),
        ("{ patched(patch: {sise: 1}) }", None, None),
        (PATCHED, {"v": {"sise": 1}}, None),
        ("{ hello @skipp(if: true) }", None, "Unknown directive '@skipp'."),
        ("{ hello @skip(iff: true) }", None, "Unknown argument 'iff' on directive '@skip'."),
        ("{ ... on Quer { hello } }", None, "Unknown type 'Quer'."),
        ("{ hallo }", None, "Cannot query field 'hallo' on type 'Query'."),
        ("{ hello(nome: 1) }", None, "Unknown argument 'nome' on field 'Query.hello'."),
        ("query($v: Strin) { hello(name: $v) }", {}, "Unknown type 'Strin'."),
        ("{", None, "Syntax Error: Expected Name, found <EOF>."),
    ],
)  # fmt: skip
async def test_messages_hold_no_python_and_no_suggestions(
    served: Served, logged: list[EventDict], query: str, variables: Any, message: str | None
) -> None:
    # when
    response = await served.post({"query": query, "variables": variables})

    # then
    messages = [error["message"] for error in response.json()["errors"]]
    assert messages[0] == message or message is None
    assert not [text for text in messages if PYTHONIC.search(text) and "Syntax Error" not in text]
    assert "Did you mean" not in response.text
    assert logged == []


async def test_a_variable_of_a_one_of_in_a_fragment_before_the_operation(served: Served) -> None:
    # given: Strawberry's own rule raises AttributeError for this
    query = "fragment F on Query { chosen(choice: {left: $l}) } query($l: Int) { ...F }"

    # when
    right = await served.post({"query": query, "variables": {"l": 1}})
    wrong = await served.post({"query": query, "variables": {"l": None}})

    # then
    assert "errors" not in right.json()
    assert wrong.json()["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


MASKED_OVER_HTTP = [
    ("{ broken }", "application/json"),
    ("{ broken }", "application/graphql-response+json"),
    ("{ broken }", "text/event-stream"),
    # in a deferred part: a field that is null for it, and a part that is for it
    ("{ leaf { name ... @defer { broken } } }", "multipart/mixed"),
    ("{ leaf { name ... @defer { broken } } }", "text/event-stream"),
    ("{ leaf { name ... @defer { brokenHard } } }", "multipart/mixed"),
    ("{ leaf { name ... @defer { brokenHard } } }", "text/event-stream"),
    ("{ leaf { name ... @defer { slow leaf { ... @defer { broken } } } } }", "multipart/mixed"),
    # the source of a subscription, and a field of its event
    ("subscription { broken }", "text/event-stream"),
    ("subscription { leaves { broken } }", "text/event-stream"),
    ("subscription { leaves { brokenHard } }", "text/event-stream"),
]


@pytest.mark.parametrize(("query", "accept"), MASKED_OVER_HTTP)
async def test_a_masked_error_names_the_request_over_http(
    served: Served, logged: list[EventDict], query: str, accept: str
) -> None:
    # when
    response = await served.post({"query": query}, accept=accept, x_request_id="request-of-mine")

    # then
    masked = response.text.count('"code":"INTERNAL"')
    assert masked >= 1
    assert response.text.count('"requestId":"request-of-mine"') == response.text.count("Internal error") == masked
    assert "hunter2" not in response.text
    assert [entry["request_id"] for entry in logged] == ["request-of-mine"] * masked


@pytest.mark.parametrize("query", list(dict.fromkeys(query for query, _ in MASKED_OVER_HTTP)))
async def test_a_masked_error_names_the_request_on_a_socket(
    served: Served, logged: list[EventDict], query: str
) -> None:
    async with served.socket() as socket:
        # given the request that the socket began with
        handshake = socket.connection.response
        assert handshake is not None
        named = handshake.headers["x-request-id"]

        # when
        await socket.subscribe(query)
        heard = [await socket.hear()]
        while heard[-1]["type"] == "next":
            heard.append(await socket.hear())

        # then
        masked = str(heard).count("'code': 'INTERNAL'")
        assert masked >= 1
        assert str(heard).count(f"'requestId': '{named}'") == str(heard).count("Internal error") == masked
        assert "hunter2" not in str(heard)
        assert [entry["request_id"] for entry in logged] == [named] * masked


async def test_at_most_five_errors_are_told(served: Served) -> None:
    # when
    invalid = await served.post({"query": "{ " + " ".join(f"nope{n}" for n in range(50)) + " }"})
    wrong = await served.post({"query": PATCHED, "variables": {"v": {f"x{n}": n for n in range(50)}}})

    # then: five, and that there are more
    assert len(invalid.json()["errors"]) == 6
    assert len(wrong.json()["errors"]) == 6


async def test_a_number_beyond_64_bits_is_written(served: Served) -> None:
    assert (await served.post({"query": "{ big }"})).json() == {"data": {"big": {"number": 2**70}}}
