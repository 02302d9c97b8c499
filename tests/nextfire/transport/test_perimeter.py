"""What every request passes: hosts, origins, CORS; and what every answer carries."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr, ValidationError
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from nextfire.app import answered_hosts, perimeter
from nextfire.settings import Settings
from nextfire.transport import Perimeter
from nextfire.transport.perimeter import SECURITY_HEADERS, without_port
from services.outbound import HostList
from tests.nextfire.transport.conftest import Served, serving

APP, EVIL = "https://app.example", "https://evil.example"
MUTATION = {"query": 'mutation { record(call: "made") }'}


async def who(request: Request) -> Response:
    return PlainTextResponse(f"{request.client.host if request.client else None} {request.url.scheme}")


async def broken(_: Request) -> Response:
    raise RuntimeError("hunter2")


ROUTES = [Route("/who", who), Route("/broken", broken)]


@pytest.fixture(scope="module")
async def guarded_server() -> AsyncGenerator[Served, None]:
    """A server that answers to one name beside its address, and to pages of one origin beside its own."""
    listed = Perimeter(HostList.of(["api.example", "*.apis.example"]), (APP,))
    async with serving(perimeter=listed, routes=ROUTES, allowed_origins=listed.origins) as served:
        yield served


@pytest.fixture
def guarded(guarded_server: Served) -> Served:
    guarded_server.toy.reset()
    return guarded_server


def settings(**values: Any) -> Settings:
    return Settings(database_url=SecretStr("postgresql://x"), **values)


class TestHosts:
    @pytest.mark.parametrize(
        "host",
        [
            "api.example",
            "API.example.:8000",
            "a.apis.example:1",
            "localhost:8000",
            "app.localhost",
            "10.1.2.3",
            "[::1]:8000",
        ],
    )
    async def test_a_name_of_its_own_is_answered(self, guarded: Served, host: str) -> None:
        response = await guarded.post({"query": "{ hello }"}, host=host)
        assert response.json() == {"data": {"hello": "hello world"}}

    @pytest.mark.parametrize(
        "host",
        [
            "evil.example", "", "api.example.evil.example", "apis.example", "localhost.evil.example",
            "127.0.0.1.evil.example", "127.0.0.1@evil.example", "[::1].evil.example", "api.example:x", "0x7f.1",
        ],
    )  # fmt: skip
    async def test_any_other_name_is_refused(self, guarded: Served, host: str) -> None:
        response = await guarded.post(MUTATION, host=host)
        assert response.status_code == 421
        assert response.json()["errors"][0]["extensions"] == {"code": "BAD_REQUEST"}
        assert guarded.toy.context.calls == []

    async def test_a_socket_under_another_name_is_refused(self, guarded: Served) -> None:
        with pytest.raises(InvalidStatus) as refused:
            await connect(
                guarded.socket_url,
                subprotocols=["graphql-transport-ws"],  # type: ignore[list-item]
                additional_headers={"host": "evil.example"},
            )
        assert refused.value.response.status_code == 421

    async def test_no_host_and_two_hosts_are_refused(self, guarded: Served) -> None:
        for hosts in ("", "Host: 127.0.0.1\r\nHost: evil.example\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", guarded.port)
            writer.write(f"GET /who HTTP/1.0\r\n{hosts}\r\n".encode())
            status = await asyncio.wait_for(reader.readline(), 20)
            writer.close()
            assert status.split()[1] in (b"421", b"400")

    @pytest.mark.parametrize(
        ("values", "known"),
        [
            ({"auth": "open"}, {"127.0.0.1": True, "evil.example": False}),
            ({"auth": "open", "host": "0.0.0.0"}, {"evil.example": False}),
            ({"auth": "open", "allowed_hosts": ("*",)}, {"evil.example": True}),
            ({"auth": "keys"}, {"evil.example": True}),
            ({"auth": "keys", "allowed_hosts": ("api.example",)}, {"evil.example": False, "api.example": True}),
        ],
    )
    async def test_where_everyone_may_do_everything_the_names_are_checked_by_default(
        self, values: dict[str, Any], known: dict[str, bool]
    ) -> None:
        async with serving(perimeter=perimeter(settings(**values)), routes=ROUTES) as served:
            for host, expected in known.items():
                response = await served.http.get(f"http://127.0.0.1:{served.port}/who", headers={"host": host})
                assert (response.status_code == 200) is expected

    def test_the_port_is_left_out(self) -> None:
        given = ["a", "a:1", "a:", "[::1]", "[::1]:80", "::1", "a:b"]
        assert [without_port(each) for each in given] == ["a", "a", "a", "[::1]", "[::1]", "::1", "a:b"]


class TestOrigins:
    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"origin": "http://127.0.0.1:{port}"},
            {"origin": "http://127.0.0.1:{port}", "sec-fetch-site": "same-origin"},
            {"sec-fetch-site": "none"},
            {"origin": APP, "sec-fetch-site": "cross-site"},
            {"origin": "https://APP.example:443", "sec-fetch-site": "cross-site"},
            # a proxy that speaks TLS stands in front
            {"origin": "https://api.example", "host": "api.example"},
        ],
    )
    async def test_its_own_pages_listed_ones_and_programs_may_ask(
        self, guarded: Served, headers: dict[str, str]
    ) -> None:
        sent = {name: value.format(port=guarded.port) for name, value in headers.items()}
        response = await guarded.post(MUTATION, **sent)
        assert response.json() == {"data": {"record": "made"}}

    @pytest.mark.parametrize(
        "headers",
        [
            {"origin": EVIL},
            {"origin": "null"},
            {"origin": "http://127.0.0.1:1"},
            {"origin": EVIL, "sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site"},
            {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
            {"origin": "https://app.example.evil.example"},
            {"origin": "http://app.example"},
        ],
    )
    async def test_pages_of_other_origins_may_not(self, guarded: Served, headers: dict[str, str]) -> None:
        # when
        posted = await guarded.post(MUTATION, **headers)
        got = await guarded.http.get(guarded.url, params={"query": "{ hello }"}, headers=headers)

        # then
        for response in (posted, got):
            assert response.status_code == 403
            assert list(response.json()) == ["errors"]
            assert response.json()["errors"][0]["extensions"] == {"code": "FORBIDDEN"}
            assert "access-control-allow-origin" not in response.headers
        assert (guarded.toy.context.calls, guarded.toy.made) == ([], 0)

    @pytest.mark.parametrize(
        "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
    )
    async def test_what_a_form_can_send_is_refused_by_its_type(self, guarded: Served, content_type: str) -> None:
        response = await guarded.post(MUTATION, content_type=content_type)
        assert (response.status_code, guarded.toy.context.calls) == (415, [])

    async def test_a_socket_is_for_the_same_pages(self, guarded: Served) -> None:
        protocols: Any = {"subprotocols": ["graphql-transport-ws"]}
        for origin in (APP, f"http://127.0.0.1:{guarded.port}", None):
            async with connect(guarded.socket_url, origin=origin, **protocols) as socket:  # type: ignore[arg-type]
                assert socket.subprotocol == "graphql-transport-ws"
        for origin in (EVIL, "null", "http://127.0.0.1:1"):
            with pytest.raises(InvalidStatus) as refused:
                await connect(guarded.socket_url, origin=origin, **protocols)  # type: ignore[arg-type]
            assert refused.value.response.status_code == 403


class TestCors:
    async def preflight(self, served: Served, origin: str, method: str = "POST") -> httpx.Response:
        asked = {
            "access-control-request-method": method,
            "access-control-request-headers": "authorization, content-type",
        }
        return await served.http.options(
            served.url, headers={"origin": origin, "sec-fetch-site": "cross-site", **asked}
        )

    async def test_a_listed_origin_may_send_and_read(self, guarded: Served) -> None:
        # when
        preflight = await self.preflight(guarded, APP)
        response = await guarded.post({"query": "{ hello }"}, origin=APP, sec_fetch_site="cross-site")

        # then
        assert preflight.status_code == 200
        for answer in (preflight, response):
            assert answer.headers["access-control-allow-origin"] == APP
            assert answer.headers["access-control-allow-credentials"] == "true"
            assert "Origin" in answer.headers["vary"]
        assert preflight.headers["access-control-allow-methods"] == "GET, POST"
        assert {"authorization", "content-type"} <= set(preflight.headers["access-control-allow-headers"].split(", "))
        assert "x-request-id" in response.headers["access-control-expose-headers"]
        assert response.json() == {"data": {"hello": "hello world"}}

    async def test_a_refusal_can_be_read_too(self, guarded: Served) -> None:
        response = await guarded.post("no json", origin=APP)
        assert (response.status_code, response.headers["access-control-allow-origin"]) == (400, APP)

    async def test_no_other_origin_gets_a_word(self, guarded: Served) -> None:
        for answer in (await self.preflight(guarded, EVIL), await guarded.post({"query": "{ hello }"}, origin=EVIL)):
            assert answer.status_code in (400, 403)
            assert "access-control-allow-origin" not in answer.headers
        assert (await self.preflight(guarded, APP, "PUT")).status_code == 400

    async def test_it_is_closed_without_a_list(self) -> None:
        async with serving(perimeter=Perimeter()) as served:
            answers = [await self.preflight(served, EVIL), await served.post({"query": "{ hello }"}, origin=EVIL)]
        for answer in answers:
            assert answer.status_code == 403
            assert not [name for name in answer.headers if name.startswith("access-control-")]

    async def test_all_origins_get_no_credentials(self) -> None:
        async with serving(perimeter=Perimeter(origins=("*",)), allowed_origins=("*",)) as served:
            preflight = await self.preflight(served, EVIL)
            response = await served.post({"query": "{ hello }"}, origin=EVIL, cookie="session=1")
        assert response.json() == {"data": {"hello": "hello world"}}
        for answer in (preflight, response):
            assert answer.headers["access-control-allow-origin"] == "*"
            assert "access-control-allow-credentials" not in answer.headers


class TestAnswers:
    async def test_every_answer_has_the_security_headers_and_an_id(self, guarded: Served) -> None:
        # when
        base = f"http://127.0.0.1:{guarded.port}"
        answers = [
            await guarded.post({"query": "{ hello }"}),
            await guarded.post({"query": "{ leaf { ... @defer { slow } } }"}, accept="multipart/mixed"),
            await guarded.post({"query": "subscription { count }"}, accept="text/event-stream"),
            await guarded.post("no json"),
            await guarded.post({"query": "{ hello }"}, origin=EVIL),
            await guarded.http.get(f"{base}/nowhere"),
            await guarded.http.get(f"{base}/broken"),
            await guarded.http.get(f"{base}/who", headers={"host": "evil.example"}),
        ]

        # then
        assert [answer.status_code for answer in answers] == [200, 200, 200, 400, 403, 404, 500, 421]
        for answer in answers:
            for name, value in SECURITY_HEADERS.items():
                also = {"no-store, no-transform"} if name == "Cache-Control" else set()
                assert answer.headers[name] in {value} | also
            assert "strict-transport-security" not in answer.headers
            assert "server" not in answer.headers
            assert "hunter2" not in answer.text
            assert answer.headers["x-request-id"]
        assert answers[6].json() == {
            "errors": [
                {
                    "message": "Internal error",
                    "extensions": {"code": "INTERNAL", "requestId": answers[6].headers["x-request-id"]},
                }
            ]
        }

    async def test_strict_transport_security_is_for_a_server_behind_tls(self) -> None:
        async with serving(perimeter=perimeter(settings(tls_in_front=True))) as served:
            response = await served.post({"query": "{ hello }"})
        assert response.headers["strict-transport-security"] == "max-age=31536000"

    @pytest.mark.parametrize(
        ("trusted", "seen"),
        [((), "127.0.0.1 http"), (("10.0.0.0/8",), "127.0.0.1 http"), (("127.0.0.0/8",), "1.2.3.4 https")],
    )
    async def test_only_a_trusted_proxy_is_believed(
        self, trusted: tuple[str, ...], seen: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # given uvicorn's own variable, which would believe everyone
        monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
        async with serving(routes=ROUTES, trusted_proxies=settings(trusted_proxies=trusted).trusted_proxies) as served:
            # when
            response = await served.http.get(
                f"http://127.0.0.1:{served.port}/who",
                headers={"x-forwarded-for": "9.9.9.9, 1.2.3.4", "x-forwarded-proto": "https"},
            )
        # then
        assert response.text == seen


class TestSettings:
    @pytest.mark.parametrize(
        "values",
        [
            {"cors_origins": ("app.example",)},
            {"cors_origins": ("https://app.example/path",)},
            {"allowed_hosts": ("https://api.example",)},
            {"allowed_hosts": ("api.example:443",)},
            {"trusted_proxies": ("*",)},
            {"trusted_proxies": ("proxy.example",)},
            {"agent_allow": ("*",)},
            {"agent_deny": ("10.0.0.1/8",)},
            {"agent_private_networks": "maybe"},
        ],
    )
    def test_a_value_that_means_nothing_is_refused(self, values: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            settings(**values)

    def test_lists_come_with_commas(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NEXTFIRE_CORS_ORIGINS", f"{APP}, https://B.example:443 ,")
        monkeypatch.setenv("NEXTFIRE_ALLOWED_HOSTS", "api.example,*.apis.example")
        found = settings()
        assert found.cors_origins == (APP, "https://b.example")
        assert answered_hosts(found) == HostList(frozenset({"api.example", "*.apis.example"}))
