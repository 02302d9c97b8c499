"""What a workload is given: the stack, the pace, and the servers, each started when first asked for."""

from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field

from benchmarks.rounds import Pace
from benchmarks.stack import Database, Server, Stack


@dataclass
class Bench:
    """One run of the benchmarks."""

    stack: Stack
    pace: Pace
    peers: bool
    """Whether the peers are measured beside the limit."""
    _exits: ExitStack = field(default_factory=ExitStack)
    _servers: dict[str, Server] = field(default_factory=dict)

    @property
    def database(self) -> Database:
        """The one with the rows that most workloads read."""
        return self.stack.database(self.pace.rows)

    @property
    def nextfire(self) -> Server:
        return self._once("nextfire", self.stack.nextfire(self.database))

    def python_peer(self, name: str) -> Server:
        return self._once(name, self.stack.python_peer(name, self.database))

    def node_peer(self, name: str, script: str, *arguments: str) -> Server:
        return self._once(name, self.stack.node_peer(name, script, self.database, *arguments))

    def _once(self, name: str, starting: AbstractContextManager[Server]) -> Server:
        if name not in self._servers:
            self._servers[name] = self._exits.enter_context(starting)
        return self._servers[name]

    def close(self) -> None:
        self._exits.close()
