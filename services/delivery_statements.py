"""The statements of a delivery: what an attempt needs to know, and what it writes down."""

from sqlalchemy import ARRAY, Text, Update, Uuid, and_, any_, bindparam, func, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert

from services.run import AttemptOutcome
from services.statements import Statement, given
from services.tables import agents, attempts, messages, runs, tasks

_UNSURE = (AttemptOutcome.IN_FLIGHT, AttemptOutcome.UNKNOWN)

OF_RUN = Statement(
    select(
        runs.c.on_unknown,
        runs.c.retry_horizon_seconds,
        runs.c.begun_at,
        runs.c.deadline_at,
        runs.c.creator_principal,
        runs.c.attempt_count,
        tasks.c.create_body,
        tasks.c.input_body,
        tasks.c.accepted_at,
        agents.c.url,
        agents.c.api_key,
        agents.c.status.label("agent_status"),
    )
    .join(tasks, tasks.c.id == runs.c.task_id)
    .join(agents, agents.c.id == runs.c.agent_id)
    .where(runs.c.id == bindparam("run"))
)
"""What `run` sends, where to, and for how long."""

LAST_ATTEMPT = Statement(
    select(
        attempts.c.n,
        attempts.c.outcome,
        attempts.c.error,
        func.bool_or(
            and_(
                attempts.c.outcome == any_(bindparam("unsure", list(_UNSURE), ARRAY(Text))),
                attempts.c.at > bindparam("since"),
            )
        )
        .over()
        .label("may_have_arrived"),
    )
    .where(attempts.c.run_id == bindparam("run"))
    .order_by(attempts.c.n.desc())
    .limit(literal_column("1"))
)
"""With `may_have_arrived`, which is about all attempts of the run after `since`."""

OPEN = Statement(attempts.insert().values(given(attempts, ("run_id", "n", "idempotency_key", "body_sha256", "at"))))


def _close(*outcomes: AttemptOutcome) -> Statement:
    columns = ("outcome", "error", "duration_ms")
    return Statement(
        _attempt()
        .where(attempts.c.outcome == any_(bindparam("before", list(outcomes), ARRAY(Text))))
        .values(given(attempts, columns))
        .returning(attempts.c.n)
    )


def _attempt() -> Update:
    return update(attempts).where(attempts.c.run_id == bindparam("run"), attempts.c.n == bindparam("number"))


CLOSE = _close(AttemptOutcome.IN_FLIGHT)
CLOSE_DELIVERED = _close(*_UNSURE)
"""Of an attempt that may have been taken for lost meanwhile."""

ACCEPT_TASK = Statement(update(tasks).where(tasks.c.id == bindparam("task")).values(accepted_at=func.now()))

NOTE_AGENT = Statement(
    update(agents)
    .where(agents.c.id == bindparam("agent"), agents.c.status == bindparam("before"))
    .values(status=bindparam("after"))
)


def _store_replies() -> Statement:
    names = ("id", "idempotency_key", "author", "content")
    arrays = [bindparam(f"{name}s", type_=ARRAY(messages.c[name].type)) for name in names]
    replies = func.unnest(*arrays).table_valued(*names, with_ordinality="place").render_derived("replies")
    told = [bindparam("task", type_=Uuid), *(replies.c[name] for name in names), replies.c.place + literal_column("1")]
    written = insert(messages).from_select(["task_id", *names, "sequence"], select(*told))
    return Statement(written.on_conflict_do_nothing())


STORE_REPLIES = _store_replies()
"""The answers behind the input, in their order."""
