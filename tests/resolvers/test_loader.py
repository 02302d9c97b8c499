"""What a loader reads, how often, and what becomes of those who ask."""

import asyncio
from collections.abc import Sequence

import pytest

from resolvers.loader import Loader


class Shop:
    """Answers the length of each key, keeps what was asked, and waits where it is told to."""

    def __init__(self, *, broken: bool = False) -> None:
        self.asked: list[list[str]] = []
        self.begun: asyncio.Queue[None] = asyncio.Queue()
        self.cancelled: asyncio.Queue[None] = asyncio.Queue()
        self.open = asyncio.Event()
        self.open.set()
        self._broken = broken

    async def read(self, keys: list[str]) -> Sequence[int]:
        self.asked.append(keys)
        self.begun.put_nowait(None)
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled.put_nowait(None)
            raise
        if self._broken:
            raise ValueError("broken")
        return [len(key) for key in keys]


async def test_what_is_asked_for_at_one_moment_is_read_by_one_call_and_kept() -> None:
    shop = Shop()
    loader = Loader(shop.read)
    one, many, more = await asyncio.gather(loader.load("a"), loader.load_many(["bb", "a", "bb"]), loader.load("ccc"))
    assert (one, many, more) == (1, [2, 1, 2], 3)
    assert await loader.load_many(["ccc", "a"]) == [3, 1]
    assert await loader.load_many([]) == []
    assert shop.asked == [["a", "bb", "ccc"]]


async def test_who_comes_during_a_call_waits_for_the_next_one_too() -> None:
    shop = Shop()
    shop.open.clear()
    loader = Loader(shop.read)
    first = asyncio.create_task(loader.load("a"))
    await shop.begun.get()
    second = asyncio.create_task(loader.load_many(["bb", "a"]))
    await shop.begun.get()
    shop.open.set()
    assert (await first, await second) == (1, [2, 1])
    assert shop.asked == [["a"], ["bb"]]


async def test_keys_with_one_name_are_one() -> None:
    shop = Shop()
    loader = Loader(shop.read, name=str.lower)
    loader.prime("ONE", 7)
    assert await loader.load_many(["A", "a", "one"]) == [1, 1, 7]
    assert [[key.lower() for key in keys] for keys in shop.asked] == [["a"]]


async def test_what_is_known_need_not_be_read() -> None:
    shop = Shop()
    loader = Loader(shop.read)
    waiting = asyncio.create_task(loader.load_many(["a", "b"]))
    loader.prime_many({"a": 10, "b": 20})
    loader.prime("a", 11)
    assert await waiting == [10, 20]
    assert await loader.load("a") == 10
    assert shop.asked == []


async def test_a_failure_is_told_to_all_who_ask() -> None:
    shop = Shop(broken=True)
    loader = Loader(shop.read)
    failures = await asyncio.gather(loader.load("a"), loader.load_many(["a", "b"]), return_exceptions=True)
    assert [repr(each) for each in failures] == ["ValueError('broken')"] * 2
    with pytest.raises(ValueError, match="broken"):
        await loader.load("b")
    assert shop.asked == [["a", "b"]]


async def test_a_wrong_number_of_values_is_a_failure() -> None:
    async def read(keys: list[str]) -> list[int]:
        return [0] * (len(keys) - 1)

    loader = Loader(read)
    with pytest.raises(ValueError, match="shorter"):
        await loader.load_many(["a", "b"])


async def test_a_call_ends_only_when_nobody_waits_for_it() -> None:
    # given two who wait for one call
    shop = Shop()
    shop.open.clear()
    loader = Loader(shop.read)
    one, other = asyncio.create_task(loader.load("a")), asyncio.create_task(loader.load_many(["a", "bb"]))
    await shop.begun.get()
    # when one of them gives up, the other one still waits
    one.cancel()
    await asyncio.wait([one])
    assert shop.cancelled.empty()
    # when the other one does, too, the call ends
    other.cancel()
    await asyncio.wait([other])
    await shop.cancelled.get()
    # and who asks after that is answered by another
    shop.open.set()
    assert await loader.load_many(["a", "bb"]) == [1, 2]
    assert shop.asked == [["a", "bb"], ["a", "bb"]]


async def test_who_waits_for_another_call_first_is_answered_though_the_next_one_was_given_up() -> None:
    # given one who waits for a call under way, and then for one that somebody else waits for, too
    shop = Shop()
    shop.open.clear()
    loader = Loader(shop.read)
    first = asyncio.create_task(loader.load("a"))
    await shop.begun.get()
    other, both = asyncio.create_task(loader.load("bb")), asyncio.create_task(loader.load_many(["a", "bb"]))
    await shop.begun.get()
    # when the other one gives up
    other.cancel()
    await shop.cancelled.get()
    # then the key is read again
    shop.open.set()
    assert (await first, await both) == (1, [1, 2])
    assert shop.asked == [["a"], ["bb"], ["bb"]]
