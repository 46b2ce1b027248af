"""One machine's door to the store: what an agent may see and write, and nothing beyond its own machine.

Implements `agent.link.ServerLink` for an agent of the same process; over the network the same object stands behind the
machine's certificate. The machine's id is given by whoever opens the gate, never by what the agent sends.

Presence is a key under a lease. A report renews the lease, which costs the store no write, so a heartbeat is free; when
the lease has ended the report says so with Conflict, and the agent registers anew and reports in full.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime

import msgspec

from argosy.api import texts
from argosy.api.journal import Journal
from argosy.errors import Conflict, Invalid, LeaseLost, StoreUnavailable, Temporary
from argosy.model.assignment import Assignment
from argosy.model.cluster import Cluster
from argosy.model.event import Event
from argosy.model.ids import Digest, MachineId
from argosy.model.link import Delivery, Report
from argosy.model.machine import Machine
from argosy.model.observed import Observed, UnitStatus
from argosy.settings import PresenceSettings
from argosy.store import base, codec, keys

CACHED_TEXT_BYTES = 8 * 1024 * 1024
REPORT_BYTES = base.MAX_TXN_BYTES - 20_000


class MachineGate:
    """The link of one machine's agent to a store.

    lease_ttl_seconds: how long the machine counts as there without a report.
    holder: tells this machine from another with its id. The same again (after a restart) takes its presence over;
        None for one that nobody else has.
    """

    def __init__(
        self,
        store: base.Store,
        machine_id: MachineId,
        *,
        clock: Callable[[], datetime],
        lease_ttl_seconds: int = int(PresenceSettings().suspect_after.total_seconds()),
        holder: str | None = None,
    ) -> None:
        self._store = store
        self._machine_id = machine_id
        self._clock = clock
        self._lease_ttl_seconds = lease_ttl_seconds
        self._holder = (holder or secrets.token_hex(8)).encode()
        """Value of the presence key."""
        self._journal = Journal(f"{machine_id[:8]}-{secrets.token_hex(3)}")
        self._lease: base.Lease | None = None
        self._texts: OrderedDict[Digest, bytes] = OrderedDict()

    async def register(self, machine: Machine) -> None:
        """Record the machine and that it is there, in one transaction.

        Raises Conflict when another live machine has its id, Invalid for a machine that is not this gate's.
        """
        if machine.id != self._machine_id:
            raise Invalid(f"this is the gate of machine {self._machine_id}, not of {machine.id}")
        old, self._lease = self._lease, None
        lease = await self._store.grant(self._lease_ttl_seconds)
        try:
            await self._write_registration(machine, lease)
        except base.LeaseNotFound as problem:
            raise LeaseLost("registering took longer than a machine may be silent") from problem
        except BaseException:
            await self._revoke(lease)
            raise
        self._lease = lease
        if old is not None:
            # Its key has moved to the new lease; what is left is an empty lease.
            await self._revoke(old)

    async def report(self, report: Report) -> None:
        """Record what the machine runs, and that it is there. A report beyond one transaction is written in several.

        Each holds only while this registration is the machine's last one: a server that stood still cannot write an old
        report over a newer one that came through another server.
        Raises LeaseLost when the machine is not registered any more: register, then report in full.
        """
        lease = await self._renew()
        ops = await self._differences(report) if report.full else _ops(self._machine_id, report)
        ops += [self._journal.put(event) for event in self._own(report.events)]
        presence = keys.presence(self._machine_id)
        still_registered = base.Compare(presence, base.Target.LEASE, "=", lease.id)
        for chunk in _chunks(ops):
            result = await self._store.txn([still_registered], chunk)
            if not result.succeeded:
                self._forget(lease)
                raise LeaseLost("the machine has registered anew since")

    @asynccontextmanager
    async def assignments(self) -> AsyncIterator[AsyncIterator[Delivery]]:
        """The machine's assignment now, if there is one, then each newer one; a slow reader gets the newest only.

        What is delivered never goes backwards. The iterator raises Temporary when the stream breaks; call again.
        """
        cluster = await self._cluster()
        found = await self._store.range(keys.assignment(self._machine_id))
        newest = found.kvs[0] if found.kvs else None
        watch = self._store.watch(
            keys.assignment(self._machine_id), start_revision=found.revision + 1
        )
        async with AsyncExitStack() as stack:
            try:
                batches = await stack.enter_async_context(watch)
            except base.Compacted as problem:
                raise StoreUnavailable(
                    "what followed was compacted before it was read"
                ) from problem
            yield self._deliveries(cluster, newest, batches)

    async def text(self, digest: Digest) -> bytes:
        """The exact text. Raises NotFound."""
        known = self._texts.get(digest)
        if known is None:
            known = self._texts[digest] = await texts.read(self._store, digest)
        self._texts.move_to_end(digest)
        while sum(map(len, self._texts.values())) > CACHED_TEXT_BYTES and len(self._texts) > 1:
            self._texts.popitem(last=False)
        return known

    async def _write_registration(self, machine: Machine, lease: base.Lease) -> None:
        presence = await self._store.range(keys.presence(machine.id))
        known = await self._store.range(keys.machine(machine.id))
        if presence.kvs and presence.kvs[0].value != self._holder:
            raise Conflict(
                f"another live machine has the id {machine.id}",
                hint="two machines were made from one image? give one a new machine-id",
            )
        guard = (
            base.unchanged(presence.kvs[0])
            if presence.kvs
            else base.absent(keys.presence(machine.id))
        )
        now = self._clock()
        record = machine
        if machine.registered_at is None:
            first = codec.decode(known.kvs[0].value, Machine) if known.kvs else None
            registered_at = first.registered_at if first else now
            record = msgspec.structs.replace(machine, registered_at=registered_at)
        ops: list[base.Op] = [base.Put(keys.presence(machine.id), self._holder, lease.id)]
        if not known.kvs or known.kvs[0].value != codec.encode(record):
            ops.append(base.Put(keys.machine(machine.id), codec.encode(record)))
        if not presence.kvs:
            ops.append(self._journal.put(self._joined(machine, now)))
        result = await self._store.txn([guard], ops)
        if not result.succeeded:
            raise Conflict(f"another machine registered as {machine.id} at the same time")

    def _joined(self, machine: Machine, at: datetime) -> Event:
        return Event(
            at=at,
            kind="machine.joined",
            machine=machine.id,
            message=f"{machine.hostname or machine.id} is there",
            by="agent",
        )

    async def _renew(self) -> base.Lease:
        lease = self._lease
        if lease is None:
            raise LeaseLost("the machine is not registered")
        try:
            await self._store.keep_alive(lease.id)
        except base.LeaseNotFound as problem:
            self._forget(lease)
            raise LeaseLost(
                "the machine was silent for too long and must register anew"
            ) from problem
        return lease

    def _forget(self, lease: base.Lease) -> None:
        # Unless it registered anew while the store was asked.
        if self._lease is lease:
            self._lease = None

    async def _revoke(self, lease: base.Lease) -> None:
        # A courtesy: an unused lease ends by itself.
        with suppress(base.LeaseNotFound, Temporary):
            await self._store.revoke(lease.id)

    async def _differences(self, report: Report) -> list[base.Op]:
        """Between what the store has of this machine and a full report."""
        prefix = keys.observed_of(self._machine_id)
        found = await self._store.range(prefix, base.prefix_end(prefix))
        there = {kv.key: kv.value for kv in found.kvs}
        ops = _ops(self._machine_id, report)
        puts = {op.key: op for op in ops if isinstance(op, base.Put)}
        return [
            *(base.Delete(key) for key in there if key not in puts),
            *(op for key, op in puts.items() if there.get(key) != op.value),
        ]

    def _own(self, events: Iterable[Event]) -> list[Event]:
        """An agent tells of its own machine, whatever it says."""
        own = {"machine": self._machine_id, "by": "agent"}
        return [msgspec.structs.replace(event, **own) for event in events]

    async def _cluster(self) -> Cluster:
        found = await self._store.range(keys.CLUSTER)
        if not found.kvs:
            raise StoreUnavailable("the store belongs to no cluster yet")
        return codec.decode(found.kvs[0].value, Cluster)

    async def _deliveries(
        self,
        cluster: Cluster,
        newest: base.KeyValue | None,
        batches: AsyncIterator[base.WatchBatch],
    ) -> AsyncIterator[Delivery]:
        if newest is not None:
            yield _delivery(cluster, newest)
        latest = _Latest(batches)
        try:
            while True:
                yield _delivery(cluster, await latest.next())
        finally:
            await latest.close()


class _Latest:
    """Reads a watch of one key ahead, and hands out its newest value only. A deletion is no value: absence is never a
    command.
    """

    def __init__(self, batches: AsyncIterator[base.WatchBatch]) -> None:
        self._newest: base.KeyValue | None = None
        self._problem: Exception | None = None
        self._wake = asyncio.Event()
        self._reader = asyncio.create_task(self._read(batches), name="read assignments ahead")

    async def next(self) -> base.KeyValue:
        """Raises Temporary when the watch ended."""
        await self._wake.wait()
        self._wake.clear()
        newest, self._newest = self._newest, None
        if newest is not None:
            if self._problem is not None:
                self._wake.set()
            return newest
        assert self._problem is not None
        raise StoreUnavailable(
            f"the watch of assignments ended: {self._problem}"
        ) from self._problem

    async def close(self) -> None:
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def _read(self, batches: AsyncIterator[base.WatchBatch]) -> None:
        problem: Exception = StoreUnavailable("the store ended it")
        try:
            async for batch in batches:
                for event in batch.events:
                    if event.kind is base.EventKind.PUT:
                        self._newest = event.kv
                        self._wake.set()
        except Exception as caught:
            problem = caught
        self._problem = problem
        self._wake.set()


def _delivery(cluster: Cluster, kv: base.KeyValue) -> Delivery:
    return Delivery(
        cluster=cluster.id,
        epoch=cluster.epoch,
        revision=kv.mod_revision,
        assignment=codec.decode(kv.value, Assignment),
    )


def _ops(machine: MachineId, report: Report) -> list[base.Op]:
    changed = {status.name: status for status in report.changed}
    return [
        *(base.Delete(keys.observed(machine, name)) for name in report.gone if name not in changed),
        *(_put(machine, status) for status in changed.values()),
    ]


def _put(machine: MachineId, status: UnitStatus) -> base.Put:
    record = Observed(machine=machine, status=status)
    return base.Put(keys.observed(machine, status.name), codec.encode(record))


def _chunks(ops: Sequence[base.Op]) -> Iterable[list[base.Op]]:
    chunk: list[base.Op] = []
    size = 0
    for op in ops:
        more = len(op.key) + (len(op.value) if isinstance(op, base.Put) else 0)
        if chunk and (len(chunk) == base.MAX_TXN_OPS or size + more > REPORT_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(op)
        size += more
    if chunk:
        yield chunk
