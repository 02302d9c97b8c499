"""The machine: which core is whose, and what it is called in the results."""

import os
import platform
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CAN_PIN = hasattr(os, "sched_setaffinity")


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if CAN_PIN else []


CORES = _cores()
SERVER_CORE = set(CORES[:1])
"""The core of the server that is measured; of one at a time, since the others wait."""
OTHER_CORES = set(CORES[1:]) or SERVER_CORE
"""The cores of Postgres, of Temporal and of who asks."""


@contextmanager
def on_cores(cores: set[int]) -> Iterator[None]:
    """What is started in this block runs on these cores only; where the system cannot do that, anywhere."""
    if not CAN_PIN:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def description() -> str:
    """The processor, and what runs on it."""
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False)
    versions = f"{platform.system()}, Python {platform.python_version()}, Node {node.stdout.strip().lstrip('v')}"
    pinned = "the server on one, the rest on the others" if len(CORES) > 1 else "shared by all processes"
    return f"{processor()}, {os.cpu_count()} cores, {pinned}; {versions}"


def processor() -> str:
    """The processor's name, as far as the system tells."""
    try:
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    except FileNotFoundError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()
