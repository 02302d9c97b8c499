"""What pages of other origins can do to the API, tried by a real browser."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from nextfire.playground_routes import playground_routes
from nextfire.transport import Perimeter
from services.outbound import HostList
from tests.nextfire.transport.conftest import Served, serving
from tests.web.chromium import QUIET, find_chromium

# Every name leads to this machine, as an attacker's may.
NAMES = "--host-resolver-rules=MAP *.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"

# Each answers what the page got to see, or that it saw nothing.
FETCH = """async ([url, options]) => {
  try {
    const response = await fetch(url, options);
    return {status: response.status, id: response.headers.get('x-request-id'), text: await response.text()};
  } catch (error) { return {error: error.name}; }
}"""
FORM = """async ([url, enctype, method]) => {
  const frame = document.body.appendChild(Object.assign(document.createElement('iframe'), {name: 'f'}));
  const form = document.body.appendChild(document.createElement('form'));
  Object.assign(form, {action: url, method, enctype, target: 'f'});
  const input = Object.assign(document.createElement('input'), {name: '{"query":"mutation { record(call: \\\\"form\\\\") }","a', value: '"}'});
  form.append(input, Object.assign(document.createElement('input'), {name: 'query', value: 'mutation { record(call: "form") }'}));
  form.submit();
}"""  # noqa: E501 - as a page would have it
SOCKET = """(url) => new Promise((resolve) => {
  const socket = new WebSocket(url, 'graphql-transport-ws');
  socket.onopen = () => { socket.close(); resolve('open'); };
  socket.onerror = () => resolve('refused');
})"""
EVENTS = """(url) => new Promise((resolve) => {
  const events = new EventSource(url);
  events.addEventListener('next', (event) => { events.close(); resolve(event.data); });
  events.onerror = () => { events.close(); resolve('refused'); };
})"""
SCRIPT = """(url) => new Promise((resolve) => {
  const script = Object.assign(document.createElement('script'), {src: url});
  script.onload = () => resolve('loaded');
  script.onerror = () => resolve('refused');
  document.head.append(script);
})"""

POST = {"method": "POST", "headers": {"content-type": "application/json"}, "body": '{"query":"{ hello }"}'}


@dataclass
class Site:
    """The API, and the pages of others, all of them on one server by different names."""

    served: Served
    browser: Browser
    asked: list[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.served.port}/graphql/"

    @asynccontextmanager
    async def page(self, host: str, path: str = "/page") -> AsyncIterator[Page]:
        context = await self.browser.new_context()
        page = await context.new_page()
        await page.goto(f"http://{host}:{self.served.port}{path}")
        yield page
        await context.close()

    async def passed(self) -> None:
        """Wait until what pages have sent before this was answered."""
        async with self.page("127.0.0.1") as page:
            await page.evaluate(FETCH, [self.url, POST])


class OtherNames:
    """Serves the pages of the *.test names, before the API would refuse to answer to them."""

    def __init__(self, app: Any, asked: list[str]) -> None:
        self._app, self._asked = app, asked

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            request = Request(scope)
            if request.url.path.startswith("/graphql"):
                self._asked.append(f"{request.method} {request.headers.get('origin')}")
            elif request.url.path == "/page":
                await page_of_others(request)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def page_of_others(_: Request) -> Response:
    return HTMLResponse("<!doctype html><title>A page</title><link rel=icon href=data:,><body></body>")


@pytest.fixture(scope="module")
async def liar() -> AsyncIterator[Browser]:
    """A browser for which every name leads to this machine."""
    async with async_playwright() as playwright:
        arguments = [each for each in QUIET if "host-resolver" not in each] + [NAMES]
        chromium = await playwright.chromium.launch(executable_path=find_chromium(), args=arguments)
        yield chromium
        await chromium.close()


@pytest.fixture
async def site(liar: Browser) -> AsyncIterator[Site]:
    """An API on loopback with the pages of others on the same port, as after a name was made to lead here."""
    asked: list[str] = []
    perimeter = Perimeter(HostList())
    async with serving(
        perimeter=perimeter,
        routes=playground_routes(),
        around=lambda app: OtherNames(app, asked),
    ) as served:
        yield Site(served, liar, asked)


async def test_a_page_elsewhere_can_neither_read_nor_change(site: Site) -> None:
    async with site.page("evil.test") as page:
        # when it tries all that pages can do
        simple = {"method": "POST", "mode": "no-cors", "credentials": "include", "body": '{"query":"mutation{x}"}'}
        posted = await page.evaluate(FETCH, [site.url, POST])
        plain = await page.evaluate(FETCH, [site.url, {**POST, "headers": {"content-type": "text/plain"}}])
        blind = await page.evaluate(FETCH, [site.url, simple])
        got = await page.evaluate(FETCH, [f"{site.url}?query={{hello}}", {}])
        events = await page.evaluate(EVENTS, f"{site.url}?query=subscription{{count}}")
        script = await page.evaluate(SCRIPT, f"{site.url}?query={{hello}}")
        socket = await page.evaluate(SOCKET, site.url.replace("http", "ws"))
        for enctype in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            await page.evaluate(FORM, [site.url, enctype, "post"])
        await page.evaluate(FORM, [site.url, "text/plain", "get"])
        await site.passed()

    # then it gets nothing, and nothing ran
    assert posted == plain == got == {"error": "TypeError"}
    assert blind.get("text", "") == ""
    assert (events, script, socket) == ("refused", "refused", "refused")
    assert site.served.toy.context.calls == []
    assert site.served.toy.made == 1  # for the page of its own that was waited for
    assert "POST null" in site.asked or f"POST http://evil.test:{site.served.port}" in site.asked


async def test_a_name_that_leads_here_is_not_answered_to(site: Site) -> None:
    # given a page whose own name leads to the API by now: for the browser they are of one origin
    async with site.page("rebound.test") as page:
        own = f"http://rebound.test:{site.served.port}/graphql/"
        # when
        posted = await page.evaluate(FETCH, [own, {**POST, "body": '{"query":"mutation { record(call: \\"x\\") }"}'}])
        socket = await page.evaluate(SOCKET, own.replace("http", "ws"))
        home = await page.evaluate(FETCH, [f"http://rebound.test:{site.served.port}/", {}])

    # then
    assert (posted["status"], home["status"], socket) == (421, 421, "refused")
    assert (site.served.toy.context.calls, site.served.toy.made) == ([], 0)


async def test_its_own_pages_may_do_everything(site: Site) -> None:
    for host in ("127.0.0.1", "localhost"):
        async with site.page(host) as page:
            own = f"http://{host}:{site.served.port}/graphql/"
            posted = await page.evaluate(FETCH, [own, POST])
            events = await page.evaluate(EVENTS, f"{own}?query=subscription{{count}}")
            socket = await page.evaluate(SOCKET, own.replace("http", "ws"))
        assert (posted["status"], posted["text"]) == (200, '{"data":{"hello":"hello world"}}')
        assert (events, socket) == ('{"data":{"count":0}}', "open")


async def test_a_listed_page_may_ask_and_read(liar: Browser) -> None:
    # given a server whose list holds the page of another
    async with serving(routes=[Route("/page", page_of_others)]) as other:
        app = f"http://app.test:{other.port}"
        async with serving(perimeter=Perimeter(HostList(), (app,)), allowed_origins=(app,)) as served:
            site = Site(other, liar, [])
            async with site.page("app.test") as page:
                # when
                url = f"http://127.0.0.1:{served.port}/graphql/"
                with_key = {**POST["headers"], "authorization": "Bearer key"}  # type: ignore[dict-item]
                posted = await page.evaluate(FETCH, [url, {**POST, "headers": with_key, "credentials": "include"}])
                socket = await page.evaluate(SOCKET, url.replace("http", "ws"))
                events = await page.evaluate(EVENTS, f"{url}?query=subscription{{count}}")

    # then it reads the answer and its id
    assert (posted["status"], posted["text"], socket) == (200, '{"data":{"hello":"hello world"}}', "open")
    assert posted["id"]
    assert events == '{"data":{"count":0}}'
