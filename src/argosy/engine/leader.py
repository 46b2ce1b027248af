"""One engine leads at a time: a key under a lease, and a compare on it in every write that the leader makes.

The lease alone is not enough, because a leader that was paused learns of its end too late (Jepsen's analysis of etcd
3.4.3: locks "do not, and can not, guarantee mutual exclusion"). So each of its transactions carries `Term.guard`, and a
former leader can write nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from argosy.errors import LeaseLost, Temporary
from argosy.store import base, keys


@dataclass(frozen=True, slots=True)
class Term:
    """A time of leading, from an election to the loss of the lease."""

    guard: base.Compare
    """Holds as long as this very election is the last one."""
    revision: int


@asynccontextmanager
async def lead(store: base.Store, *, name: str, ttl: timedelta) -> AsyncIterator[Term]:
    """Wait until nobody leads, lead, and keep leading while the body runs.

    The body is cancelled and LeaseLost raised when the lease may have run out by the local clock: that is a third of
    the TTL before the store can give it to another. Leaving gives the lease up at once.
    Raises Temporary when the store cannot be reached for the election.
    """
    lease, term = await _win(store, name=name, ttl=ttl)
    body = asyncio.current_task()
    assert body is not None
    lost: list[LeaseLost] = []

    async def keep() -> None:
        try:
            await _keep(store, lease, ttl)
        except LeaseLost as problem:
            lost.append(problem)
            body.cancel()

    keeper = asyncio.create_task(keep(), name=f"keep the lead of {name}")
    try:
        yield term
    except asyncio.CancelledError:
        if lost and body.uncancel() == 0:
            raise lost[0] from None
        raise
    finally:
        keeper.cancel()
        with suppress(asyncio.CancelledError):
            await keeper
        if not lost:
            # A courtesy to the next leader; the lease would run out by itself.
            with suppress(Temporary, base.LeaseNotFound):
                await store.revoke(lease.id)


async def _win(store: base.Store, *, name: str, ttl: timedelta) -> tuple[base.Lease, Term]:
    while True:
        await _wait_until_nobody_leads(store)
        lease = await store.grant(max(1, int(ttl.total_seconds())))
        try:
            result = await store.txn(
                [base.absent(keys.LEADER)], [base.Put(keys.LEADER, name.encode(), lease.id)]
            )
        except base.LeaseNotFound:
            # This process stood still for longer than the lease lives: nothing was written.
            continue
        except Temporary:
            # It may have been written: the lease decides, so giving the lease up takes the key along.
            with suppress(Temporary, base.LeaseNotFound):
                await store.revoke(lease.id)
            raise
        if result.succeeded:
            guard = base.Compare(keys.LEADER, base.Target.CREATE, "=", result.revision)
            return lease, Term(guard, result.revision)
        with suppress(base.LeaseNotFound):
            await store.revoke(lease.id)


async def _wait_until_nobody_leads(store: base.Store) -> None:
    found = await store.range(keys.LEADER)
    if not found.kvs:
        return
    with suppress(base.Compacted):  # What happened was forgotten meanwhile: look again.
        async with store.watch(keys.LEADER, start_revision=found.revision + 1) as batches:
            async for batch in batches:
                if any(event.kind is base.EventKind.DELETE for event in batch.events):
                    return


async def _keep(store: base.Store, lease: base.Lease, ttl: timedelta) -> None:
    loop = asyncio.get_running_loop()
    interval = ttl.total_seconds() / 3
    asked_at = loop.time()
    believed_until = asked_at + 2 * interval
    while True:
        await asyncio.sleep(max(0.0, asked_at + interval - loop.time()))
        asked_at = loop.time()
        try:
            async with asyncio.timeout_at(believed_until):
                await store.keep_alive(lease.id)
        except base.LeaseNotFound:
            raise LeaseLost("the lease of the leading engine has ended") from None
        except (Temporary, TimeoutError):
            if loop.time() >= believed_until:
                raise LeaseLost("the leading engine could not renew its lease in time") from None
            await asyncio.sleep(min(0.2, interval / 5))
        else:
            # Counted from before the question: the store's own clock started later.
            believed_until = asked_at + 2 * interval
