"""The playground: GraphiQL, built by `web/` into static files that the API serves from its own origin."""

import re
from asyncio import to_thread
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

BUILD = Path(__file__).parent / "playground"

# The editor writes <style> elements and style attributes, and has its icons as data: addresses in style
# sheets.
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "worker-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "font-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)

SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

# Not `mimetypes`, which asks the machine: some say that a script is text/plain, and browsers then refuse it.
CONTENT_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".ttf": "font/ttf",
    ".woff2": "font/woff2",
}

ASSET_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")

ABSENT_STYLE = """
:root { color-scheme: light dark; font: 1.05rem/1.6 system-ui, sans-serif }
body { max-width: 36rem; margin: 15vh auto 0; padding: 0 1.5rem }
h1 { font-size: 1.5rem }
code { padding: .15em .4em; border-radius: .3em; background: #8883 }
"""

ABSENT_PAGE = f"""<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Nextfire</title>
    <link rel="icon" href="data:,">
    <style>{ABSENT_STYLE}</style>
  </head>
  <body>
    <h1>Nextfire is running</h1>
    <p>The GraphQL API is at <a href="graphql"><code>/graphql</code></a>, for queries and mutations over HTTP
      and for subscriptions over a WebSocket.</p>
    <p>The playground has not been built here. Run <code>make playground</code>, then load this page again;
      the server need not be restarted.</p>
  </body>
</html>
"""

ABSENT_POLICY = "; ".join(
    [
        "default-src 'none'",
        "style-src 'sha256-{style}'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)


def playground_routes(directory: Path = BUILD) -> list[Route]:
    """`/` and `/assets/…`, from the build in `directory`; without a build, `/` says how to make one."""
    files = _Files(directory)
    return [Route("/", files.page), Route("/assets/{name}", files.asset)]


class _Files:
    """Looks for the build at each request, so that one made while the server runs is found."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def page(self, request: Request) -> Response:
        try:
            content = await to_thread((self._directory / "index.html").read_bytes)
        except FileNotFoundError:
            return _absent_page()
        headers = SECURITY_HEADERS | {
            "Cache-Control": "no-cache",
            "ETag": f'"{sha256(content).hexdigest()[:32]}"',
        }
        return _not_modified(request, headers) or HTMLResponse(content, headers=headers)

    async def asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        path = self._directory / "assets" / name
        content_type = CONTENT_TYPES.get(path.suffix)
        if not ASSET_NAME.fullmatch(name) or content_type is None or not await to_thread(path.is_file):
            return PlainTextResponse("Not found", 404, SECURITY_HEADERS | {"Cache-Control": "no-store"})
        headers = SECURITY_HEADERS | {
            "Cache-Control": "public, max-age=31536000, immutable",
            "ETag": f'"{name}"',
            "Vary": "Accept-Encoding",
        }
        packed = path.with_name(f"{name}.gz")
        if _accepts_gzip(request) and await to_thread(packed.is_file):
            path = packed
            headers |= {"Content-Encoding": "gzip", "ETag": f'"{packed.name}"'}
        return _not_modified(request, headers) or FileResponse(path, headers=headers, media_type=content_type)


def _absent_page() -> Response:
    style = b64encode(sha256(ABSENT_STYLE.encode()).digest()).decode()
    policy = ABSENT_POLICY.format(style=style)
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store"}
    return HTMLResponse(ABSENT_PAGE, headers=SECURITY_HEADERS | headers)


def _not_modified(request: Request, headers: dict[str, str]) -> Response | None:
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if headers["ETag"] in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return None


def _accepts_gzip(request: Request) -> bool:
    for coding in request.headers.get("accept-encoding", "").lower().split(","):
        name, _, parameters = coding.partition(";")
        if name.strip() == "gzip":
            return re.fullmatch(r"\s*q=0(\.0*)?\s*", parameters) is None
    return False
