"""The feed: nobody who watches misses a change, and nobody's slowness is another's trouble."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from argosy.api import feed as feed_module
from argosy.api.cluster import open_cluster
from argosy.api.feed import LOST_PLACE, STOPPING, TOO_SLOW, Feed, Subscription
from argosy.api.selection import Selection
from argosy.api.services import Api
from argosy.api.views import Message
from argosy.errors import Conflict, Invalid, StoreUnavailable
from argosy.model.ids import Digest, UnitName
from argosy.model.unit import DesiredState, Unit
from argosy.store import base, codec, keys
from argosy.store.memory import MemoryStore
from unit.api.conftest import clock

EVERYTHING = Selection()


async def put(store: MemoryStore, name: str, desired: str = "inactive") -> int:
    unit = Unit(name=UnitName(name), digest=Digest("d" * 64), desired=DesiredState(desired))
    result = await store.txn([], [base.Put(keys.unit(unit.name), codec.encode(unit))])
    return result.revision


def names(messages: list[Message]) -> list[str]:
    return [str(msgspec.json.decode(message.data)["name"]) for message in messages]


async def test_a_read_sees_every_write_acknowledged_before_it(store: MemoryStore, api: Api) -> None:
    for number in range(20):
        name = f"u{number}.service"
        await put(store, name)
        assert UnitName(name) in (await api.feed.catch_up()).units


async def test_a_subscriber_hears_of_each_change_after_its_revision_once_and_in_order(
    store: MemoryStore, api: Api
) -> None:
    await put(store, "before.service")
    async with api.feed.subscribe(EVERYTHING) as (revision, replay, later):
        written = [await put(store, f"u{number}.service") for number in range(5)]
        heard: list[Message] = []
        while len(heard) < 5:
            heard += await later.take(5)
    assert replay == []
    assert [message.revision for message in heard] == written
    assert min(written) > revision
    assert names(heard) == [f"u{number}.service" for number in range(5)]


async def test_a_subscriber_hears_of_the_units_it_asked_for_only(
    store: MemoryStore, api: Api
) -> None:
    async with api.feed.subscribe(Selection(["web*"])) as (_, _, later):
        await put(store, "db.service")
        await put(store, "web@1.service")
        assert names(await later.take(5)) == ["web@1.service"]


async def test_since_tells_first_what_changed_after_that_revision_as_it_is_now(
    store: MemoryStore, api: Api
) -> None:
    seen = await put(store, "a.service")
    await put(store, "b.service")
    await put(store, "c.service", "loaded")
    await put(store, "c.service", "launched")
    await store.txn([], [base.Delete(keys.unit(UnitName("b.service")))])
    async with api.feed.subscribe(EVERYTHING, since=seen) as (_, replay, _):
        views = [msgspec.json.decode(message.data) for message in replay]
    assert [(view["name"], view.get("desired"), view.get("deleted")) for view in views] == [
        ("b.service", None, True),
        ("c.service", "launched", None),
    ]


async def test_since_a_revision_that_is_forgotten_is_a_conflict(
    store: MemoryStore, api: Api
) -> None:
    seen = await put(store, "a.service")
    await store.compact(await put(store, "b.service"))
    with pytest.raises(Conflict, match="forgotten"):
        async with api.feed.subscribe(EVERYTHING, since=seen - 1):
            pass


async def test_since_a_revision_of_the_future_is_a_conflict(store: MemoryStore, api: Api) -> None:
    with pytest.raises(Conflict, match="not there yet"):
        async with api.feed.subscribe(EVERYTHING, since=10**6):
            pass


async def test_a_client_that_falls_behind_is_cut_off_and_the_others_hear_everything(
    store: MemoryStore, api: Api
) -> None:
    async with (
        api.feed.subscribe(EVERYTHING, limit=3) as (_, _, slow),
        api.feed.subscribe(EVERYTHING) as (_, _, quick),
    ):
        for number in range(5):
            await put(store, f"u{number}.service")
        await api.feed.catch_up()
        assert len(await quick.take(5)) == 5
        assert (await slow.take(5), slow.ended) == ([], TOO_SLOW)


async def test_a_feed_that_closes_ends_every_subscription_with_the_reason(
    store: MemoryStore, api: Api
) -> None:
    async with api.feed.subscribe(EVERYTHING) as (_, _, one):
        api.feed.close()
        assert (await one.take(5), one.ended) == ([], STOPPING)
        async with api.feed.subscribe(EVERYTHING) as (_, _, late):
            assert late.ended == STOPPING


async def test_a_subscription_that_ended_takes_nothing_more() -> None:
    one = Subscription(EVERYTHING, limit=10)
    one.end("enough")
    one.offer([Message("unit", "a.service", 1, b"{}")])
    assert await one.take(1) == []


async def test_what_others_write_into_the_same_store_keeps_no_reader_waiting(
    store: MemoryStore, api: Api
) -> None:
    for number in range(3):
        written = await store.txn([], [base.Put(f"~of another program/{number}", b"")])
        async with asyncio.timeout(2):
            picture = await api.feed.catch_up()
        assert picture.revision > written.revision


async def test_without_a_feed_that_runs_a_reader_is_told_to_try_again(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "CATCH_UP_SECONDS", 0.05)
    with pytest.raises(StoreUnavailable):
        await Feed(store, clock).catch_up()


class Interrupted(MemoryStore):
    """Its first watch breaks after the first change, as that of a store that fails over."""

    def __init__(self) -> None:
        super().__init__()
        self.breaks = 1

    @asynccontextmanager
    async def watch(
        self,
        start: str,
        end: str | None = None,
        *,
        start_revision: int = 0,
        with_previous: bool = True,
    ) -> AsyncIterator[AsyncIterator[base.WatchBatch]]:
        async with super().watch(start, end, start_revision=start_revision) as batches:
            yield self._break(batches)

    async def _break(
        self, batches: AsyncIterator[base.WatchBatch]
    ) -> AsyncIterator[base.WatchBatch]:
        async for batch in batches:
            yield batch
            if self.breaks:
                self.breaks -= 1
                raise base.WatchLost("failed over")


async def test_a_feed_whose_watch_breaks_reads_the_store_again_and_cuts_its_clients_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed_module, "RETRY_SECONDS", 0.01)
    store = Interrupted()
    await open_cluster(store, clock=clock)
    feed = Feed(store, clock)
    following = asyncio.create_task(feed.run())
    async with feed.subscribe(EVERYTHING) as (_, _, later):
        await put(store, "break.service")
        while later.ended is None:
            await later.take(5)
    assert later.ended == LOST_PLACE
    await put(store, "after.service")
    picture = await feed.catch_up()
    assert set(picture.units) == {"break.service", "after.service"}
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


def test_a_malformed_glob_is_refused_before_anything_begins() -> None:
    with pytest.raises(Invalid):
        Selection(["web[.service"])
