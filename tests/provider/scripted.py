"""An authorization provider whose every answer is scripted: a real HTTP server that can also break HTTP on purpose."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.agents.scripted import Answer, Received, ScriptedAgent

AUTHN = "/v1/authn"
CHECK = "/v1/authz/check"
GRANT = "/v1/authz/grant"
REVOKE = "/v1/authz/revoke"
REGISTER = "/v1/authz/register"
DEREGISTER = "/v1/authz/deregister"
SEARCH = "/v1/authz/search"

PATHS = (AUTHN, CHECK, GRANT, REVOKE, REGISTER, DEREGISTER, SEARCH)


def answer(value: object, status: int = 200) -> Answer:
    return Answer(status=status, body=json.dumps(value).encode(), headers=(("content-type", "application/json"),))


@dataclass(frozen=True)
class Asked:
    """One question, as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def short(self) -> str:
        """`check agent:… execute`, to compare whole conversations by."""
        asked = self.json
        resource, operation = asked.get("resource"), asked.get("operation", "")
        about = f"{resource['type']}:{resource['selector']}" if resource else asked["filter_resource"]
        return f"{self.path.rpartition('/')[2]} {about} {operation}".rstrip()


Decide = Callable[[dict[str, Any], str, str, str], bool]


def everything(_principal: dict[str, Any], _type: str, _selector: str, _operation: str) -> bool:
    return True


@dataclass
class ScriptedProvider(ScriptedAgent):
    """Knows the principals of `tokens`, decides by `decide`, and lists by the same among what `decide` is asked about.

    `broken` holds, by path, what is answered in place of all that.
    """

    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)
    decide: Decide = everything
    unscoped: bool = False
    """Whether a search answers that nothing needs to be filtered."""
    registered: set[tuple[str, str]] = field(default_factory=set)
    broken: dict[str, Answer] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def of_path(self, *paths: str) -> list[Asked]:
        return [asked for asked in self.asked if asked.path in paths]

    def shorts(self, *paths: str) -> list[str]:
        """What was asked, in order; of all paths but authn where none is named."""
        return [asked.short for asked in self.asked if asked.path in (paths or PATHS[1:])]

    async def _taken(self, received: Received) -> Answer:
        async with self._changed:
            asked = Asked(received.path, received.headers, received.body)
            self.asked.append(asked)
            self._changed.notify_all()
        return self.broken.get(asked.path) or self._answered(asked)

    def _answered(self, asked: Asked) -> Answer:
        if asked.path == AUTHN:
            token = asked.headers.get("authorization", "").removeprefix("Bearer ")
            return answer(self.tokens[token]) if token in self.tokens else answer({"detail": "who?"}, 401)
        body = asked.json
        if asked.path == SEARCH:
            return answer({"unscoped": True} if self.unscoped else {"items": self._found(body)})
        key = (body["resource"]["type"], body["resource"]["selector"])
        if asked.path == REGISTER:
            self.registered.add(key)
        if asked.path == DEREGISTER:
            self.registered.discard(key)
        allowed = asked.path != CHECK or self.decide(body["principal"], *key, body["operation"])
        return answer(None) if allowed else answer({"detail": "no"}, 403)

    def _found(self, body: dict[str, Any]) -> list[str]:
        wanted, operation = body["filter_resource"], body["filter_operation"]
        return [
            selector
            for kind, selector in sorted(self.registered)
            if kind == wanted and self.decide(body["principal"], kind, selector, operation)
        ]


def principal(user: str, account: str = "acme", **metadata: Any) -> dict[str, Any]:
    """A principal in the form of the contract."""
    return {
        "principal_type": "user",
        "user_id": user,
        "service_account_id": None,
        "account_id": account,
        "metadata": metadata,
    }
