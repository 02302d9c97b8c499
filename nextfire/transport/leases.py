"""What callers hold at a time over all processes: leases in Redis, which run out unless their process renews them.

The leases of one caller and kind are a sorted set, by the time at which they run out. Redis tells the time, so that the
clocks of the processes do not matter. What a process held that was killed is free again after `LASTING`.

A process keeps what is given back for up to a second, to be taken again: to ask for each operation would take
longer than to run a small one. Another process may refuse a caller that is near its limit for so long.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any, NamedTuple

from nextfire.transport.store import PREFIX, Store, StoreAway

LASTING = timedelta(seconds=15)
RENEWED_EVERY = timedelta(seconds=5)
KEPT_FOR = timedelta(seconds=1)
_AT_ONCE = 200
"""Leases in one message to the store, so that neither side is kept from all else for long."""

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

_TAKE = f"""{_NOW}
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""

_RENEW = f"""{_NOW}
for index, key in ipairs(KEYS) do
  redis.call('ZADD', key, now + ARGV[1], ARGV[index + 1])
  redis.call('PEXPIRE', key, ARGV[1])
end
"""

_GIVE_BACK = """
for index, key in ipairs(KEYS) do redis.call('ZREM', key, ARGV[index]) end
"""


class Lease(NamedTuple):
    """One of what is held under a key."""

    key: str
    name: str


class Leases:
    """The leases of one process. They last as long as `tend` runs."""

    def __init__(
        self,
        store: Store,
        *,
        lasting: timedelta = LASTING,
        renewed_every: timedelta = RENEWED_EVERY,
        kept_for: timedelta = KEPT_FOR,
    ) -> None:
        self._store = store
        self._lasting = int(lasting.total_seconds() * 1000)
        self._renewed_every = renewed_every.total_seconds()
        self._kept_for = kept_for.total_seconds()
        self._process = uuid.uuid4().hex
        self._numbers = count()
        self._held: set[Lease] = set()
        self._idle: dict[str, list[Lease]] = defaultdict(list)
        self._take, self._renew, self._give_back = map(store.redis.register_script, (_TAKE, _RENEW, _GIVE_BACK))

    async def take(self, what: str, most: int) -> Lease | None:
        """Hold one more; None where all processes together hold the most already.

        While the store is away it is had without asking, and told once that is back.
        """
        key = f"{PREFIX}:held:{what}"
        if idle := self._idle.get(key):
            lease = idle.pop()
        else:
            lease = Lease(key, f"{self._process}:{next(self._numbers)}")
            with suppress(StoreAway):
                if not await self._store.ask(lambda: self._take(keys=[key], args=[lease.name, self._lasting, most])):
                    return None
        self._held.add(lease)
        return lease

    def give_back(self, lease: Lease) -> None:
        """Hold it no longer. Others may have it within a second."""
        self._held.discard(lease)
        self._idle[lease.key].append(lease)

    async def tend(self) -> None:
        """Renew what is held, and give back what lies idle, until cancelled."""
        clock = asyncio.get_running_loop().time
        renew_at = clock() + self._renewed_every
        while True:
            await asyncio.sleep(self._kept_for)
            await self.give_back_idle()
            if clock() >= renew_at:
                renew_at = clock() + self._renewed_every
                await self._tell(self._renew, [*self._held], self._lasting)

    async def give_back_idle(self) -> None:
        """Tell the store of all that was given back. Where it cannot be told, they run out."""
        idle = [lease for leases in self._idle.values() for lease in leases]
        self._idle.clear()
        await self._tell(self._give_back, idle)

    async def _tell(self, script: Any, leases: Sequence[Lease], *arguments: int) -> None:
        with suppress(StoreAway):
            for start in range(0, len(leases), _AT_ONCE):
                some = leases[start : start + _AT_ONCE]
                keys, names = [each.key for each in some], [each.name for each in some]
                await self._store.ask(partial(script, keys=keys, args=[*arguments, *names]))
