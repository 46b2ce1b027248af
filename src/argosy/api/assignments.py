"""One watch for the assignments of all machines that speak to this server, handed out to each machine's stream.

A thousand watches would be a thousand messages from the store for a plan that touches a thousand machines, and everything
else that this server follows would wait behind them. The watch runs while anybody follows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from argosy.errors import StoreUnavailable
from argosy.model.ids import MachineId
from argosy.store import base, keys


class Follower:
    """One machine's stream: hands out the newest assignment only, and never an older one than before."""

    def __init__(self) -> None:
        self._newest: base.KeyValue | None = None
        self._revision = 0
        """Of the newest that was offered."""
        self._problem: StoreUnavailable | None = None
        self._wake = asyncio.Event()

    def offer(self, kv: base.KeyValue) -> None:
        if kv.mod_revision > self._revision:
            self._revision = kv.mod_revision
            self._newest = kv
            self._wake.set()

    def end(self, problem: StoreUnavailable) -> None:
        self._problem = problem
        self._wake.set()

    async def next(self) -> base.KeyValue:
        """Raises StoreUnavailable when no more will come."""
        await self._wake.wait()
        newest, self._newest = self._newest, None
        if self._problem is None:
            self._wake.clear()
        if newest is not None:
            return newest
        assert self._problem is not None
        raise self._problem


class Assignments:
    """Those of all machines, from one store."""

    def __init__(self, store: base.Store) -> None:
        self._store = store
        self._watch: _Watch | None = None

    @asynccontextmanager
    async def follow(self, machine: MachineId) -> AsyncIterator[Follower]:
        """Follow a machine's assignment: every value that is put after this was entered is offered. A deletion is no value,
        because absence is never a command.

        Whoever reads the present value afterwards and offers it misses nothing. Raises StoreUnavailable when the store
        cannot be followed.
        """
        if self._watch is None or self._watch.is_over:
            self._watch = _Watch(self._store)
        watch = self._watch
        follower = Follower()
        watch.followers.setdefault(machine, set()).add(follower)
        try:
            await watch.begun()
            yield follower
        finally:
            watch.followers[machine].discard(follower)
            if not watch.followers[machine]:
                del watch.followers[machine]
            if not watch.followers:
                await watch.close()


class _Watch:
    """From its beginning to its end; then somebody makes another one."""

    def __init__(self, store: base.Store) -> None:
        self.followers: dict[MachineId, set[Follower]] = {}
        self.is_over = False
        self._store = store
        self._problem: StoreUnavailable | None = None
        self._has_begun = asyncio.Event()
        self._task = asyncio.create_task(self._read(), name="follow all assignments")

    async def begun(self) -> None:
        await self._has_begun.wait()
        if self._problem is not None:
            raise self._problem

    async def close(self) -> None:
        self.is_over = True
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self) -> None:
        problem: object = "the store ended it"
        try:
            end = base.prefix_end(keys.ASSIGNMENTS)
            async with self._store.watch(keys.ASSIGNMENTS, end, with_previous=False) as batches:
                self._has_begun.set()
                async for batch in batches:
                    for event in batch.events:
                        if event.kind is base.EventKind.PUT:
                            self._hand_out(event.kv)
        except Exception as caught:
            problem = caught
        self.is_over = True
        self._problem = StoreUnavailable(f"the watch of assignments ended: {problem}")
        self._has_begun.set()
        for followers in self.followers.values():
            for follower in followers:
                follower.end(self._problem)

    def _hand_out(self, kv: base.KeyValue) -> None:
        for follower in self.followers.get(MachineId(keys.last_part(kv.key)), ()):
            follower.offer(kv)
