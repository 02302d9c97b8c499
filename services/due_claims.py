"""The claims of a worker, which also takes up the due times that the auditor made runs of."""

from uuid import UUID

from sqlalchemy import select

from services.claims import Claim, Claims, Next
from services.run import RunStatus, RunTrigger
from services.schedule import OverlapPolicy
from services.tables import runs, schedules


class DueClaims(Claims):
    """`Claims`, where a run whose row came first may have to wait for its turn: a due time keeps to the overlap policy,
    while what a person asks for runs whatever overlaps.
    """

    async def claim_manual(self, claimed_run_id: UUID, temporal_run_id: str) -> Claim:
        """Take up a run whose row is there already; one that is queued waits."""
        claim = await super().claim_manual(claimed_run_id, temporal_run_id)
        if claim.next is not Next.DELIVER or not await self._is_queued(claimed_run_id):
            return claim
        turn = await self.take_turn(claimed_run_id)
        return Claim(turn.run_id, turn.next, await self._to_cancel(claimed_run_id))

    async def _is_queued(self, queued_run_id: UUID) -> bool:
        query = select(runs.c.status).where(runs.c.id == queued_run_id)
        async with self._database.read() as connection:
            return bool((await connection.execute(query)).scalar() == RunStatus.QUEUED)

    async def _to_cancel(self, queued_run_id: UUID) -> tuple[str, ...]:
        """The workflows of the runs before it, where the policy wants them ended first."""
        earlier = runs.alias("earlier")
        query = (
            select(earlier.c.temporal_workflow_id)
            .join(runs, runs.c.schedule_id == earlier.c.schedule_id)
            .join(schedules, schedules.c.id == runs.c.schedule_id)
            .where(
                runs.c.id == queued_run_id,
                schedules.c.overlap_policy == OverlapPolicy.CANCEL_PREVIOUS,
                earlier.c.finished_at.is_(None),
                earlier.c.trigger != RunTrigger.BACKFILL,
                earlier.c.claimed_at < runs.c.claimed_at,
            )
        )
        async with self._database.read() as connection:
            return tuple(row.temporal_workflow_id for row in await connection.execute(query))
