"""What `nextfire dev` shows: progress, addresses and fires, on a terminal or as plain lines."""

import contextlib
import time
from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.text import Text

STYLES = {"DELIVERED": "green", "FAILED": "red", "UNKNOWN": "red", "MISSED": "yellow", "SKIPPED": "yellow"}


class Screen:
    """Writes to standard output; on anything but a terminal, plain lines of any width."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)

    @contextlib.contextmanager
    def step(self, doing: str, done: str) -> Iterator[None]:
        """Show that something is being done, and how long it took."""
        began = time.monotonic()
        if self._console.is_terminal:
            with self._console.status(doing):
                yield
        else:
            self.line(f"{doing} ...")
            yield
        self.line(f"{done} ({time.monotonic() - began:.1f} s)", mark="✓")

    def line(self, text: str, *, mark: str = "", style: str = "") -> None:
        """One line, with a green mark before it if one is given."""
        parts = [(f"{mark} ", "green")] if mark else []
        self._print(Text.assemble(*parts, (text, style)))

    def addresses(self, rows: Mapping[str, str]) -> None:
        """A table of names and addresses, each on a line that can be copied however narrow the terminal is."""
        width = max(len(name) for name in rows)
        self._print(Text())
        for name, address in rows.items():
            self._print(Text.assemble((f"  {name:<{width}}  ", "bold"), address))
        self._print(Text())

    def fire(self, at: str, status: str, text: str) -> None:
        """One line for one fire."""
        self._print(Text.assemble((at, "dim"), "  ", (f"{status:<9}", STYLES.get(status, "")), "  ", text))

    def failure(self, text: str) -> None:
        """Why it cannot go on."""
        self.line(text, style="red")

    def _print(self, text: Text) -> None:
        # A reader that has gone, as with `| head`, is no reason to stop.
        with contextlib.suppress(BrokenPipeError):
            self._console.print(text)
