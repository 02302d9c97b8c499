"""The routes of the playground, over a small build of the tests' own."""

import gzip
from base64 import b64encode
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from nextfire.playground_routes import SECURITY_HEADERS, playground_routes

PAGE = b"<!doctype html><title>Nextfire</title>"
SCRIPT = b"console.info('a script')\n" * 100


@pytest.fixture
def build(tmp_path: Path) -> Path:
    assets = tmp_path / "playground" / "assets"
    assets.mkdir(parents=True)
    (assets.parent / "index.html").write_bytes(PAGE)
    (assets / "index-CaK7NjcH.js").write_bytes(SCRIPT)
    (assets / "index-CaK7NjcH.js.gz").write_bytes(gzip.compress(SCRIPT))
    for name in ("style-1.css", "icon-1.svg", "icons-1.ttf", "text-1.woff2", "notes.md", ".hidden.js"):
        (assets / name).write_bytes(b"some content")
    (tmp_path / "secret.js").write_text("not to be served")
    return assets.parent


@pytest.fixture
async def client(build: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(build) as client:
        yield client


def client_of(directory: Path) -> httpx.AsyncClient:
    app = Starlette(routes=playground_routes(directory))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://nextfire")


def is_secure(response: httpx.Response) -> bool:
    return SECURITY_HEADERS.items() <= {(name, response.headers.get(name)) for name in SECURITY_HEADERS}


async def test_page_is_asked_for_anew_each_time(client: httpx.AsyncClient) -> None:
    response = await client.get("/")

    assert (response.status_code, response.content) == (200, PAGE)
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert is_secure(response)


async def test_policy_lets_scripts_come_from_the_api_alone(client: httpx.AsyncClient) -> None:
    policy = (await client.get("/")).headers["content-security-policy"].split("; ")

    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert not [source for source in policy if "http" in source or "*" in source or "unsafe-eval" in source]


@pytest.mark.parametrize("path", ["/", "/assets/index-CaK7NjcH.js"])
async def test_known_content_is_not_sent_again(client: httpx.AsyncClient, path: str) -> None:
    etag = (await client.get(path)).headers["etag"]

    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        response = await client.get(path, headers={"If-None-Match": known})
        assert (response.status_code, response.content) == (304, b"")
        assert response.headers["etag"] == etag
    assert (await client.get(path, headers={"If-None-Match": '"other"'})).status_code == 200


async def test_changed_page_has_another_etag(client: httpx.AsyncClient, build: Path) -> None:
    before = (await client.get("/")).headers["etag"]

    (build / "index.html").write_bytes(PAGE + b"<p>")

    response = await client.get("/", headers={"If-None-Match": before})
    assert (response.status_code, response.content) == (200, PAGE + b"<p>")


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("index-CaK7NjcH.js", "text/javascript; charset=utf-8"),
        ("style-1.css", "text/css; charset=utf-8"),
        ("icon-1.svg", "image/svg+xml"),
        ("icons-1.ttf", "font/ttf"),
        ("text-1.woff2", "font/woff2"),
    ],
)
async def test_asset_is_kept_for_ever(client: httpx.AsyncClient, name: str, content_type: str) -> None:
    response = await client.get(f"/assets/{name}")

    assert response.status_code == 200
    assert response.headers["content-type"] == content_type
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert is_secure(response)


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [("gzip, br", "gzip"), ("br, gzip;q=0.5", "gzip"), ("gzip;q=0", None), ("identity", None), ("", None)],
)
async def test_packed_asset_is_sent_to_who_takes_it(
    client: httpx.AsyncClient, accepted: str, encoding: str | None
) -> None:
    response = await client.get("/assets/index-CaK7NjcH.js", headers={"Accept-Encoding": accepted})

    assert response.content == SCRIPT
    assert response.headers.get("content-encoding") == encoding
    assert response.headers["vary"] == "Accept-Encoding"
    assert response.headers["etag"] == ('"index-CaK7NjcH.js.gz"' if encoding else '"index-CaK7NjcH.js"')


@pytest.mark.parametrize(
    "path",
    [
        "/assets/%2e%2e",
        "/assets/..%2Findex.html",
        "/assets/..%2F..%2Fsecret.js",
        "/assets/..%5C..%5Csecret.js",
        "/assets/%2Fetc%2Fpasswd",
        "/assets//etc/passwd",
        "/assets/index-CaK7NjcH.js%00.css",
        "/assets/.hidden.js",
        "/assets/notes.md",
        "/assets/index-CaK7NjcH.js.gz",
        "/assets/absent.js",
        "/assets/%0A.js",
        "/assets/",
        "/index.html",
    ],
)
async def test_nothing_else_is_served(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)

    assert (response.status_code, response.text) in [(404, "Not found"), (404, "Not Found")]


async def test_only_reading_is_allowed(client: httpx.AsyncClient) -> None:
    assert (await client.post("/")).status_code == 405
    assert (await client.head("/")).status_code == 200


async def test_page_without_a_build_says_how_to_make_one(tmp_path: Path) -> None:
    async with client_of(tmp_path / "absent") as client:
        response = await client.get("/")

    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    assert "<code>make playground</code>" in response.text
    assert "<code>/graphql</code>" in response.text
    assert "<script" not in response.text
    style = response.text.partition("<style>")[2].partition("</style>")[0]
    digest = b64encode(sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in response.headers["content-security-policy"]
    assert "script-src" not in response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_build_made_while_the_server_runs_is_found(tmp_path: Path) -> None:
    async with client_of(tmp_path) as client:
        assert (await client.get("/")).content != PAGE
        (tmp_path / "index.html").write_bytes(PAGE)
        assert (await client.get("/")).content == PAGE
