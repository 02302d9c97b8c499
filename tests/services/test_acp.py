"""The wire client, against an agent that is a real server and breaks in every way that a network can."""

import asyncio
import contextlib
import json
import logging
import signal
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from nextfire import demo_agents
from nextfire.processes import Child, accepts, free_port, running
from services import acp
from services.acp import (
    Accepted,
    AcpAgent,
    AcpAuthor,
    AcpClient,
    AcpContent,
    AcpEvent,
    AcpTask,
    Healthy,
    Outcome,
    Protocol,
    Refused,
    Reply,
    Retry,
    Timeouts,
    Unhealthy,
    Unknown,
)
from services.acp_answers import MAX_LINE_BYTES, MAX_REPLY_BYTES, Lines, ReplyStream, TooLargeError
from services.acp_outcomes import MAX_MESSAGE, of_error, of_status, storable
from services.dialing import Dialer
from services.outbound import OutboundRules
from tests.agents import scripted
from tests.agents.scripted import Answer, ScriptedAgent, delta, done, full, start

CREATED = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
NOW = datetime(2026, 1, 2, 3, 4, 0, tzinfo=UTC)
KEY = "5f0c7a70-9f4b-5a0e-8d0e-000000000001"
AGENT = AcpAgent(UUID(int=1), "echo", "demo", Protocol.ASYNC, "http://127.0.0.1:9", CREATED, CREATED)
TASK = AcpTask(UUID(int=2), "scheduled-run:S:F", CREATED, CREATED, {"model": "m"}, {"trigger_type": "scheduled"})
CONTENT = AcpContent(AcpAuthor.USER, "hello ✓")
EVENT = AcpEvent(UUID(int=3), 7, CREATED, CONTENT)

CREATE = acp.task_create_body(AGENT, TASK, KEY)
SEND_EVENT = acp.event_send_body(AGENT, TASK, EVENT, KEY)
SEND_MESSAGE = acp.message_send_body(AGENT, TASK, CONTENT, KEY)
CANCEL = acp.task_cancel_body(AGENT, TASK, KEY)

# Long enough that a busy machine has connected and written by then: only what comes after is to time out.
SHORT = Timeouts(
    connect=timedelta(seconds=5),
    call=timedelta(seconds=1),
    idle=timedelta(seconds=1),
    health=timedelta(seconds=1),
)


@pytest.fixture
async def agent() -> AsyncIterator[ScriptedAgent]:
    async with ScriptedAgent() as agent:
        yield agent


@pytest.fixture(scope="module")
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with acp.http_client(Dialer(OutboundRules(private_networks=True))) as http:
        yield http


@pytest.fixture
def client(http: httpx.AsyncClient) -> AcpClient:
    return AcpClient(http, now=lambda: NOW)


async def send(client: AcpClient, url: str, body: bytes, api_key: str | None = None) -> Outcome:
    return await client.send(url, body, request_id="attempt-1", idempotency_key=KEY, api_key=api_key)


def reply(text: str, index: int = 0) -> Reply:
    return Reply(index, AcpAuthor.AGENT, "text", text)


class TestBodies:
    def test_every_body_is_the_contract_to_the_letter(self) -> None:
        agent = {
            "id": str(UUID(int=1)),
            "name": "echo",
            "description": "demo",
            "acp_type": "async",
            "status": "Ready",
            "acp_url": "http://127.0.0.1:9",
            "created_at": "2026-01-02T03:04:05.678901Z",
            "updated_at": "2026-01-02T03:04:05.678901Z",
        }
        task = {
            "id": str(UUID(int=2)),
            "name": "scheduled-run:S:F",
            "status": "RUNNING",
            "created_at": "2026-01-02T03:04:05.678901Z",
            "updated_at": "2026-01-02T03:04:05.678901Z",
            "params": {"model": "m"},
            "task_metadata": {"trigger_type": "scheduled"},
        }
        content = {
            "type": "text",
            "author": "user",
            "style": "static",
            "format": "plain",
            "content": "hello ✓",
            "attachments": None,
        }
        event = {
            "id": str(UUID(int=3)),
            "sequence_id": 7,
            "task_id": str(UUID(int=2)),
            "agent_id": str(UUID(int=1)),
            "created_at": "2026-01-02T03:04:05.678901Z",
            "content": content,
        }
        expected: dict[bytes, tuple[str, dict[str, object]]] = {
            CREATE: ("task/create", {"params": {"model": "m"}}),
            SEND_EVENT: ("event/send", {"event": event, "request": None}),
            SEND_MESSAGE: ("message/send", {"content": content, "stream": True}),
            CANCEL: ("task/cancel", {}),
        }
        for body, (method, params) in expected.items():
            assert json.loads(body) == {
                "jsonrpc": "2.0",
                "method": method,
                "id": f"{method}:{KEY}",
                "params": {"agent": agent, "task": task, "idempotency_key": KEY, **params},
            }

    def test_the_bytes_depend_on_the_values_alone(self) -> None:
        # given the same moment in another zone, and the same params in another order
        there = timezone(timedelta(hours=5))
        agent = AcpAgent(
            AGENT.id, "echo", "demo", Protocol.ASYNC, AGENT.url, CREATED.astimezone(there), CREATED.astimezone(there)
        )
        one = AcpTask(TASK.id, TASK.name, CREATED, CREATED, {"a": 1, "b": 2}, None)
        other = AcpTask(TASK.id, TASK.name, CREATED, CREATED, {"b": 2, "a": 1}, None)

        # when both are built
        bodies = {acp.task_create_body(AGENT, one, KEY), acp.task_create_body(agent, other, KEY)}

        # then they are the same bytes
        assert len(bodies) == 1

    def test_null_params_stay_null(self) -> None:
        task = AcpTask(TASK.id, TASK.name, CREATED, CREATED, None, None)
        params = json.loads(acp.task_create_body(AGENT, task, KEY))["params"]
        assert (params["params"], params["task"]["params"], params["task"]["task_metadata"]) == (None, None, None)

    @pytest.mark.parametrize("key", ["", "two words", "schlüssel", "line\nbreak", "x" * 513])
    def test_a_key_that_no_header_can_carry_is_refused_before_it_is_frozen(self, key: str) -> None:
        with pytest.raises(ValueError, match="idempotency key"):
            acp.task_cancel_body(AGENT, TASK, key)

    def test_a_time_without_a_zone_is_refused(self) -> None:
        task = AcpTask(TASK.id, TASK.name, datetime(2026, 1, 2), CREATED, None, None)  # noqa: DTZ001
        with pytest.raises(ValueError, match="zone"):
            acp.task_create_body(AGENT, task, KEY)


class TestRequest:
    @pytest.mark.parametrize("body", [CREATE, SEND_EVENT, SEND_MESSAGE, CANCEL])
    async def test_the_frozen_bytes_and_the_headers_arrive(
        self, agent: ScriptedAgent, client: AcpClient, body: bytes
    ) -> None:
        # when one body is sent twice, as two attempts
        for attempt in ("attempt-1", "attempt-2"):
            outcome = await client.send(
                agent.url,
                body,
                request_id=attempt,
                idempotency_key=KEY,
                api_key="secret-key",
                trace_headers={"Traceparent": "00-1-2-01", "baggage": "bad\nvalue", "authorization": "no"},
            )
            assert isinstance(outcome, Accepted)

        # then the bytes and the key are the same, the request ids are not, and the work was done once
        assert [received.body for received in agent.requests] == [body, body]
        assert [received.request_id for received in agent.requests] == ["attempt-1", "attempt-2"]
        assert [received.path for received in agent.requests] == ["/api", "/api"]
        assert agent.effects == [(agent.requests[0].method, KEY)]
        assert {name: agent.requests[0].headers[name] for name in agent.requests[0].headers} == {
            "host": f"127.0.0.1:{agent.port}",
            "user-agent": "nextfire",
            "accept": "application/json, application/x-ndjson",
            "accept-encoding": "identity",
            "connection": "close",
            "content-type": "application/json",
            "content-length": str(len(body)),
            "traceparent": "00-1-2-01",
            "x-request-id": "attempt-1",
            "x-idempotency-key": KEY,
            "x-agent-api-key": "secret-key",
        }

    @pytest.mark.parametrize(
        ("suffix", "path"), [("", "/api"), ("/", "/api"), ("/a/b", "/a/b/api"), ("/a%2Fb//", "/a%2Fb/api")]
    )
    async def test_the_url_may_have_a_path_and_a_slash(
        self, agent: ScriptedAgent, client: AcpClient, suffix: str, path: str
    ) -> None:
        assert await send(client, agent.url + suffix, CREATE) == Accepted()
        assert agent.requests[0].path == path

    async def test_cookies_of_one_agent_reach_no_other(self, agent: ScriptedAgent, client: AcpClient) -> None:
        # given an agent that sets a cookie
        agent.script(scripted.result(None).but(headers=(("set-cookie", "session=1; Path=/"),)))
        await send(client, agent.url, CREATE)

        # when another agent of that host is called
        async with ScriptedAgent() as other:
            await send(client, other.url, CREATE)

            # then it gets no cookie
            assert "cookie" not in other.requests[0].headers

    @pytest.mark.parametrize("api_key", ["line\nbreak", "schlüssel", " blank "])
    async def test_an_unwritable_api_key_is_refused_and_not_repeated(
        self, agent: ScriptedAgent, client: AcpClient, api_key: str
    ) -> None:
        outcome = await send(client, agent.url, CREATE, api_key=api_key)
        assert isinstance(outcome, Refused)
        assert outcome.code == "BAD_HEADER"
        assert api_key not in repr(outcome)
        assert agent.requests == []

    @pytest.mark.parametrize(
        "url",
        ["", "ftp://x", "http:///x", "http://x:99999", "http://[::1", "http://a\nb", "http://x?y", "http://\udc00"],
    )
    async def test_an_unusable_url_is_refused(self, client: AcpClient, url: str) -> None:
        outcome = await send(client, url, CREATE)
        assert isinstance(outcome, Refused)
        assert outcome.code == "BAD_URL"

    async def test_nothing_of_the_request_is_logged(
        self, agent: ScriptedAgent, client: AcpClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.DEBUG):
            await send(client, agent.url, SEND_EVENT, api_key="secret-key")
        assert len(agent.requests) == 1
        assert "secret-key" not in caplog.text
        assert "hello" not in caplog.text


class TestAnswersOfACall:
    @pytest.mark.parametrize(
        ("answer", "outcome"),
        [
            (scripted.result({"status": "processing"}), Accepted()),
            (scripted.result(None), Accepted()),
            (scripted.result([1]).but(status=202), Accepted()),
            (scripted.error(-32603, "it broke"), Refused("RPC_-32603", "it broke")),
            (scripted.error(-32601, "Unauthorized"), Refused("RPC_-32601", "Unauthorized")),
            (
                Answer(body=b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"parse"}}'),
                Refused("RPC_-32700", "parse"),
            ),
            (
                Answer(body=scripted.line(None, {"code": "x"})),
                Refused("RPC_ERROR", "The agent answered an error without a message."),
            ),
            (Answer(body=scripted.line(None, "just text")), Refused("RPC_ERROR", "just text")),
            (
                Answer(body=b'{"jsonrpc":"2.0","id":"another","result":null}'),
                Refused("WRONG_ID", "The agent answered with the id of another request."),
            ),
            (
                Answer(body=b"[]"),
                Refused("MALFORMED", "The agent answered JSON that is not a JSON-RPC response."),
            ),
            (
                Answer(body=lambda received: json.dumps({"id": received.request["id"]}).encode()),
                Refused("MALFORMED", "The agent answered neither a result nor an error."),
            ),
            (
                scripted.result(None).but(headers=(("content-encoding", "gzip"),)),
                Refused("ENCODED", "The agent compressed its answer although it was asked not to."),
            ),
            (
                Answer(body=b"0" * (MAX_LINE_BYTES + 1)),
                Refused("TOO_LARGE", "The agent's answer is larger than is kept of one."),
            ),
        ],
    )
    async def test_a_whole_answer(
        self, agent: ScriptedAgent, client: AcpClient, answer: Answer, outcome: Outcome
    ) -> None:
        agent.script(answer)
        assert await send(client, agent.url, SEND_EVENT) == outcome

    @pytest.mark.parametrize("body", [b"", b"<html>", b'{"jsonrpc":"2.0"', b"\xff", b"NaN", b"[" * 100_000])
    async def test_what_is_not_json_may_have_been_cut_off(
        self, agent: ScriptedAgent, client: AcpClient, body: bytes
    ) -> None:
        agent.script(Answer(body=body))
        assert await send(client, agent.url, SEND_EVENT) == Unknown(
            "NOT_JSON", "The agent answered something that is not JSON, or it was cut off."
        )

    @pytest.mark.parametrize(
        ("status", "outcome"),
        [
            (301, "Refused"),
            (304, "Refused"),
            (307, "Refused"),
            (400, "Refused"),
            (401, "Refused"),
            (403, "Refused"),
            (404, "Refused"),
            (405, "Refused"),
            (408, "Retry"),
            (409, "Refused"),
            (413, "Refused"),
            (422, "Refused"),
            (425, "Retry"),
            (429, "Retry"),
            (500, "Retry"),
            (501, "Retry"),
            (502, "Unknown"),
            (503, "Retry"),
            (504, "Unknown"),
            (507, "Retry"),
        ],
    )
    @pytest.mark.parametrize("body", [SEND_EVENT, SEND_MESSAGE])
    async def test_a_status(
        self, agent: ScriptedAgent, client: AcpClient, body: bytes, status: int, outcome: str
    ) -> None:
        agent.script(Answer(status=status, headers=(("location", f"{agent.url}/elsewhere"),)))
        answered = await send(client, agent.url, body)
        assert isinstance(answered, Refused | Retry | Unknown)
        assert (type(answered).__name__, answered.code) == (outcome, f"HTTP_{status}")
        assert len(agent.requests) == 1

    @pytest.mark.parametrize(
        ("header", "delay"),
        [
            ("0", timedelta(0)),
            (" 7 ", timedelta(seconds=7)),
            ("3600", timedelta(hours=1)),
            ("86400", timedelta(hours=1)),
            ("9" * 5000, timedelta(hours=1)),
            ("Fri, 02 Jan 2026 03:04:30 GMT", timedelta(seconds=30)),
            ("Fri, 02 Jan 2026 03:04:30 -0000", timedelta(seconds=30)),
            ("Fri, 02 Jan 2026 03:03:00 GMT", timedelta(0)),
            ("Fri, 02 Jan 2099 03:03:00 GMT", timedelta(hours=1)),
            ("", None),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
            ("Fri, 99 Jan 2026 03:03:00 GMT", None),
        ],
    )
    async def test_retry_after(
        self, agent: ScriptedAgent, client: AcpClient, header: str, delay: timedelta | None
    ) -> None:
        agent.script(scripted.status(429, retry_after=header))
        outcome = await send(client, agent.url, SEND_EVENT)
        assert outcome == Retry("HTTP_429", "The agent answered 429 Too Many Requests.", delay)

    def test_a_status_without_a_name(self) -> None:
        assert of_status(599, "", NOW) == Retry("HTTP_599", "The agent answered 599.")

    async def test_what_an_agent_says_is_bounded_storable_and_free_of_its_key(
        self, agent: ScriptedAgent, client: AcpClient
    ) -> None:
        # given an agent that repeats its key just where the message is cut, after what Postgres cannot keep
        agent.script(scripted.error(1, "\x00\ud800😀" + "x" * (MAX_MESSAGE - 8) + "secret-key"))

        # when it is called with that key
        outcome = await send(client, agent.url, SEND_EVENT, api_key="secret-key")

        # then neither the key nor a part of it is kept
        assert outcome == Refused("RPC_1", "\ufffd\ufffd😀" + "x" * (MAX_MESSAGE - 8) + "[API…")


class TestAnswersOfAMessage:
    @pytest.mark.parametrize(
        ("answer", "replies"),
        [
            (Answer(), ()),
            (Answer(pieces=()), ()),
            (Answer(body=b"\n\n"), ()),
            (scripted.result(None), ()),
            (scripted.stream(None), ()),
            (scripted.stream(full("one")), (reply("one"),)),
            (scripted.stream(full("b", 1), full("a", 0)), (reply("a", 0), reply("b", 1))),
            (scripted.stream(start(), delta("He"), delta("llo"), done()), (reply("Hello"),)),
            (scripted.stream(delta("He"), delta("llo"), done()), (reply("Hello"),)),
            (scripted.stream(start(), delta("He"), full("Hello!"), done()), (reply("Hello!"),)),
            (scripted.stream(full("Hello!"), delta("He"), done()), (reply("Hello!"),)),
            (scripted.stream(start(content="at once"), done()), (reply("at once"),)),
            (scripted.stream(done()), ()),
            (
                scripted.stream(start(0), start(1), delta("a", 0), delta("b", 1), done(1), done(0)),
                (reply("a", 0), reply("b", 1)),
            ),
            (scripted.stream({**full("no index"), "index": None}), (reply("no index"),)),
            (scripted.stream(delta("\ud83d"), delta("\ude00\x00"), done()), (reply("😀\ufffd"),)),
            (
                scripted.stream(start(author="user"), delta("mine"), done()),
                (Reply(0, AcpAuthor.USER, "text", "mine"),),
            ),
            (
                scripted.stream(
                    {"type": "full", "index": 0, "content": {"type": "data", "author": "agent", "data": {"a": "é"}}}
                ),
                (Reply(0, AcpAuthor.AGENT, "data", '{"type":"data","author":"agent","data":{"a":"é"}}'),),
            ),
            (
                scripted.stream(
                    {
                        "type": "delta",
                        "index": 0,
                        "delta": {"type": "tool_request", "name": "f", "arguments_delta": "{"},
                    },
                    {
                        "type": "delta",
                        "index": 0,
                        "delta": {"type": "tool_request", "name": "f", "arguments_delta": "}"},
                    },
                    done(),
                ),
                (
                    Reply(
                        0, AcpAuthor.AGENT, "tool_request", '{"type":"tool_request","name":"f","arguments_delta":"{}"}'
                    ),
                ),
            ),
        ],
    )
    async def test_replies(
        self, agent: ScriptedAgent, client: AcpClient, answer: Answer, replies: tuple[Reply, ...]
    ) -> None:
        agent.script(answer)
        assert await send(client, agent.url, SEND_MESSAGE) == Accepted(replies)

    async def test_a_line_may_come_in_any_number_of_pieces(self, agent: ScriptedAgent, client: AcpClient) -> None:
        # given a stream whose every byte is a chunk of its own, and that ends without a newline
        request_id = json.loads(SEND_MESSAGE)["id"]
        updates = [start(), delta("grüß "), delta("dich"), done()]
        text = "\n".join(
            json.dumps({"jsonrpc": "2.0", "id": request_id, "error": None, "result": update}, ensure_ascii=False)
            for update in updates
        )
        agent.script(Answer(pieces=tuple(bytes([byte]) for byte in text.encode())))

        # when it is read, then nothing is lost
        assert await send(client, agent.url, SEND_MESSAGE) == Accepted((reply("grüß dich"),))

    @pytest.mark.parametrize(
        ("answer", "outcome"),
        [
            (scripted.error(-32603, "it broke"), Refused("RPC_-32603", "it broke")),
            (
                Answer(
                    pieces=(
                        scripted.line(start()),
                        scripted.line(delta("He")),
                        scripted.line(None, {"code": -32603, "message": "broke in the middle"}),
                    )
                ),
                Refused("RPC_-32603", "broke in the middle"),
            ),
            (
                Answer(pieces=(scripted.line(full("a")), b'{"id":"another","result":null}\n')),
                Refused("WRONG_ID", "The agent answered with the id of another request."),
            ),
            (
                scripted.stream({"type": "news", "index": 0}),
                Refused("MALFORMED", "The agent streamed something that is not an update of a message."),
            ),
            (
                scripted.stream([1]),
                Refused("MALFORMED", "The agent streamed something that is not an update of a message."),
            ),
            (
                scripted.stream({"type": "done", "index": "0"}),
                Refused("MALFORMED", "The agent streamed an update whose index is not a number."),
            ),
            (
                scripted.stream({"type": "full", "index": 0, "content": {"type": "text", "content": 1}}),
                Refused("MALFORMED", "The agent streamed a full without the content that it is to have."),
            ),
            (
                scripted.stream(start(), delta("He")),
                Unknown("UNFINISHED", "The agent's stream ended in the middle of a message."),
            ),
            (
                scripted.stream(start(0), delta("He", 0), done(0), start(1)),
                Unknown("UNFINISHED", "The agent's stream ended in the middle of a message."),
            ),
            (
                Answer(pieces=(scripted.line(full("a")), b"not json\n")),
                Unknown("NOT_JSON", "The agent answered something that is not JSON, or it was cut off."),
            ),
            (
                scripted.stream(*(full("x", index) for index in range(1001))),
                Refused("TOO_LARGE", "The agent answered more than 1,000 messages."),
            ),
            (
                scripted.stream(*(delta("x" * 500_000) for _ in range(9))),
                Refused("TOO_LARGE", f"The agent answered more than {MAX_REPLY_BYTES:,} bytes."),
            ),
            (
                Answer(pieces=tuple(b"x" * 1_000_000 for _ in range(5))),
                Refused("TOO_LARGE", "The agent's answer is larger than is kept of one."),
            ),
        ],
    )
    async def test_a_stream_that_fails(
        self, agent: ScriptedAgent, client: AcpClient, answer: Answer, outcome: Outcome
    ) -> None:
        agent.script(answer)
        assert await send(client, agent.url, SEND_MESSAGE) == outcome

    @pytest.mark.parametrize("piece", [b"\n" * 100_000, (b" " * 999_999) + b"\n"])
    async def test_an_endless_stream_of_nothing_is_bounded(
        self, agent: ScriptedAgent, client: AcpClient, piece: bytes
    ) -> None:
        agent.script(Answer(pieces=(piece,) * 70))
        outcome = await send(client, agent.url, SEND_MESSAGE)
        assert outcome == Refused("TOO_LARGE", "The agent's answer is larger than is kept of one.")

    def test_a_reply_stream_forgets_no_text_of_mixed_deltas(self) -> None:
        # given deltas of two kinds under one index
        stream = ReplyStream("1")
        for kind, name in (("reasoning_summary", "summary_delta"), ("reasoning_content", "content_delta")):
            update = {"type": "delta", "index": 0, "delta": {"type": kind, name: f"of {kind}"}}
            assert stream.feed(json.dumps({"id": "1", "result": update}).encode()) is None
        assert stream.feed(json.dumps({"id": "1", "result": done()}).encode()) is None

        # when the stream ends, then the reply holds both
        outcome = stream.finish()
        assert isinstance(outcome, Accepted)
        (only,) = outcome.replies
        assert json.loads(only.content) == {
            "type": "reasoning_summary",
            "summary_delta": "of reasoning_summary",
            "content_delta": "of reasoning_content",
        }

    def test_lines_are_cut_at_newlines_alone(self) -> None:
        lines = Lines()
        assert lines.feed("a\u2028b\r".encode()) == []
        assert lines.feed(b"\nc\n\nd") == ["a\u2028b\r".encode(), b"c", b""]
        assert lines.rest == b"d"
        with pytest.raises(TooLargeError):
            lines.feed(b"x" * MAX_LINE_BYTES)


class TestBrokenConnections:
    @pytest.mark.parametrize("body", [SEND_EVENT, SEND_MESSAGE])
    async def test_a_refused_connection_was_not_written_to(
        self, agent: ScriptedAgent, client: AcpClient, body: bytes
    ) -> None:
        # given an agent that is down
        await agent.refuse()

        # when it is called, then nothing was sent, and it can be tried again
        outcome = await send(client, agent.url, body)
        assert outcome == Retry("CONNECT_FAILED", "The agent could not be reached: All connection attempts failed.")

        # and once it is up again, it is reached
        await agent.listen()
        assert isinstance(await send(client, agent.url, body), Accepted)

    async def test_a_name_without_an_address_can_be_tried_again(self, client: AcpClient) -> None:
        outcome = await send(client, "http://agent.invalid", SEND_EVENT)
        assert isinstance(outcome, Retry)
        assert outcome.code == "CONNECT_FAILED"

    async def test_a_port_that_speaks_no_tls_was_not_written_to(self, agent: ScriptedAgent, client: AcpClient) -> None:
        outcome = await send(client, agent.url.replace("http:", "https:"), SEND_EVENT)
        assert isinstance(outcome, Retry)
        assert outcome.code == "CONNECT_FAILED"
        assert agent.requests == []

    @pytest.mark.parametrize("body", [SEND_EVENT, SEND_MESSAGE])
    @pytest.mark.parametrize(
        "answer",
        [
            scripted.drop(effect=True),
            scripted.drop(effect=True, reset=True),
            Answer(raw=b"SSH-2.0-OpenSSH_9.6\r\n\r\n", effect=True),
            Answer(raw=b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{", effect=True),
            Answer(raw=b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000, effect=True),
            scripted.stream(full("a"), ended=False),
            scripted.stream(full("a"), ended=False).but(reset=True),
        ],
    )
    async def test_a_connection_lost_after_writing_tells_nothing(
        self, agent: ScriptedAgent, client: AcpClient, body: bytes, answer: Answer
    ) -> None:
        agent.script(answer)
        outcome = await send(client, agent.url, body)
        assert isinstance(outcome, Unknown)
        assert outcome.code == "CONNECTION_LOST"
        assert len(agent.effects) == 1

    async def test_a_connection_reset_before_it_was_read_tells_nothing_either(
        self, agent: ScriptedAgent, client: AcpClient
    ) -> None:
        # given an agent that resets what it has accepted, and a body that no buffer holds
        agent.drop_connections(1)
        task = AcpTask(TASK.id, TASK.name, CREATED, CREATED, {"text": "x" * 20_000_000}, None)

        # when it is called
        outcome = await send(client, agent.url, acp.task_create_body(AGENT, task, KEY))

        # then the caller cannot know that it was not read
        assert isinstance(outcome, Unknown)
        assert (outcome.code, agent.refused_connections, agent.requests) == ("CONNECTION_LOST", 1, [])

    async def test_an_answer_that_comes_before_the_whole_request_is_read_counts(self, client: AcpClient) -> None:
        # given a server that refuses by the headers alone
        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()
            await reader.read()
            writer.close()

        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        task = AcpTask(TASK.id, TASK.name, CREATED, CREATED, {"text": "x" * 20_000_000}, None)

        # when more is sent than it takes, then its answer is heard
        async with server:
            outcome = await send(client, f"http://127.0.0.1:{port}", acp.task_create_body(AGENT, task, KEY))
        assert isinstance(outcome, Refused)
        assert outcome.code == "HTTP_413"

    @pytest.mark.parametrize("body", [SEND_EVENT, SEND_MESSAGE])
    @pytest.mark.parametrize(
        "answer",
        [
            scripted.hang(),
            scripted.stream(full("a")).but(pieces=(scripted.line(full("a")), asyncio.Event())),
        ],
    )
    async def test_a_silence_after_writing_tells_nothing(
        self, agent: ScriptedAgent, http: httpx.AsyncClient, body: bytes, answer: Answer
    ) -> None:
        agent.script(answer)
        outcome = await send(AcpClient(http, SHORT), agent.url, body)
        assert outcome == Unknown("TIMEOUT", "The agent did not answer in time.")
        await agent.idle()
        assert len(agent.effects) == 1

    async def test_a_message_may_take_longer_than_a_call(self, agent: ScriptedAgent, http: httpx.AsyncClient) -> None:
        # given a message whose answer is held back, and a call that is never answered
        client = AcpClient(http, Timeouts(call=timedelta(seconds=1)))
        gate = asyncio.Event()
        agent.script(scripted.stream(full("late")).but(gate=gate), method="message/send")
        agent.script(scripted.hang(), method="event/send")

        # when the call is given up after the message was begun
        message = asyncio.create_task(send(client, agent.url, SEND_MESSAGE))
        await agent.received(1, method="message/send")
        assert await send(client, agent.url, SEND_EVENT) == Unknown("TIMEOUT", "The agent did not answer in time.")

        # then the message still waits for its answer
        assert not message.done()
        gate.set()
        assert await message == Accepted((reply("late"),))

    async def test_a_call_is_bounded_as_a_whole(self, http: httpx.AsyncClient) -> None:
        # given a server that never falls silent, and never ends
        async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                while True:
                    writer.write(b" ")
                    await writer.drain()
                    await asyncio.sleep(0.01)
            writer.close()

        server = await asyncio.start_server(drip, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        # when a call waits for it, then that ends
        async with server:
            outcome = await send(AcpClient(http, SHORT), f"http://127.0.0.1:{port}", SEND_EVENT)
        assert outcome == Unknown("TIMEOUT", "The agent did not answer in time.")

    async def test_cancelling_a_call_closes_its_connection(self, agent: ScriptedAgent, client: AcpClient) -> None:
        # given a call that hangs at the agent
        agent.script(scripted.hang())
        call = asyncio.create_task(send(client, agent.url, SEND_MESSAGE))
        await agent.received(1)

        # when its caller gives it up
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

        # then the agent sees the connection end
        await agent.idle()

    async def test_a_total_bound_of_the_caller_is_a_timeout_of_its_own(
        self, agent: ScriptedAgent, client: AcpClient
    ) -> None:
        agent.script(scripted.hang())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await send(client, agent.url, SEND_EVENT)

    async def test_a_hanging_agent_holds_up_no_other(self, agent: ScriptedAgent, client: AcpClient) -> None:
        # given far more hanging calls than the hundred connections that httpx keeps by default
        agent.always(scripted.hang(), method="message/send")
        hanging = [asyncio.create_task(send(client, agent.url, SEND_MESSAGE)) for _ in range(120)]
        await agent.received(120, method="message/send")

        # when another call is made, then it is answered
        assert await send(client, agent.url, SEND_EVENT) == Accepted()
        for call in hanging:
            call.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)

    @pytest.mark.parametrize(
        ("error", "written", "outcome"),
        [
            (httpx.ConnectTimeout(""), False, ("Retry", "CONNECT_TIMEOUT")),
            (httpx.PoolTimeout(""), False, ("Retry", "CONNECT_TIMEOUT")),
            (httpx.ConnectError("x"), False, ("Retry", "CONNECT_FAILED")),
            (httpx.ProxyError("x"), False, ("Retry", "CONNECT_FAILED")),
            (TimeoutError(), False, ("Retry", "CONNECT_TIMEOUT")),
            (OSError("x"), False, ("Retry", "CONNECT_FAILED")),
            (ExceptionGroup("x", [OverflowError()]), False, ("Retry", "CONNECT_FAILED")),
            (UnicodeError("x"), False, ("Refused", "BAD_URL")),
            (httpx.LocalProtocolError("x"), True, ("Refused", "BAD_HEADER")),
            (httpx.ReadTimeout(""), False, ("Unknown", "TIMEOUT")),
            (httpx.WriteTimeout(""), True, ("Unknown", "TIMEOUT")),
            (httpx.WriteError(""), True, ("Unknown", "CONNECTION_LOST")),
            (httpx.ReadError(""), False, ("Unknown", "CONNECTION_LOST")),
            (httpx.RemoteProtocolError("x"), True, ("Unknown", "CONNECTION_LOST")),
            (TimeoutError(), True, ("Unknown", "TIMEOUT")),
            (OSError("x"), True, ("Unknown", "CONNECTION_LOST")),
        ],
    )
    def test_each_way_to_break(self, error: Exception, written: bool, outcome: tuple[str, str]) -> None:
        classified = of_error(error, written)
        assert (type(classified).__name__, classified.code) == outcome


class TestHealth:
    async def test_a_healthy_agent(self, agent: ScriptedAgent, client: AcpClient) -> None:
        assert await client.health(f"{agent.url}/") == Healthy(None)

    async def test_a_registered_agent_names_itself(self, agent: ScriptedAgent, client: AcpClient) -> None:
        agent.health = Answer(body=b'{"status":"healthy","agent_id":"a\\u0000"}')
        assert await client.health(agent.url) == Healthy("a\ufffd")

    @pytest.mark.parametrize(
        ("health", "message"),
        [
            (scripted.status(503), "The agent answered 503 Service Unavailable."),
            (scripted.status(302), "The agent answered 302 Found."),
            (Answer(body=b"<html>"), "The agent's health answer is not JSON."),
            (Answer(body=b'{"status":"ill"}'), "The agent does not say that it is healthy."),
            (Answer(body=b"[]"), "The agent does not say that it is healthy."),
            (Answer(body=b" " * 100_000), "The agent's health answer is too large."),
            (scripted.drop(effect=False), "The agent did not answer: Server disconnected without sending a response."),
            (scripted.hang(), "The agent did not answer: TimeoutError."),
        ],
    )
    async def test_an_unhealthy_agent(
        self, agent: ScriptedAgent, http: httpx.AsyncClient, health: Answer, message: str
    ) -> None:
        agent.health = health
        assert await AcpClient(http, SHORT).health(agent.url) == Unhealthy(message)

    async def test_an_agent_that_is_down(self, agent: ScriptedAgent, client: AcpClient) -> None:
        await agent.refuse()
        down = Unhealthy("The agent did not answer: All connection attempts failed.")
        assert await client.health(agent.url) == down
        assert isinstance(await client.health("no url"), Unhealthy)


def test_storable_keeps_what_postgres_can_keep() -> None:
    assert storable("plain 😀 ✓ \ud83d\ude00") == "plain 😀 ✓ 😀"
    assert storable("a\x00b\udfffc\ud800") == "a\ufffdb\ufffdc\ufffd"


class TestDemoAgents:
    @pytest.fixture
    async def sync_client(self) -> AsyncIterator[AcpClient]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(demo_agents.sync_agent())) as http:
            yield AcpClient(http)

    @pytest.fixture
    async def async_client(self) -> AsyncIterator[AcpClient]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(demo_agents.async_agent())) as http:
            yield AcpClient(http)

    async def test_the_sync_agent_echoes(self, sync_client: AcpClient) -> None:
        assert await sync_client.health("http://demo") == Healthy(None)
        for _ in range(2):
            outcome = await send(sync_client, "http://demo", SEND_MESSAGE)
            assert outcome == Accepted((reply("You said: hello ✓"),))
        assert await send(sync_client, "http://demo", CREATE) == Refused("RPC_-32601", "Method task/create not found")

    async def test_the_async_agent_does_a_key_once(
        self, async_client: AcpClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, logger="nextfire.demo_agents")
        for body in (CREATE, SEND_EVENT, SEND_EVENT, CANCEL):
            assert await send(async_client, "http://demo", body) == Accepted()
        assert [record.getMessage() for record in caplog.records if record.name == "nextfire.demo_agents"] == [
            f"async  task/create  scheduled-run:S:F  key={KEY}",
            f'async  event/send  scheduled-run:S:F  key={KEY}  "hello ✓"',
            f'async  event/send  scheduled-run:S:F  key={KEY}  "hello ✓"  again: not done twice',
            f"async  task/cancel  scheduled-run:S:F  key={KEY}",
        ]

    @pytest.mark.parametrize(("kind", "body"), [("sync", SEND_MESSAGE), ("async", SEND_EVENT)])
    async def test_they_run_as_processes(self, client: AcpClient, tmp_path: Path, kind: str, body: bytes) -> None:
        # given a demo agent, started as its users start it
        port = free_port()
        command = [sys.executable, "-m", "nextfire.demo_agents", kind, "--port", str(port)]
        with running(Child(f"{kind} agent", command, tmp_path / "agent.log")) as child:
            child.wait_until(lambda: accepts(port), 30)

            # when it gets a request, then it accepts it and says so
            assert isinstance(await send(client, f"http://127.0.0.1:{port}", body), Accepted)
            assert f"key={KEY}" in child.last_lines()

            # and it stops when it is told to
            child.stop(signal.SIGTERM)
            assert child.exit_code == -signal.SIGTERM

    async def test_what_is_no_request_is_refused(self) -> None:
        transport = httpx.ASGITransport(demo_agents.async_agent())
        async with httpx.AsyncClient(transport=transport, base_url="http://demo") as http:
            for body in (b"", b"[]", b"{}", b'{"id":1,"method":"task/create","params":{"task":1}}'):
                answer = await http.post("/api", content=body)
                assert (answer.status_code, answer.json()["error"]["code"]) == (200, -32600)
            assert (await http.post("/api", content=b"x" * (4 * 1024 * 1024 + 1))).status_code == 413

    def test_what_is_remembered_is_bounded(self) -> None:
        seen = demo_agents.Seen()
        assert [seen.add("event/send", "") for _ in range(2)] == [True, True]
        for number in range(demo_agents.MAX_KEYS + 1):
            assert seen.add("event/send", str(number))
        assert not seen.add("event/send", "1")
        assert seen.add("event/send", "0")
