"""The commands on schedules. Each owns one short transaction, and brings the clock in line after its commit."""

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypedDict
from uuid import UUID

from asyncpg import UniqueViolationError
from sqlalchemy import Text, bindparam, select

from services import fields, schedule_rows, schedule_statements
from services.agents import NO_REGISTRATIONS, free_name
from services.authorization import agent_resource, schedule_resource
from services.cadence import Cadence
from services.database import Database
from services.definition import EARLIEST, Difference, check, differences, to_json
from services.errors import InvalidInput, Issue, NameTaken, NotFound
from services.failpoints import Failpoint, reach
from services.idempotency import earlier_result, first_result
from services.principals import Actor
from services.registrations import Registrations
from services.schedule import (
    ChangeKind,
    Definition,
    InitialInput,
    MissedFirePolicy,
    OnUnknown,
    OverlapPolicy,
    Schedule,
)
from services.schedule_changes import change, insert, locked
from services.schedule_statements import WHOLE
from services.statements import Statement
from services.tables import agents, new_id, schedules
from services.transactions import Transaction
from services.wakeup import Notifier

NAME_KEY = "agent_run_schedules_agent_id_name_key"

_LIVE_AGENT = Statement(
    select(agents.c.id)
    .where(
        agents.c.id == bindparam("agent_id"),
        agents.c.account_id == bindparam("account_id"),
        agents.c.deleted_at.is_(None),
    )
    .with_for_update(read=True)
)
# A name holds nothing that LIKE takes for more than itself.
_NAMES = Statement(
    select(schedules.c.name).where(
        schedules.c.account_id == bindparam("account_id"),
        schedules.c.agent_id == bindparam("agent_id"),
        schedules.c.deleted_at.is_(None),
        schedules.c.name.startswith(bindparam("beginning", type_=Text)),
    )
)

SENT = frozenset({"initialInput", "taskParams", "taskMetadata"})
"""The fields of a definition that its agent gets to read."""

Issues = tuple[Issue, ...]
"""What the caller has found wrong already, such as times that it could not read; reported with the rest."""


class ScheduleChanges(TypedDict, total=False):
    """The fields to change; what is absent stays."""

    name: str
    description: str | None
    cadence: Cadence
    start_at: datetime | None
    end_at: datetime | None
    jitter: timedelta
    overlap_policy: OverlapPolicy
    missed_fire_policy: MissedFirePolicy
    catch_up_window: timedelta
    on_unknown: OnUnknown
    retry_horizon: timedelta
    pause_after_failures: int | None
    paused: bool
    initial_input: InitialInput
    task_params: dict[str, Any] | None
    task_metadata: dict[str, Any] | None
    labels: tuple[tuple[str, str], ...]


class ClockKeeper(Protocol):
    """Brings one schedule's clock in line with its row, within a budget of its own; never raises."""

    async def settle_soon(self, schedule_id: UUID) -> None: ...


class Schedules:
    """Every call is for one actor and sees that actor's account only."""

    def __init__(
        self,
        database: Database,
        notifier: Notifier,
        clock: ClockKeeper,
        registrations: Registrations = NO_REGISTRATIONS,
    ) -> None:
        self._database = database
        self._notifier = notifier
        self._clock = clock
        self._registrations = registrations

    async def create(
        self,
        actor: Actor,
        agent_id: UUID,
        definition: Definition,
        *,
        idempotency_key: str | None = None,
        issues: Issues = (),
    ) -> Schedule:
        """Raises `InvalidInput`, `NotFound` for the agent, `NameTaken`, `IdempotencyKeyReused` and `Forbidden`."""
        issues += tuple(fields.check_idempotency_key(idempotency_key, "input", "idempotencyKey"))
        found = _missing_from(check(definition, datetime.now(UTC)), issues)
        # A request that is repeated under its key may have had its last fire since, and gets its answer all the same.
        if issues or (found and check(definition, EARLIEST)):
            raise InvalidInput(issues + found)
        request = {
            "operation": "createSchedule",
            "agent": str(agent_id),
            "definition": to_json(definition),
        }
        first = await earlier_result(self._database.reads, actor, idempotency_key, request)
        if first is not None:
            return await self._applied(actor, await self._read(actor, UUID(first["scheduleId"])))
        if found:
            raise InvalidInput(found)
        schedule_id = new_id()
        resource = schedule_resource(agent_id, schedule_id)
        registering = self._registrations.of(actor, resource, agent_resource(agent_id))
        try:
            async with registering as registration, self._database.changes.begin() as transaction:
                answer = {"scheduleId": str(schedule_id)}
                first = await first_result(transaction, actor, idempotency_key, request, answer)
                if first is None:
                    await _require_agent(transaction, actor, agent_id)
                    schedule = await insert(transaction, actor, schedule_id, agent_id, definition)
                    await registration.keep(transaction)
        except UniqueViolationError as error:
            raise await self._name_taken(actor, agent_id, definition.name, error) from error
        if first is not None:
            schedule = await self._read(actor, UUID(first["scheduleId"]))
        return await self._applied(actor, schedule)

    async def update(
        self,
        actor: Actor,
        schedule_id: UUID,
        changes: ScheduleChanges,
        *,
        expected_version: int,
        note: str | None = None,
        issues: Issues = (),
    ) -> tuple[Schedule, list[Difference]]:
        """Change the named fields. What does not differ is no change: no version, no revision.

        Who changes what is sent becomes the one that it is sent as. Raises `NotFound`, `VersionConflict`,
        `InvalidInput` and `NameTaken`.
        """
        issues += tuple(fields.check_text(note, fields.MAX_NOTE, "input", "note"))
        agent_id: UUID | None = None
        try:
            async with self._database.changes.begin() as transaction:
                before = await locked(transaction, actor, schedule_id, expected_version=expected_version)
                agent_id = before.agent_id
                after = _changed(before.definition, changes, note)
                changed = differences(before.definition, after)
                timing = {"cadence", "startAt", "endAt"} & {difference.field for difference in changed}
                found = check(after, datetime.now(UTC), cadence_changed=bool(timing))
                if issues := issues + _missing_from(found, issues):
                    raise InvalidInput(issues)
                if not changed:
                    return before, []
                columns = schedule_rows.to_row(after, (difference.field for difference in changed))
                if before.definition.paused and not after.paused:
                    columns["consecutive_failures"] = 0
                creator = _new_creator(actor, before, changed)
                if creator is not None:
                    columns["creator_principal"] = creator.after
                schedule = await change(transaction, actor, before, _kind(changed), columns, note, beside=creator)
        except UniqueViolationError as error:
            if agent_id is None:
                raise
            raise await self._name_taken(actor, agent_id, changes["name"], error) from error
        return await self._applied(actor, schedule), [*changed, *([creator] if creator else [])]

    async def pause(
        self, actor: Actor, schedule_id: UUID, *, expected_version: int | None, note: str | None
    ) -> Schedule:
        """No scheduled run is claimed after this returns. Pausing what is paused is no change."""
        return await self._set_paused(actor, schedule_id, True, expected_version, note)

    async def resume(
        self, actor: Actor, schedule_id: UUID, *, expected_version: int | None, note: str | None
    ) -> Schedule:
        """The count of failures in a row begins anew. Resuming what is not paused is no change."""
        return await self._set_paused(actor, schedule_id, False, expected_version, note)

    async def delete(
        self, actor: Actor, schedule_id: UUID, *, expected_version: int | None, note: str | None
    ) -> Schedule:
        """Soft: history stays readable, the name is free again, and the clock is removed."""
        _check_note(note)
        async with self._database.changes.begin() as transaction:
            before = await locked(transaction, actor, schedule_id, expected_version=expected_version)
            gone = {"deleted_at": datetime.now(UTC)}
            after = await change(transaction, actor, before, ChangeKind.DELETED, gone, note)
            resource = schedule_resource(before.agent_id, schedule_id)
            await self._registrations.note_gone(transaction, actor, resource)
        await self._registrations.forget_soon(actor, resource)
        return await self._applied(actor, after)

    async def _set_paused(
        self,
        actor: Actor,
        schedule_id: UUID,
        paused: bool,
        expected_version: int | None,
        note: str | None,
    ) -> Schedule:
        _check_note(note)
        async with self._database.changes.begin() as transaction:
            before = await locked(transaction, actor, schedule_id, expected_version=expected_version)
            if before.definition.paused == paused:
                return before
            columns: dict[str, Any] = {"paused": paused, "pause_note": note if paused else None}
            if not paused:
                columns["consecutive_failures"] = 0
            kind = ChangeKind.PAUSED if paused else ChangeKind.RESUMED
            after = await change(transaction, actor, before, kind, columns, note)
        return await self._applied(actor, after)

    async def _applied(self, actor: Actor, schedule: Schedule) -> Schedule:
        """After the commit: wake the readers, try the clock where it is behind, and answer from the row."""
        await reach(Failpoint.AFTER_COMMIT)
        self._notifier.poke()
        if schedule.is_applied:
            return schedule
        await self._clock.settle_soon(schedule.id)
        return await self._read(actor, schedule.id)

    async def _read(self, actor: Actor, schedule_id: UUID) -> Schedule:
        mine = {"id": schedule_id, "account_id": actor.account_id}
        (row,) = await self._database.reads.rows(schedule_statements.by_id(WHOLE), mine)
        return Schedule(row)

    async def _name_taken(self, actor: Actor, agent_id: UUID, name: str, error: UniqueViolationError) -> Exception:
        if error.constraint_name != NAME_KEY:
            return error
        alike = {"account_id": actor.account_id, "agent_id": agent_id, "beginning": name[:56]}
        names = {row["name"] for row in await self._database.reads.rows(_NAMES, alike)}
        return NameTaken("schedule of the agent", name, free_name(name, names), "input", "name")


def _missing_from(found: Issues, known: Issues) -> Issues:
    """Of the issues found, those whose field has none yet: an unreadable time is not also a missing one."""
    paths = {issue.path for issue in known}
    return tuple(issue for issue in found if issue.path not in paths)


def _check_note(note: str | None) -> None:
    if issues := fields.check_text(note, fields.MAX_NOTE, "input", "note"):
        raise InvalidInput(tuple(issues))


def _changed(before: Definition, changes: ScheduleChanges, note: str | None) -> Definition:
    """The definition with the changes in it; the note of a pause comes and goes with the pause."""
    after = dataclasses.replace(before, **changes)
    if after.paused == before.paused:
        return after
    return dataclasses.replace(after, pause_note=note if after.paused else None)


def _kind(changed: list[Difference]) -> ChangeKind:
    """A change of nothing but `paused` is a pause or a resume, by whichever mutation it came."""
    values = {difference.field: difference.after for difference in changed}
    if not values.keys() <= {"paused", "pauseNote"}:
        return ChangeKind.UPDATED
    return ChangeKind.PAUSED if values["paused"] else ChangeKind.RESUMED


def _new_creator(actor: Actor, before: Schedule, changed: list[Difference]) -> Difference | None:
    """Nobody can have something of their own sent under another's name."""
    creator = before.creator.to_json() if before.creator else None
    if creator == actor.to_json() or SENT.isdisjoint(difference.field for difference in changed):
        return None
    return Difference("creator", creator, actor.to_json())


async def _require_agent(transaction: Transaction, actor: Actor, agent_id: UUID) -> None:
    if not await transaction.rows(_LIVE_AGENT, {"agent_id": agent_id, "account_id": actor.account_id}):
        raise NotFound("agent", "input", "agentId")
