"""Which web pages may talk to the endpoint.

A browser says where a request comes from: by Sec-Fetch-Site, and older ones by Origin. A request that names neither
does not come from a page, or is a plain GET, which changes nothing and whose answer the page cannot read. What a form
could send without asking is refused by its content type anyway.
"""

from collections.abc import Iterable, Mapping

from strawberry.http.websocket_origin import is_same_origin, normalize_allowed_origins, normalize_origin

from nextfire.transport.refusal import Refusal

ANY = "*"
FOREIGN_ORIGIN = "FORBIDDEN"


class Origins:
    """The endpoint's own origin, and those that were listed; `*` stands for all. Raises ValueError for no origin."""

    def __init__(self, listed: Iterable[str]) -> None:
        self._listed = normalize_allowed_origins(list(listed))

    def check(self, headers: Mapping[str, str]) -> None:
        """Refuse a request from a page of another origin with 403."""
        if not self._permits(headers):
            raise Refusal(
                403,
                FOREIGN_ORIGIN,
                "Pages of this origin may not use the API. Its operator can list the origin in NEXTFIRE_CORS_ORIGINS.",
            )

    def _permits(self, headers: Mapping[str, str]) -> bool:
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if ANY in self._listed or (origin is not None and normalize_origin(origin) in self._listed):
            return True
        if site is not None:
            # `none`: the user's own doing, such as an address typed in.
            return site in ("same-origin", "none")
        return origin is None or is_same_origin(origin, headers.get("host"))
