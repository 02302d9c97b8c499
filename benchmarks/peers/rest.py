"""A REST list as schedulers have it: FastAPI, pydantic models for the answer, entities of SQLAlchemy's ORM."""

import os
import uuid
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from sqlalchemy import ForeignKey, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, joinedload, mapped_column, relationship

from benchmarks.data import ACCOUNT
from benchmarks.peers.shared import POOL_SIZE, cursor


class Base(DeclarativeBase):
    pass


class AgentRow(Base):
    __tablename__ = "agents"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    protocol: Mapped[str]
    status: Mapped[str]


class ScheduleRow(Base):
    __tablename__ = "agent_run_schedules"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    agent_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("agents.id"))
    account_id: Mapped[str]
    name: Mapped[str]
    description: Mapped[str | None]
    paused: Mapped[bool]
    pause_note: Mapped[str | None]
    version: Mapped[int]
    start_at: Mapped[datetime | None]
    end_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
    jitter_seconds: Mapped[int]
    catch_up_window_seconds: Mapped[int]
    retry_horizon_seconds: Mapped[int]
    overlap_policy: Mapped[str]
    missed_fire_policy: Mapped[str]
    agent: Mapped[AgentRow] = relationship()


class Model(BaseModel):
    model_config = ConfigDict(from_attributes=True, alias_generator=to_camel, populate_by_name=True)


class Agent(Model):
    id: uuid.UUID
    name: str
    protocol: str
    status: str


class Schedule(Model):
    id: uuid.UUID
    name: str
    description: str | None
    paused: bool
    pause_note: str | None
    version: int
    start_at: datetime | None
    end_at: datetime | None
    created_at: datetime
    updated_at: datetime
    jitter_seconds: int
    catch_up_window_seconds: int
    retry_horizon_seconds: int
    overlap_policy: str
    missed_fire_policy: str
    agent: Agent


class Page(Model):
    items: list[Schedule]
    next_cursor: str | None


engine = create_async_engine(
    os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://"), pool_size=POOL_SIZE
)
sessions = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


async def session() -> AsyncIterator[AsyncSession]:
    async with sessions() as opened:
        yield opened


Session = Annotated[AsyncSession, Depends(session)]
SCHEDULES = select(ScheduleRow).options(joinedload(ScheduleRow.agent)).where(ScheduleRow.account_id == ACCOUNT)


@app.get("/schedules")
async def page(session: Session, first: int = 20) -> Page:
    newest = SCHEDULES.where(ScheduleRow.deleted_at.is_(None)).order_by(
        ScheduleRow.created_at.desc(), ScheduleRow.id.desc()
    )
    rows = (await session.scalars(newest.limit(first + 1))).all()
    last = rows[first - 1] if len(rows) > first else None
    items = [Schedule.model_validate(row) for row in rows[:first]]
    return Page(items=items, next_cursor=cursor(last.created_at, last.id) if last else None)


@app.get("/schedules/{key}")
async def one(session: Session, key: uuid.UUID) -> Schedule:
    row = await session.scalar(SCHEDULES.where(ScheduleRow.id == key))
    if row is None:
        raise HTTPException(404)
    return Schedule.model_validate(row)
