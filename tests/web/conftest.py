"""A browser of the session, a page of the playground per test, and the stack that they look at."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvicorn
from playwright.async_api import Browser, async_playwright, expect

from nextfire.playground_routes import BUILD
from tests.web.chromium import QUIET, find_chromium
from tests.web.playground_page import PlaygroundPage
from tests.web.toy_api import toy_app

PATIENCE_MS = 30_000


@pytest.fixture(scope="session")
async def nextfire_url() -> AsyncIterator[str]:
    """The base URL of a running stack with an agent and a schedule, without a slash at its end."""
    assert (BUILD / "index.html").is_file(), "The playground is not built: run `make playground`."
    config = uvicorn.Config(toy_app(), host="127.0.0.1", port=0, log_level="warning", ws="websockets-sansio")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        assert not serving.done(), "The toy API did not start."
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    await serving


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=find_chromium(), args=QUIET)
        yield chromium
        await chromium.close()


@pytest.fixture
async def blank_page(browser: Browser, nextfire_url: str) -> AsyncIterator[PlaygroundPage]:
    """A page for the playground; when the test ends, it must have stayed on its host and had no problem."""
    context = await browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
    page = PlaygroundPage(await context.new_page(), nextfire_url)
    yield page
    page.assert_clean()
    await context.close()


@pytest.fixture
async def playground(blank_page: PlaygroundPage) -> PlaygroundPage:
    """The playground, open and ready."""
    await blank_page.open()
    return blank_page
