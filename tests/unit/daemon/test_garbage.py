"""Garbage collection of a server: short pauses, and nothing that is garbage stays for ever."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from argosy.daemon import garbage


class Knot:
    """Garbage that only the collector finds."""

    def __init__(self) -> None:
        self.itself = self


async def until_frozen_more_than(count: int) -> None:
    async with asyncio.timeout(10):
        while gc.get_freeze_count() <= count:
            await asyncio.sleep(0.01)


async def test_what_lives_on_is_set_aside_and_all_of_it_is_looked_at_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(garbage, "SET_ASIDE_SECONDS", 0.01)
    monkeypatch.setattr(garbage, "ALL_AFTER_SECONDS", 0.5)
    knot = Knot()
    last = weakref.ref(knot)
    task = asyncio.create_task(garbage.keep_pauses_short())
    try:
        await until_frozen_more_than(1000)
        del knot
        gc.collect()
        assert last() is not None  # it was set aside while it lived
        async with asyncio.timeout(10):
            while last() is not None:
                await asyncio.sleep(0.05)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert gc.get_freeze_count() == 0
