"""The way to the endpoint that does not pass the router."""

from starlette.types import ASGIApp, Receive, Scope, Send


class Shortcut:
    """Leads HTTP requests of one path straight to its endpoint.

    They pass by the router, and by what answers the exceptions of routes: an endpoint that is reached so answers every
    method and every error itself.
    """

    def __init__(self, app: ASGIApp, *, path: str, endpoint: ASGIApp) -> None:
        self._app = app
        self._path = path
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == self._path:
            await self._endpoint(scope, receive, send)
        else:
            await self._app(scope, receive, send)
