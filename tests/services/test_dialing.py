"""Connecting to agents only where it is permitted: real sockets, and a resolver that says what the test wants."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services import dialing
from services.acp import Accepted, AcpClient, Outcome, Refused, Retry, Timeouts, Unhealthy, Unknown, http_client
from services.dialing import Dialer, OutboundDenied, look_up
from services.outbound import HostList, OutboundRules
from tests.agents.scripted import Answer, ScriptedAgent
from tests.services.test_acp import CREATE, KEY, SEND_MESSAGE

DENIED = Refused(
    "ADDRESS_DENIED",
    "Nextfire may not connect to the host of this URL: its operator has closed that network.",
)
# What stands for the internet here: an address range on an allow list is permitted whatever its kind.
LOOPBACK_ONLY = OutboundRules(allow=HostList.of(["127.0.0.1/32"]))


@dataclass
class Names:
    """A resolver whose answers are scripted, by name; the last answer of a name is given again and again."""

    answers: dict[str, list[Sequence[str]]]
    asked: list[str] = field(default_factory=list)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        answers = self.answers.get(host)
        if answers is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return answers.pop(0) if len(answers) > 1 else answers[0]


@asynccontextmanager
async def calling(dialer: Dialer, tls: ssl.SSLContext | None = None) -> AsyncIterator[AcpClient]:
    async with http_client(dialer, tls) as http:
        yield AcpClient(http)


async def send(client: AcpClient, url: str) -> Outcome:
    return await client.send(url, CREATE, request_id="1", idempotency_key=KEY)


async def test_a_name_that_leads_elsewhere_the_second_time_is_not_followed(scripted_agent: ScriptedAgent) -> None:
    # given a name that is public when it is checked first, and then this machine's own
    names = Names({"rebinding.example": [["93.184.215.14"], ["127.0.0.1"]]})
    dialer = Dialer(OutboundRules(), names)
    url = f"http://rebinding.example:{scripted_agent.port}"
    async with calling(dialer) as client:
        # when the agent is registered, and then called
        issues = await dialer.check(url)
        outcome = await send(client, url)

    # then what it leads to at the call counts
    assert (issues, outcome) == ([], DENIED)
    assert names.asked == ["rebinding.example", "rebinding.example"]
    assert scripted_agent.requests == []


async def test_a_connection_looks_its_name_up_once(scripted_agent: ScriptedAgent) -> None:
    # given a name that leads to the permitted address the first time only
    names = Names({"agent.example": [["127.0.0.1"], ["127.0.0.2"]]})
    async with calling(Dialer(LOOPBACK_ONLY, names)) as client:
        # when it is called
        outcome = await send(client, f"http://agent.example:{scripted_agent.port}")

    # then the very address that was checked is the one that was connected to, under the name
    assert outcome == Accepted()
    assert names.asked == ["agent.example"]
    assert scripted_agent.requests[0].headers["host"] == f"agent.example:{scripted_agent.port}"


async def test_of_several_addresses_only_the_permitted_are_tried(scripted_agent: ScriptedAgent) -> None:
    # given a server on an address that is not permitted, which would notice
    noticed: list[object] = []
    server = await asyncio.start_server(lambda *streams: noticed.append(streams), "127.0.0.2", scripted_agent.port)
    names = Names({"agent.example": [["127.0.0.2", "::ffff:127.0.0.2", "127.0.0.1"]]})

    # when
    async with server, calling(Dialer(LOOPBACK_ONLY, names)) as client:
        outcome = await send(client, f"http://agent.example:{scripted_agent.port}")

    # then
    assert outcome == Accepted()
    assert noticed == []


async def test_the_next_address_is_tried_where_one_does_not_answer(scripted_agent: ScriptedAgent) -> None:
    # given a name of two permitted addresses, with nobody at the first
    names = Names({"agent.example": [["127.0.0.2", "127.0.0.1"]]})
    async with calling(Dialer(OutboundRules(private_networks=True), names)) as client:
        # when, then
        assert await send(client, f"http://agent.example:{scripted_agent.port}") == Accepted()
        await scripted_agent.refuse()
        outcome = await send(client, f"http://agent.example:{scripted_agent.port}")
    assert outcome == Retry("CONNECT_FAILED", "The agent could not be reached: All connection attempts failed.")
    assert len(scripted_agent.requests) == 1


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "localhost.", "LOCALHOST", "127.1", "2130706433", "0x7f000001", "0x7f.0.0.1",
        "017700000001", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:7f00:1]",
    ],
)  # fmt: skip
async def test_no_spelling_of_loopback_gets_through(scripted_agent: ScriptedAgent, host: str) -> None:
    # given the machine's own resolver
    dialer = Dialer(OutboundRules())
    url = f"http://{host}:{scripted_agent.port}"
    async with calling(dialer) as client:
        # when
        outcome = await send(client, url)
        health = await client.health(url)
        issues = await dialer.check(url, "input", "url")

    # then
    assert outcome == DENIED or (isinstance(outcome, Retry) and outcome.code == "CONNECT_FAILED")
    assert isinstance(health, Unhealthy)
    assert [issue.path for issue in issues] == [("input", "url")]
    assert scripted_agent.requests == []


async def test_credentials_in_a_url_do_not_hide_its_host(scripted_agent: ScriptedAgent) -> None:
    # given
    names = Names({"agent.example": [["93.184.215.14"]]})
    async with calling(Dialer(OutboundRules(), names)) as client:
        # when, then
        for userinfo in ("agent.example@", "agent.example:80@", "agent.example\\@", "a%40agent.example@"):
            assert await send(client, f"http://{userinfo}127.0.0.1:{scripted_agent.port}") == DENIED
    assert (names.asked, scripted_agent.requests) == ([], [])


async def test_a_redirect_is_not_followed_and_would_be_checked(scripted_agent: ScriptedAgent) -> None:
    # given a permitted agent that redirects to one that is not
    async with ScriptedAgent() as inside:
        target = inside.url.replace("127.0.0.1", "127.0.0.2")
        scripted_agent.always(Answer(status=307, headers=(("location", f"{target}/api"),)))
        dialer = Dialer(LOOPBACK_ONLY)
        async with http_client(dialer) as http:
            # when
            outcome = await send(AcpClient(http), scripted_agent.url)
            with pytest.raises(OutboundDenied):
                await http.post(f"{scripted_agent.url}/api", content=CREATE, follow_redirects=True)

        # then
        assert outcome == Refused(
            "HTTP_307", "The agent answered 307 Temporary Redirect, and redirects are not followed."
        )
        assert inside.requests == []


async def test_a_proxy_from_the_environment_is_not_used(
    scripted_agent: ScriptedAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a proxy that would look names up for itself
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, scripted_agent.url)
    async with calling(Dialer(OutboundRules(), Names({"inside.example": [["10.0.0.1"]]}))) as client:
        # when, then
        assert await send(client, "http://inside.example") == DENIED
    assert scripted_agent.requests == []


@pytest.mark.parametrize("answer", [None, []])
async def test_a_name_that_is_not_known_can_be_tried_again(answer: Sequence[str] | None) -> None:
    # given
    names = Names({} if answer is None else {"agent.example": [answer]})
    async with calling(Dialer(OutboundRules(), names)) as client:
        # when
        outcome = await send(client, "http://agent.example")

    # then
    assert isinstance(outcome, Retry)
    assert outcome.code == "CONNECT_FAILED"
    assert "its name" in outcome.message


async def test_a_lookup_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    # given
    async def hang(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(dialing, "LOOKUP_TIMEOUT", timedelta(milliseconds=10))
    async with calling(Dialer(OutboundRules(), hang)) as client:
        # when, then
        assert await send(client, "http://agent.example") == Retry(
            "CONNECT_FAILED", "The agent could not be reached: its name could not be looked up in time."
        )


async def test_lookups_that_hang_do_not_hold_up_other_work(monkeypatch: pytest.MonkeyPatch) -> None:
    # given more lookups in the resolver than the loop has threads
    def hang(*_: object, **__: object) -> object:
        released.acquire()
        released.release()
        raise socket.gaierror

    released = threading.Semaphore(0)
    monkeypatch.setattr(socket, "getaddrinfo", hang)
    lookups = [asyncio.create_task(look_up("slow.example", 80)) for _ in range(40)]
    await asyncio.sleep(0)

    # when other work wants a thread, then it gets one
    assert await asyncio.to_thread(lambda: "done") == "done"
    released.release()
    assert {type(each) for each in await asyncio.gather(*lookups, return_exceptions=True)} == {socket.gaierror}


async def test_registering_tells_the_same_of_inside_names_as_of_names_that_do_not_exist() -> None:
    # given
    names = Names({"db.internal": [["10.0.0.5"]], "agent.example": [["93.184.215.14"]]})
    dialer = Dialer(OutboundRules(), names)

    # when
    inside, nowhere, literal, public = [
        await dialer.check(url, "input", "url")
        for url in ("http://db.internal", "http://nothing.internal", "http://10.0.0.5", "https://agent.example/a")
    ]

    # then
    assert inside == nowhere == literal
    assert len(inside) == 1
    assert inside[0].path == ("input", "url")
    assert "10.0.0.5" not in inside[0].message
    assert public == []


async def test_a_name_that_the_lists_decide_is_not_looked_up() -> None:
    # given
    names = Names({})
    rules = OutboundRules(allow=HostList.of(["*.agents.internal"]), deny=HostList.of(["old.agents.internal"]))
    dialer = Dialer(rules, names)

    # when, then
    assert await dialer.check("http://new.agents.internal:8000") == []
    assert len(await dialer.check("http://old.agents.internal")) == 1
    assert len(await dialer.check("http://agent.example")) == 1
    assert names.asked == []


async def test_the_machines_resolver_is_asked() -> None:
    found = await look_up("localhost", 80)
    assert found
    assert all(ip_address(each).is_loopback for each in found)


def certificate(directory: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What a server of that name needs, and what a client needs to trust it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = directory / "server.pem"
    path.write_bytes(private + signed.public_bytes(pem))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cadata=signed.public_bytes(pem).decode())


async def test_tls_asks_for_the_certificate_of_the_name(tmp_path: Path) -> None:
    # given a TLS server of one name, at an address that two names lead to
    server_tls, client_tls = certificate(tmp_path, "agent.example")
    asked_for: list[str | None] = []
    server_tls.sni_callback = lambda _socket, name, _context: asked_for.append(name)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{"status":"healthy"}')
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server_tls)
    port = server.sockets[0].getsockname()[1]
    names = Names({"agent.example": [["127.0.0.1"]], "other.example": [["127.0.0.1"]]})
    async with server, calling(Dialer(LOOPBACK_ONLY, names), client_tls) as client:
        # when
        own = await client.health(f"https://agent.example:{port}")
        other = await client.health(f"https://other.example:{port}")

    # then its own name is served, and the certificate does not do for the other
    assert repr(own) == "Healthy(agent_id=None)"
    assert isinstance(other, Unhealthy)
    assert "certificate" in other.message
    assert asked_for == ["agent.example", "other.example"]


async def test_interim_responses_without_end_are_given_up() -> None:
    # given a server that never comes to its answer, and never falls silent
    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)
        writer.close()

    server = await asyncio.start_server(stall, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    short = Timeouts(idle=timedelta(milliseconds=300))
    async with server, http_client(Dialer(LOOPBACK_ONLY)) as http:
        # when a message is sent, whose answer may take any time as a whole
        client = AcpClient(http, short)
        outcome = await client.send(f"http://127.0.0.1:{port}", SEND_MESSAGE, request_id="1", idempotency_key=KEY)

    # then
    assert outcome == Unknown("TIMEOUT", "The agent did not answer in time.")
