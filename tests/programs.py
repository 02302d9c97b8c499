"""The product's programs as child processes, as they run in production."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from cryptography.fernet import Fernet

from nextfire import processes
from nextfire.processes import Child, accepts, free_port
from tests.no_tls import NO_TLS
from tests.waiting import PATIENCE

READY_SECONDS = 120
PATIENT = {"NEXTFIRE_TEMPORAL_READ_BUDGET_SECONDS": "8", "NEXTFIRE_TEMPORAL_WRITE_BUDGET_SECONDS": "8"}
"""What a busy machine may take to answer."""


@dataclass(frozen=True)
class Api:
    """A running `nextfire serve`."""

    child: Child
    url: str

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The whole answer, errors included."""
        answer: dict[str, Any] = self.post({"query": query, "variables": variables}).json()
        return answer

    def post(self, body: Any) -> httpx.Response:
        return httpx.post(f"{self.url}/graphql", json=body, timeout=PATIENCE, trust_env=False, verify=NO_TLS)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=PATIENCE, trust_env=False, verify=NO_TLS)


def environment(database_url: str, temporal_address: str, **values: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TEMPORAL_", "NEXTFIRE_"))}
    return {
        **inherited,
        "DATABASE_URL": database_url,
        "TEMPORAL_ADDRESS": temporal_address,
        "TEMPORAL_CONFIG_FILE": os.devnull,
        "ENABLE_AGENT_RUN_SCHEDULES": "true",
        "NEXTFIRE_AUTH": "open",
        "NEXTFIRE_SECRET_KEY": Fernet.generate_key().decode(),
        "NEXTFIRE_AGENT_PRIVATE_NETWORKS": "allow",
        **PATIENT,
        "PYTHONUNBUFFERED": "1",
        **values,
    }


@contextmanager
def program(name: str, log: Path, variables: Mapping[str, str]) -> Iterator[Child]:
    """`nextfire {name}`, ended by SIGTERM at the end of the block."""
    child = Child(name, [sys.executable, "-m", "nextfire", name], log / f"{name}.log", environment=variables)
    with processes.running(child, grace_seconds=PATIENCE):
        yield child


@contextmanager
def api(log: Path, variables: Mapping[str, str]) -> Iterator[Api]:
    """`nextfire serve` on a free port, once it answers."""
    port = free_port()
    with program("serve", log, {**variables, "NEXTFIRE_PORT": str(port)}) as child:
        running = Api(child, f"http://127.0.0.1:{port}")
        child.wait_until(lambda: answers(running), READY_SECONDS)
        yield running


def answers(running: Api) -> bool:
    try:
        return running.get("/healthz").status_code == 200
    except httpx.HTTPError:
        return False


def status_of(running: Api, path: str) -> int:
    return running.get(path).status_code


@contextmanager
def demo_agent(logs: Path) -> Iterator[str]:
    """The SYNC demo agent on a free port; its URL."""
    port = free_port()
    command = [sys.executable, "-m", "nextfire.demo_agents", "sync", "--port", str(port)]
    with processes.running(Child("agent", command, logs / "agent.log")) as child:
        child.wait_until(lambda: accepts(port), READY_SECONDS)
        yield f"http://127.0.0.1:{port}"
