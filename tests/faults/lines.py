"""An installation that reaches its stores by ways that break."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.figures import Figures
from tests.faults.installation import Installation
from tests.faults.proxy import FaultProxy


@dataclass
class Lines:
    """The ways of an installation to its stores, each through a proxy."""

    postgres: FaultProxy
    temporal: FaultProxy
    installation: Installation


@asynccontextmanager
async def lines(database_url: str, temporal_address: str, logs: Path, figures: Figures) -> AsyncIterator[Lines]:
    ports = [int(database_url.rsplit(":", 1)[1].split("/")[0]), int(temporal_address.split(":")[1])]
    postgres, to_temporal = (FaultProxy(port) for port in ports)
    async with AsyncExitStack() as stack:
        for proxy in (postgres, to_temporal):
            await stack.enter_async_context(proxy.running())
        installation = Installation(
            database_url.replace(f":{ports[0]}/", f":{postgres.port}/"),
            to_temporal.address,
            logs,
            figures,
            direct_temporal=temporal_address,
            direct_database=database_url,
        )
        yield Lines(postgres, to_temporal, installation)
        await installation.clean()
