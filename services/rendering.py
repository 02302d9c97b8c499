"""What a run sends, rendered once and frozen: the task, its metadata and the very bytes of both requests."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import Text, Uuid, bindparam, literal_column, select
from sqlalchemy.dialects.postgresql import insert

from services import acp_requests as acp
from services.agent import Agent
from services.run import RunTrigger, run_id, task_name
from services.schedule import InitialInput
from services.statements import Statement, given, new
from services.tables import messages, tasks
from services.transactions import Transaction


def _freezing() -> Statement:
    """The statement that writes a task, unless it is there, and the first message with it."""
    columns = [column.name for column in tasks.c if column.name not in ("registered_at", "accepted_at")]
    created = insert(tasks).values(given(tasks, columns)).on_conflict_do_nothing(index_elements=["name"])
    task = created.returning(tasks.c.id, tasks.c.created_at).cte("task")
    first = select(
        bindparam("message", type_=Uuid),
        task.c.id,
        literal_column("'input'"),
        bindparam("author", type_=Text),
        bindparam("content", type_=Text),
        literal_column("1"),
        task.c.created_at,
    )
    names = ["id", "task_id", "idempotency_key", "author", "content", "sequence", "created_at"]
    return Statement(select(task.c.id).add_cte(messages.insert().from_select(names, first).cte("message")))


_FREEZE = _freezing()


@dataclass(frozen=True, slots=True)
class Order:
    """What a fire asks for: which input goes to which agent, for what."""

    owner_id: UUID
    schedule_id: UUID | None
    fire_key: str
    trigger: RunTrigger
    fire_at: datetime
    display_name: str
    input: InitialInput
    params: dict[str, Any] | None
    metadata: dict[str, Any] | None
    principal: dict[str, Any] | None

    @property
    def run_id(self) -> UUID:
        return run_id(self.owner_id, self.fire_key)

    @property
    def task_id(self) -> UUID:
        return uuid5(self.run_id, "task")


async def freeze(transaction: Transaction, order: Order, agent: Agent) -> None:
    """Get or create the run's task by its deterministic name, with the input as its first message."""
    now = datetime.now(UTC)
    name = task_name(order.owner_id, order.fire_key)
    metadata = task_metadata(order)
    task = acp.AcpTask(
        id=order.task_id, name=name, created_at=now, updated_at=now, params=order.params, metadata=metadata
    )
    columns = {
        "id": order.task_id,
        "account_id": agent.account_id,
        "agent_id": agent.id,
        "run_id": order.run_id,
        "name": name,
        "display_name": metadata["display_name"],
        "params": order.params,
        "metadata": metadata,
        "principal": order.principal,
        "created_at": now,
        **_bodies(order, acp_agent(agent), task, now),
    }
    message = {"message": _message_id(order), "author": order.input.author, "content": order.input.content}
    await transaction.rows(_FREEZE, new(columns) | message)


def task_metadata(order: Order) -> dict[str, Any]:
    """The schedule's own metadata may name the task; what identifies the fire is not theirs to override."""
    identity = {
        "schedule_id": str(order.schedule_id) if order.schedule_id else None,
        "scheduled_fire_id": order.fire_key,
        "trigger_type": order.trigger.value.lower(),
        "fire_time": order.fire_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
    }
    own = order.metadata or {}
    display_name = own.get("display_name")
    if not isinstance(display_name, str) or not display_name.strip():
        display_name = order.display_name
    known = {key: value for key, value in identity.items() if value is not None}
    return {**own, **known, "display_name": display_name}


def acp_agent(agent: Agent) -> acp.AcpAgent:
    return acp.AcpAgent(
        id=agent.id,
        name=agent.name,
        description=agent.description or "",
        protocol=acp.Protocol(agent.protocol.lower()),
        url=agent.url,
        created_at=agent.created_at,
        updated_at=agent.updated_at,
    )


def create_key(task_id: UUID) -> str:
    """The idempotency key of task/create: another request than the input's, so another key."""
    return str(task_id)


def input_key(run: UUID) -> str:
    """The idempotency key of the input: the run's id."""
    return str(run)


def cancel_key(task_id: UUID) -> str:
    """The idempotency key of task/cancel."""
    return f"{task_id}:cancel"


def _message_id(order: Order) -> UUID:
    return uuid5(order.run_id, "input")


def _bodies(order: Order, agent: acp.AcpAgent, task: acp.AcpTask, now: datetime) -> dict[str, bytes | None]:
    content = acp.AcpContent(author=acp.AcpAuthor(order.input.author.lower()), content=order.input.content)
    key = input_key(order.run_id)
    if agent.protocol is acp.Protocol.SYNC:
        return {"create_body": None, "input_body": acp.message_send_body(agent, task, content, key)}
    event = acp.AcpEvent(id=_message_id(order), sequence_id=1, created_at=now, content=content)
    return {
        "create_body": acp.task_create_body(agent, task, create_key(order.task_id)),
        "input_body": acp.event_send_body(agent, task, event, key),
    }
