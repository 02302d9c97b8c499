"""Agents: registering, changing and reading them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypedDict
from uuid import UUID

from sqlalchemy import ARRAY, Row, Select, Uuid, any_, bindparam, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from services import fields, keyset
from services.agent import Agent, AgentProtocol, AgentStatus
from services.authorization import agent_resource
from services.database import Database, is_unique_violation
from services.dialing import Dialer
from services.errors import InvalidInput, Issue, NameTaken, NotFound, VersionConflict
from services.principals import Actor
from services.registrations import NoRegistrations, Registrations
from services.schedule import Columns
from services.secrets import SecretBox
from services.statements import Statement
from services.tables import agents, new_id
from services.transactions import CoreTransaction

NAMING_COLUMNS = [agents.c.id, agents.c.name, agents.c.protocol, agents.c.status]
"""What most lists show of an agent."""
COLUMNS = [
    *NAMING_COLUMNS,
    *(column for column in agents.c if column not in {*NAMING_COLUMNS} and column.name != "api_key"),
]
COLUMN_NAMES = tuple(column.name for column in COLUMNS)
_BY_IDS = Statement(
    select(*COLUMNS).where(
        agents.c.account_id == bindparam("account_id"), agents.c.id == any_(bindparam("ids", type_=ARRAY(Uuid)))
    )
)
_PROTOCOLS = {each.value: each for each in AgentProtocol}
_STATUSES = {each.value: each for each in AgentStatus}
NAME_KEY = "agents_account_id_name_key"
NO_REGISTRATIONS = NoRegistrations()


class AgentChanges(TypedDict, total=False):
    """The fields to change; what is absent stays."""

    name: str
    description: str | None
    protocol: AgentProtocol
    url: str
    api_key: str | None


@dataclass(frozen=True, slots=True)
class AgentFilter:
    search: str | None = None
    protocols: tuple[AgentProtocol, ...] | None = None
    statuses: tuple[AgentStatus, ...] | None = None
    include_deleted: bool = False
    readable: frozenset[UUID] | None = None
    """The agents that the caller may see; None where that is all of its account."""


class Agents:
    """The agents of all accounts. Every call is for one actor and sees that actor's account only."""

    def __init__(
        self,
        database: Database,
        secrets: SecretBox,
        dialer: Dialer,
        registrations: Registrations = NO_REGISTRATIONS,
    ) -> None:
        self._database = database
        self._secrets = secrets
        self._dialer = dialer
        self._registrations = registrations

    async def register(
        self,
        actor: Actor,
        *,
        name: str,
        description: str | None,
        protocol: AgentProtocol,
        url: str,
        api_key: str | None,
    ) -> Agent:
        """Raises `InvalidInput`, `NameTaken` and `Forbidden`."""
        values: AgentChanges = {
            "name": name,
            "description": description,
            "protocol": protocol,
            "url": url,
            "api_key": api_key,
        }
        await self._check(values)
        row = {
            **self._sealed(values),
            "id": new_id(),
            "account_id": actor.account_id,
            "status": AgentStatus.ACTIVE,
        }
        registering = self._registrations.of(actor, agent_resource(row["id"]), None)
        try:
            async with registering as registration, self._database.transaction() as connection:
                inserted = await connection.execute(agents.insert().values(row).returning(*COLUMNS))
                await registration.keep(CoreTransaction(connection))
                return to_agent(inserted.one())
        except IntegrityError as error:
            raise await self._name_taken(actor, name, error) from error

    async def update(
        self,
        actor: Actor,
        agent_id: UUID,
        changes: AgentChanges,
        *,
        expected_version: int | None,
        issues: tuple[Issue, ...] = (),
    ) -> Agent:
        """Raises `NotFound`, `InvalidInput`, `VersionConflict` and `NameTaken`. What does not differ is no change.

        `issues` are what the caller has found wrong already; they are reported with the rest.
        """
        await self._check(changes, issues)
        sealed = self._sealed(changes)
        try:
            async with self._database.transaction() as connection:
                row = await _locked(connection, actor, agent_id)
                current = to_agent(row)
                if expected_version not in (None, current.version):
                    raise VersionConflict(expected_version or 0, current.version, current, "input", "expectedVersion")
                changed = {key: value for key, value in sealed.items() if row._mapping.get(key) != value}
                if not changed:
                    return current
                return await _change(connection, agent_id, changed)
        except IntegrityError as error:
            raise await self._name_taken(actor, changes["name"], error) from error

    async def delete(self, actor: Actor, agent_id: UUID, *, expected_version: int | None) -> Agent:
        """Soft: the agent stays readable, its name is free again, and its schedules' fires end as skipped."""
        async with self._database.transaction() as connection:
            current = to_agent(await _locked(connection, actor, agent_id))
            if expected_version not in (None, current.version):
                raise VersionConflict(expected_version or 0, current.version, current, "input", "expectedVersion")
            gone = {"status": AgentStatus.DELETED, "deleted_at": datetime.now(UTC), "api_key": None}
            agent = await _change(connection, agent_id, gone)
            await self._registrations.note_gone(CoreTransaction(connection), actor, agent_resource(agent_id))
        await self._registrations.forget_soon(actor, agent_resource(agent_id))
        return agent

    async def get_many(self, actor: Actor, ids: list[UUID]) -> dict[UUID, Agent]:
        """Those of the ids that are the account's agents, deleted ones included."""
        rows = await self._database.reads.rows(_BY_IDS, {"account_id": actor.account_id, "ids": ids})
        return {row["id"]: agent_of(row[:]) for row in rows}

    async def by_name(self, actor: Actor, name: str) -> Agent | None:
        query = select(*COLUMNS).where(
            agents.c.account_id == actor.account_id, agents.c.name == name, agents.c.deleted_at.is_(None)
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).first()
        return to_agent(row) if row else None

    async def page(self, actor: Actor, filter: AgentFilter, order_by: str, window: keyset.Window) -> keyset.Page[Agent]:
        """A page in the order of a column: `name`, `created_at` or `updated_at`."""
        async with self._database.read() as connection:
            order = (agents.c[order_by], agents.c.id)
            return await keyset.page(connection, _filtered(actor, filter), order, window, to_agent)

    async def count(self, actor: Actor, filter: AgentFilter) -> int:
        async with self._database.read() as connection:
            return await keyset.count(connection, _filtered(actor, filter))

    async def _check(self, values: AgentChanges, known: tuple[Issue, ...] = ()) -> None:
        issues = [*known, *_issues(values)]
        url = ("input", "url")
        if "url" in values and not any(issue.path == url for issue in issues):
            issues += await self._dialer.check(values["url"], *url)
        if issues:
            raise InvalidInput(tuple(issues))

    def _sealed(self, values: AgentChanges) -> dict[str, Any]:
        sealed: dict[str, Any] = dict(values)
        if "url" in values:
            sealed["url"] = values["url"].rstrip("/")
        if key := values.get("api_key"):
            sealed["api_key"] = self._secrets.seal(key)
        return sealed

    async def _name_taken(self, actor: Actor, name: str, error: IntegrityError) -> Exception:
        if not is_unique_violation(error, NAME_KEY):
            return error
        taken = select(agents.c.name).where(
            agents.c.account_id == actor.account_id,
            agents.c.deleted_at.is_(None),
            agents.c.name.startswith(name[:56], autoescape=True),
        )
        async with self._database.read() as connection:
            names = {row.name for row in await connection.execute(taken)}
        return NameTaken("agent", name, free_name(name, names), "input", "name")


def free_name(name: str, taken: set[str]) -> str:
    """The name with the smallest number behind it that nobody has, within 64 characters."""
    candidates = (f"{name[: 63 - len(str(n))].rstrip('-')}-{n}" for n in range(2, len(taken) + 3))
    return next(candidate for candidate in candidates if candidate not in taken)


def to_agent(row: Row[Any]) -> Agent:
    """As `whole`, of a row of SQLAlchemy's."""
    return whole(row._mapping)


def whole(row: Columns) -> Agent:
    """The agent of a row that has all of `COLUMNS`."""
    return agent_of([row[name] for name in COLUMN_NAMES])


def agent_of(values: Sequence[Any]) -> Agent:
    """The agent with these values of `COLUMNS`."""
    agent_id, name, protocol, status, account_id, description, url, version, created_at, updated_at, deleted_at = values
    return Agent(
        agent_id,
        account_id,
        name,
        description,
        _PROTOCOLS[protocol],
        url,
        _STATUSES[status],
        version,
        created_at,
        updated_at,
        deleted_at,
    )


def _issues(values: AgentChanges) -> list[Issue]:
    issues: list[Issue] = []
    if "name" in values:
        issues += fields.check_name(values["name"], "input", "name")
    if "url" in values:
        issues += fields.check_url(values["url"], "input", "url")
    if (key := values.get("api_key")) is not None:
        issues += fields.check_text(key, fields.MAX_SECRET, "input", "apiKey")
        if not key.isascii() or not key.isprintable() or not key.strip():
            issues.append(Issue(("input", "apiKey"), "A key is sent as a header: use printable ASCII, not blank."))
    return issues + fields.check_text(values.get("description"), fields.MAX_DESCRIPTION, "input", "description")


def _filtered(actor: Actor, filter: AgentFilter) -> Select[Any]:
    query = select(*COLUMNS).where(agents.c.account_id == actor.account_id)
    if filter.readable is not None:
        query = query.where(keyset.among(agents.c.id, filter.readable))
    if not filter.include_deleted and AgentStatus.DELETED not in (filter.statuses or ()):
        query = query.where(agents.c.deleted_at.is_(None))
    if filter.protocols is not None:
        query = query.where(agents.c.protocol.in_(filter.protocols))
    if filter.statuses is not None:
        query = query.where(agents.c.status.in_(filter.statuses))
    if filter.search:
        query = query.where(
            or_(
                agents.c.name.icontains(filter.search, autoescape=True),
                agents.c.description.icontains(filter.search, autoescape=True),
            )
        )
    return query


async def _locked(connection: AsyncConnection, actor: Actor, agent_id: UUID) -> Row[Any]:
    query = (
        select(agents)
        .where(agents.c.id == agent_id, agents.c.account_id == actor.account_id, agents.c.deleted_at.is_(None))
        .with_for_update()
    )
    row = (await connection.execute(query)).first()
    if row is None:
        raise NotFound("agent", "input", "id")
    return row


async def _change(connection: AsyncConnection, agent_id: UUID, values: dict[str, Any]) -> Agent:
    changed = await connection.execute(
        update(agents)
        .where(agents.c.id == agent_id)
        .values(**values, version=agents.c.version + 1, updated_at=datetime.now(UTC))
        .returning(*COLUMNS)
    )
    return to_agent(changed.one())
