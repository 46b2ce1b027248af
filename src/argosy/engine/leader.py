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
    lease, term, asked_at = await _win(store, name=name, ttl=ttl)
    # The belief to lead is a time-out around the body, which each renewal moves on.
    belief = asyncio.timeout_at(asked_at + _belief_seconds(ttl))
    try:
        async with belief:
            keeper = asyncio.create_task(
                _keep(store, lease, ttl, belief), name=f"keep the lead of {name}"
            )
            try:
                yield term
            finally:
                keeper.cancel()
                await asyncio.gather(keeper, return_exceptions=True)
    except TimeoutError:
        if belief.expired():
            raise LeaseLost("the lease of the leading engine has ended, or may have") from None
        raise
    finally:
        if not belief.expired():
            # A courtesy to the next leader; the lease would run out by itself.
            with suppress(Temporary, base.LeaseNotFound):
                await store.revoke(lease.id)


async def _win(store: base.Store, *, name: str, ttl: timedelta) -> tuple[base.Lease, Term, float]:
    """The lease, the term, and the loop time before the lease began."""
    while True:
        await _wait_until_nobody_leads(store)
        asked_at = asyncio.get_running_loop().time()
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
            return lease, Term(guard, result.revision), asked_at
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


async def _keep(
    store: base.Store, lease: base.Lease, ttl: timedelta, belief: asyncio.Timeout
) -> None:
    """Renew the lease three times within its life and move the belief on; end the belief when the lease has ended."""
    loop = asyncio.get_running_loop()
    pause = ttl.total_seconds() / 3
    while True:
        await asyncio.sleep(pause)
        # Counted from before the question: the store's own clock starts later.
        asked_at = loop.time()
        pause = ttl.total_seconds() / 3
        try:
            await store.keep_alive(lease.id)
        except base.LeaseNotFound:
            until = loop.time()
        except Temporary:
            pause = ttl.total_seconds() / 30
            continue
        else:
            until = asked_at + _belief_seconds(ttl)
        if belief.expired():
            return
        belief.reschedule(until)


def _belief_seconds(ttl: timedelta) -> float:
    return ttl.total_seconds() * 2 / 3
