"""The API under attack: a process with API keys and limits, two accounts, and what every answer is looked at for."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil

from tests.no_tls import NO_TLS
from tests.programs import Api
from tests.waiting import PATIENCE

SECRET = "planted-secret-of-another-account"
"""In the name, the input, the labels and the metadata of what the attacker may not see."""

MOST_CPU_SECONDS = 2.0
"""What one input may cost the server: far above what any does, and far below what a superlinear one would."""

MOST_GROWTH = 128 * 2**20
"""Bytes by which the server's memory may grow over all inputs together."""

# What no answer may hold: another account's data, Python's and Postgres's own words, and names of types in our code.
LEAKS = (
    re.compile(SECRET),
    re.compile(r"Traceback|File \"|\.py\b|site-packages"),
    re.compile(r"Maybe\[|NoneType|object of type|'(?:str|int|dict|list)' object|<class "),
    re.compile(r"asyncpg|sqlalchemy|psycopg|SELECT .* FROM|strawberry|graphql-core", re.IGNORECASE),
    # and of the schema, which the attacker may not read
    re.compile(r"Did you mean|Cannot query field|(?:on|of|of non-null) type '|must (?:not )?have a selection"),
    re.compile(r"Unknown (?:type|argument|directive)|does not exist in '|to include required field"),
)


@dataclass
class Report:
    """The figures of docs/attacks.md."""

    inputs: int = 0
    leaks: list[str] = field(default_factory=list)
    worst_cpu: float = 0.0
    worst_input: str = ""
    worst_wait: float = 0.0
    most_memory: int = 0

    def cost(self, name: str, seconds: float) -> None:
        if seconds > self.worst_cpu:
            self.worst_cpu, self.worst_input = seconds, name

    def lines(self) -> list[str]:
        return [
            f"inputs tried: {self.inputs:,}",
            f"leaks: {len(self.leaks)}",
            f"worst time of one input: {self.worst_cpu * 1000:.0f} ms of CPU ({self.worst_input})",
            f"longest wait of a bystander meanwhile: {self.worst_wait * 1000:.0f} ms",
            f"most memory of the server: {self.most_memory / 2**20:.0f} MiB",
        ]


@dataclass(frozen=True)
class Target:
    """A running API, and the keys of the one who attacks it and of one who only uses it."""

    api: Api
    attacker: str
    bystander: str
    report: Report

    @property
    def process(self) -> psutil.Process:
        return psutil.Process(self.api.child.pid)

    def client(self) -> httpx.AsyncClient:
        """A new client of the attacker's."""
        return httpx.AsyncClient(
            base_url=self.api.url,
            headers={"authorization": f"Bearer {self.attacker}"},
            timeout=PATIENCE,
            trust_env=False,
            verify=NO_TLS,
        )

    def look_at(self, text: str) -> None:
        """Count an input, and look for leaks in its answer."""
        self.report.inputs += 1
        for leak in LEAKS:
            found = leak.search(text)
            if found:
                self.report.leaks.append(found.group())
                raise AssertionError(f"{found.group()!r} must not be in an answer: {text[:400]}")

    async def post(self, body: Any, **headers: str) -> httpx.Response:
        """The answer to one request of the attacker; bytes and text go as they are, all else as JSON."""
        content = {"content": body} if isinstance(body, bytes | str) else {"json": body}
        async with self.client() as client:
            sent = {"content-type": "application/json", "accept": "application/graphql-response+json"} | headers
            response = await client.post("/graphql", headers=sent, **content)
        self.look_at(response.text)
        return response

    @asynccontextmanager
    async def measured(self, name: str) -> AsyncIterator[None]:
        """Hold what happens in the block to its bounds, while a bystander is served."""
        before = self._cpu()
        async with self._bystander():
            yield
        spent = self._cpu() - before
        memory = self.process.memory_info().rss
        self.report.cost(name, spent)
        self.report.most_memory = max(self.report.most_memory, memory)
        assert spent < MOST_CPU_SECONDS, f"{name} cost {spent:.2f} s of the server's CPU"

    @asynccontextmanager
    async def _bystander(self) -> AsyncIterator[None]:
        """Someone else asks all the time, and is answered each time."""
        task = asyncio.create_task(self._ask_on())
        try:
            yield
            await self.serve_bystander()
            assert not task.done(), task.exception()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _ask_on(self) -> None:
        while True:
            await self.serve_bystander()
            await asyncio.sleep(0.1)

    async def serve_bystander(self) -> None:
        """One request of someone else, and its good answer."""
        clock = asyncio.get_running_loop().time
        began = clock()
        headers = {"authorization": f"Bearer {self.bystander}"}
        async with httpx.AsyncClient(base_url=self.api.url, timeout=PATIENCE, trust_env=False, verify=NO_TLS) as client:
            response = await client.post(
                "/graphql", json={"query": "{ schedules { nodes { name } } }"}, headers=headers
            )
        assert response.json()["data"]["schedules"]["nodes"] == [{"name": SECRET}], response.text
        self.report.worst_wait = max(self.report.worst_wait, clock() - began)

    def _cpu(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)
