"""API keys: making, listing, revoking and finding them. Their texts are never stored."""

from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import bindparam, func, or_, select, update

from services import fields
from services.api_key import ApiKey, KeyText, id_in, new_key
from services.database import Database
from services.errors import InvalidInput, Issue, NotFound
from services.principals import Role
from services.statements import Statement
from services.tables import api_keys

MAX_ACCOUNT = 200
USE_IS_NOTED_EVERY = timedelta(minutes=1)

_BY_ID = Statement(select(api_keys).where(api_keys.c.id == bindparam("id")))


class Columns(Protocol):
    """A row, of whichever driver."""

    def __getitem__(self, name: str, /) -> Any: ...


class ApiKeys:
    """The API keys of all accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self, *, account_id: str, name: str, role: Role, expires_at: datetime | None
    ) -> tuple[ApiKey, KeyText]:
        """The new key, and its text, which cannot be had again. Raises `InvalidInput`."""
        _check(account_id, name, expires_at)
        key = new_key()
        values = {
            "id": key.id,
            "account_id": account_id,
            "name": name,
            "role": role,
            "digest": key.digest,
            "expires_at": expires_at,
        }
        async with self._database.transaction() as connection:
            inserted = await connection.execute(api_keys.insert().values(values).returning(*api_keys.c))
            return _to_api_key(inserted.one()._mapping), key

    async def all(self, account_id: str | None, *, ended: bool) -> list[ApiKey]:
        """The keys of the account, or of every account, oldest first; with `ended` those that no longer work, too."""
        query = select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)
        if account_id is not None:
            query = query.where(api_keys.c.account_id == account_id)
        if not ended:
            unexpired = or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > func.now())
            query = query.where(api_keys.c.revoked_at.is_(None), unexpired)
        async with self._database.read() as connection:
            return [_to_api_key(row._mapping) for row in await connection.execute(query)]

    async def revoke(self, text: str) -> ApiKey:
        """End the key for good; a second time changes nothing. Takes an id, or a whole key. Raises `NotFound`."""
        change = (
            update(api_keys)
            .where(api_keys.c.id == (id_in(text) or ""))
            .values(revoked_at=func.coalesce(api_keys.c.revoked_at, func.now()))
            .returning(*api_keys.c)
        )
        async with self._database.transaction() as connection:
            row = (await connection.execute(change)).first()
        if row is None:
            raise NotFound("API key")
        return _to_api_key(row._mapping)

    async def find(self, key_id: str) -> ApiKey | None:
        """Raises `Unavailable`."""
        rows = await self._database.reads.rows(_BY_ID, {"id": key_id})
        return _to_api_key(rows[0]) if rows else None

    async def roles_of(self, account_id: str, name: str) -> list[Role]:
        """The roles of the keys by that name that work now. Raises `Unavailable`."""
        return [key.role for key in await self.all(account_id, ended=False) if key.name == name]

    async def note_use(self, key: ApiKey) -> None:
        """Remember that the key was used, at most once a minute."""
        now = datetime.now(UTC)
        if key.last_used_at is not None and now - key.last_used_at < USE_IS_NOTED_EVERY:
            return
        async with self._database.transaction() as connection:
            await connection.execute(update(api_keys).filter_by(id=key.id).values(last_used_at=now))


def _check(account_id: str, name: str, expires_at: datetime | None) -> None:
    issues = [*fields.check_text(account_id, MAX_ACCOUNT, "account"), *fields.check_name(name, "name")]
    if not account_id.strip():
        issues.append(Issue(("account",), "Name the account."))
    if expires_at is not None and expires_at <= datetime.now(UTC):
        issues.append(Issue(("expiresAt",), "The key would have expired already."))
    if issues:
        raise InvalidInput(tuple(issues))


def _to_api_key(row: Columns) -> ApiKey:
    return ApiKey(
        id=row["id"],
        account_id=row["account_id"],
        name=row["name"],
        role=Role(row["role"]),
        digest=row["digest"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        last_used_at=row["last_used_at"],
        revoked_at=row["revoked_at"],
    )
