"""Clocks that would fire on after their test, and keep a server of the session busy for all the others."""

import asyncpg
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from nextfire.embedded import Temporal
from services.schedule import clock_id

# Whatever the schedule is by now: its clock may be of any version, or be forgotten.
_OFTEN_DUE = """
SELECT DISTINCT schedule_id FROM schedule_revisions
 WHERE definition->'cadence' ? 'interval' OR definition->'cadence'->'cron'->>'expression' LIKE '*%'"""


class LeftoverClocks:
    """The servers of the session, and how a test's clocks are taken from them."""

    def __init__(self) -> None:
        self._servers: dict[str, Client | None] = {}

    def of(self, server: Temporal) -> None:
        """From now on, this server is cleared as well."""
        self._servers[server.address] = None

    async def remove(self, connection: asyncpg.Connection) -> None:
        """Delete the clocks of the schedules in this database that are due often."""
        if self._servers and (found := await connection.fetch(_OFTEN_DUE)):
            for address in self._servers:
                client = await self._client(address)
                for row in found:
                    await _delete(client, clock_id(row["schedule_id"]))

    async def _client(self, address: str) -> Client:
        client = self._servers[address] or await Client.connect(address)
        self._servers[address] = client
        return client


async def _delete(client: Client, name: str) -> None:
    try:
        await client.get_schedule_handle(name).delete()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
