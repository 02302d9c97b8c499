"""A program that is started again whenever it ends, as whatever runs it in production does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.faults.installation import PATIENCE_SECONDS, Installation, Program
from tests.waiting import eventually

NO_START = ("Postgres does not answer at DATABASE_URL", "Application startup failed")
"""The last words of a program that found no store: it is for whoever started it to try again."""


@dataclass
class Kept:
    installation: Installation
    command: str
    variables: dict[str, str] = field(default_factory=dict)
    endings: list[int] = field(default_factory=list)
    """The exit codes, but for those of a program that would not start without its store."""
    _program: Program | None = None

    async def program(self) -> Program:
        """The one that runs, once there is one."""

        async def running() -> Program | None:
            return self._program if self._program is not None and self._program.exit_code is None else None

        return await eventually(running, PATIENCE_SECONDS)

    async def run(self) -> None:
        """Goes on until it is cancelled; then the last one is stopped."""
        while True:
            async with self.installation.program(self.command, **self.variables) as program:
                self._program = program
                while program.exit_code is None:  # noqa: ASYNC110 - it lies in another process
                    await asyncio.sleep(0.05)
                if not any(words in program.last_words for words in NO_START):
                    self.endings.append(program.exit_code)


@asynccontextmanager
async def kept(installation: Installation, command: str, **variables: str) -> AsyncIterator[Kept]:
    """The program, for as long as the block."""
    keeper = Kept(installation, command, variables)
    task = asyncio.create_task(keeper.run())
    try:
        yield keeper
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
