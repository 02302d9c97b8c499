"""The playground as a person uses it, in a browser page that keeps a record of what it did."""

import asyncio
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import ConsoleMessage, Page, Request, WebSocket, expect

from tests.waiting import eventually

Response = dict[str, Any]

TELL_OF_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (violation) =>
  console.error(`content security policy: ${violation.effectiveDirective} ${violation.blockedURI}`));
"""

# GraphiQL names its editor's models by the pane; the editor shows in the page only the lines in view.
READ_PANE = """
(name) => __MONACO.editor.getModels().find((model) => model.uri.path.includes(name)).getValue()
"""

WRITE_PANE = """
([name, text]) => __MONACO.editor.getModels().find((model) => model.uri.path.includes(name)).setValue(text)
"""

STORED_TAB = """
JSON.parse(localStorage.getItem("nextfire:graphiql:tabState") ?? "{}").activeTabIndex
"""

# In one turn of the page, so that GraphiQL has had no time to look at the text.
WRITE_AND_RUN = """
(text) => {
  const models = __MONACO.editor.getModels();
  models.find((model) => model.uri.path.includes("operation.graphql")).setValue(text);
  document.querySelector(".graphiql-execute-button").click();
}
"""


class PlaygroundPage:
    """One page of the playground at `url`."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.requested: list[str] = []
        self.problems: list[str] = []
        page.on("request", lambda request: self.requested.append(request.url))
        page.on("websocket", self._on_websocket)
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("requestfailed", self._on_failure)

    async def open(self, fragment: str = "") -> None:
        """Load the page, and wait until it knows the schema and stands ready to run an operation."""
        await self.page.add_init_script(TELL_OF_VIOLATIONS)
        await self.page.goto(f"{self.url}/{fragment}")
        await expect(self.page.get_by_role("button", name="Execute query")).to_be_visible()
        await expect(self.page.locator(".graphiql-query-editor .view-lines")).to_contain_text("query")
        await expect(self.page.locator(".graphiql-spinner")).to_have_count(0)

    async def tab_names(self) -> list[str]:
        return await self.page.get_by_role("tab").all_inner_texts()

    async def show_tab(self, name: str) -> None:
        await self.page.get_by_role("tab", name=name, exact=True).click()
        await expect(self.page.locator(".graphiql-query-editor .view-lines")).to_contain_text(name)

    async def run(self) -> None:
        await self.page.get_by_role("button", name="Execute query").click()

    async def stop(self) -> None:
        await self.page.get_by_role("button", name="Stop query").click()

    async def set_variables(self, variables: dict[str, Any]) -> None:
        # Not typed: the editor adds closing brackets of its own to what is typed.
        await self.page.evaluate(WRITE_PANE, ["variables.json", json.dumps(variables, indent=2)])

    async def set_headers(self, headers: dict[str, str]) -> None:
        await self.page.evaluate(WRITE_PANE, ["request-headers.json", json.dumps(headers, indent=2)])

    async def set_query(self, query: str) -> None:
        await self.page.evaluate(WRITE_PANE, ["operation.graphql", query])

    async def run_at_once(self, query: str) -> None:
        """Put the text into the editor, and run it before GraphiQL knows what it is."""
        await self.page.evaluate(WRITE_AND_RUN, query)

    async def variables(self) -> dict[str, Any]:
        return await self._pane("variables.json") or {}

    async def response(self, satisfies: Callable[[Response], object], seconds: float = 30) -> Response:
        """The response pane, as soon as what it holds satisfies the condition."""
        last: Response | None = None
        try:
            async with asyncio.timeout(seconds):
                while last is None or not satisfies(last):
                    await asyncio.sleep(0.05)
                    last = await self._pane("response.json")
        except TimeoutError:
            raise AssertionError(f"Not within {seconds} s; the response is {last}") from None
        return last

    async def stored(self, active_tab: int) -> str:
        """All that the browser keeps, once it keeps which tab is shown, and so what was entered before."""

        async def kept() -> str | None:
            if await self.page.evaluate(STORED_TAB) != active_tab:
                return None
            everything: str = await self.page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})")
            return everything

        return await eventually(kept)

    def assert_clean(self) -> None:
        """Nothing was asked of another host, and the browser had nothing to complain of."""
        own = urlsplit(self.url).netloc
        over_network = [url for url in self.requested if not url.startswith(("data:", "blob:"))]
        elsewhere = [url for url in over_network if urlsplit(url).netloc != own]
        assert elsewhere == [], elsewhere
        assert self.problems == [], self.problems

    async def _pane(self, name: str) -> dict[str, Any] | None:
        text: str = await self.page.evaluate(READ_PANE, name)
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            return None
        return value if isinstance(value, dict) else None

    def _on_failure(self, request: Request) -> None:
        # The page itself ends a multipart answer at its last part, and the browser calls that aborted.
        if request.failure != "net::ERR_ABORTED":
            self.problems.append(f"{request.failure}: {request.url}")

    def _on_websocket(self, socket: WebSocket) -> None:
        self.requested.append(socket.url)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"{message.type}: {message.text}")
