"""The machines that speak to one server, and how it vouches for them in the store.

One lease stands for the whole server: its own record and the presence of all its machines live under it, and it is
renewed three times in its life. So a heartbeat costs the store nothing, and a thousand machines at rest cost one renewal
every few seconds. When the server dies, all of that ends with the lease, unless the machines have moved to another server
by then: whoever registers a machine last has its presence key, and the key's revision tells reports of before from those of
after.

A server that acknowledges what a machine says vouches for it: units that must not run twice run on because of that
(`agent/permit.py`, `docs/design/presence.md`). So it does it only while it is sure of its own lease.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import msgspec

from argosy import __version__
from argosy.api.access import another
from argosy.api.assignments import Assignments
from argosy.api.journal import Journal
from argosy.api.texts import CachedTexts
from argosy.api.together import Together
from argosy.errors import Conflict, Indeterminate, LeaseLost, StoreUnavailable, Temporary
from argosy.model.cluster import Cluster
from argosy.model.event import Event
from argosy.model.ids import MachineId, UnitName
from argosy.model.link import Registered
from argosy.model.machine import Machine
from argosy.model.presence import Presence
from argosy.model.server import ServerRecord
from argosy.model.silence import VOUCHING
from argosy.settings import PresenceSettings
from argosy.store import base, codec, keys

log = logging.getLogger(__name__)
RENEWALS = 3
"""How often the lease is renewed in its life."""
LOOKS = 9
"""How often, in the time that a machine may be silent, somebody looks which ones are."""
MACHINES_PER_TXN = base.MAX_TXN_OPS // 2
"""Two conditions each."""
GOODBYE_SECONDS = 1.0


@dataclass(slots=True, eq=False)
class Session:
    """One machine that registered here."""

    token: str
    """Names this registration."""
    machine: MachineId
    presence: bytes
    """Value of its presence key."""
    revision: int
    """Of the presence key's last change: no other registration has happened while it stays the same."""
    lease: int
    """Under which its presence was last put."""
    heard_at: float
    """Loop time."""
    units: frozenset[UnitName] | None = None
    """What the store has of it, once somebody had to know."""
    is_doubted: bool = False
    """Whether it had been silent for nearly too long when somebody looked the last time."""
    is_over: bool = False
    """Whether its presence is being taken away: nothing is answered any more, whatever becomes of that."""

    def guard(self) -> base.Compare:
        """Holds while this is the machine's last registration."""
        return base.Compare(keys.presence(self.machine), base.Target.MOD, "=", self.revision)


class Sessions:
    """Run it; machines may register before, but nothing is renewed then.

    name: of this server, unique in the cluster.
    endpoints: where agents and people reach it; empty where that is in this process.
    """

    def __init__(
        self,
        store: base.Store,
        *,
        name: str,
        clock: Callable[[], datetime],
        endpoints: Sequence[str] = (),
        settings: PresenceSettings | None = None,
    ) -> None:
        self.store = store
        self.clock = clock
        self.settings = settings or PresenceSettings()
        self.journal = Journal(f"gate-{secrets.token_hex(4)}")
        self.texts = CachedTexts(store)
        self.together = Together(store)
        self.assignments = Assignments(store)
        self._record = ServerRecord(
            name=name, endpoints=tuple(endpoints), version=__version__, since=clock()
        )
        self._silence = self.settings.suspect_after.total_seconds()
        self._lease: base.Lease | None = None
        self._asked_at = float("-inf")
        """When the last renewal was asked for that was granted."""
        self._granting = asyncio.Lock()
        self._wake = asyncio.Event()
        self._sessions: dict[MachineId, Session] = {}

    async def run(self) -> None:
        """Renew and look until cancelled. What stands in the store then, but for the server's own record, is left to
        run out, so that agents have the time to move to another server.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep(), name="renew the lease of this server")
                tasks.create_task(self._listen(), name="look which machines are silent")
        finally:
            await self._say_goodbye()

    @property
    def count(self) -> int:
        """How many machines this server hears of."""
        return len(self._sessions)

    # --- for gates ----------------------------------------------------------------------------------------------

    async def register(self, machine: Machine, holder: str, *, asked: int = 0) -> Registered:
        """Record the machine and that it is there, in one transaction.

        The same holder takes the machine over from whatever server had it.
        asked: when the machine asked for it (`Presence.asked`). Raises Conflict when another live machine has its id, or
        it has asked again since, StoreUnavailable while this server cannot vouch for it.
        """
        _, (clusters, servers, there, known) = await self.read(
            base.Get(keys.CLUSTER),
            base.Get(keys.SERVERS, base.prefix_end(keys.SERVERS)),
            base.Get(keys.presence(machine.id)),
            base.Get(keys.machine(machine.id)),
        )
        cluster = cluster_of(clusters)
        lease = await self._begun()
        presence = Presence(holder, asked)
        guard, ops = self._registration(machine, presence, lease, there=there, known=known)
        try:
            revision = await self.together.write(guard, ops)
        except base.LeaseNotFound as problem:
            self._lost(lease)
            raise StoreUnavailable(
                "this server lost its lease just now", hint="try again"
            ) from problem
        if revision is None:
            raise Conflict(f"another machine registered as {machine.id} at the same time")
        session = self._sessions[machine.id] = Session(
            token=secrets.token_hex(8),
            machine=machine.id,
            presence=presence.encode(),
            revision=revision,
            lease=lease.id,
            # After the write, however long that took: who had the machine before vouches for it until it looks again.
            heard_at=self._now(),
        )
        self.vouch(session)
        return Registered(
            cluster=cluster.id,
            epoch=cluster.epoch,
            heartbeat_seconds=self.settings.heartbeat_every.total_seconds(),
            suspect_seconds=self._silence,
            lost_seconds=self.settings.lost_after.total_seconds(),
            servers=_endpoints_of(servers),
            session=session.token,
        )

    def heard(self, machine_id: MachineId, token: str) -> Session:
        """Note that the machine is there.

        token: of its last registration. Raises LeaseLost when that was not here: it has to register, then report in full.
        """
        session = self._sessions.get(machine_id)
        if session is None or session.token != token or session.is_over:
            raise LeaseLost("the machine is not registered with this server")
        session.heard_at = self._now()
        session.is_doubted = False
        return session

    def vouch(self, session: Session) -> None:
        """Returns when this server may acknowledge what the machine said: its presence stands in the store, under a
        lease that was renewed lately. Raises StoreUnavailable if not, LeaseLost when the machine has to register anew.
        """
        if self._sessions.get(session.machine) is not session or session.is_over:
            raise LeaseLost("the machine has registered anew since")
        is_sure = self._now() - self._asked_at <= self._silence * VOUCHING
        if self._lease is None or session.lease != self._lease.id or not is_sure:
            raise StoreUnavailable(
                "this server cannot vouch for machines now, because its store does not answer",
                hint="another server may",
            )

    def forget(self, session: Session) -> None:
        """The machine is not registered here any more."""
        if self._sessions.get(session.machine) is session:
            del self._sessions[session.machine]

    def dismiss(self, machine_id: MachineId) -> None:
        """Forget the machine: it was removed from the cluster."""
        self._sessions.pop(machine_id, None)

    async def cluster(self) -> Cluster:
        """Raises StoreUnavailable when the store has none yet."""
        return cluster_of((await self.store.range(keys.CLUSTER)).kvs)

    async def servers(self) -> tuple[str, ...]:
        """Where servers are that run, in order of name."""
        found = await self.store.range(keys.SERVERS, base.prefix_end(keys.SERVERS))
        return _endpoints_of(found.kvs)

    async def read(self, *what: base.Get) -> tuple[int, list[tuple[base.KeyValue, ...]]]:
        """Several ranges, with the one revision at which they were so: a single round trip to the store."""
        result = await self.store.txn([], what)
        found = [one.kvs for one in result.responses if isinstance(one, base.RangeResult)]
        return result.revision, found

    def _registration(
        self,
        machine: Machine,
        presence: Presence,
        lease: base.Lease,
        *,
        there: Sequence[base.KeyValue],
        known: Sequence[base.KeyValue],
    ) -> tuple[base.Compare, list[base.Op]]:
        """What is to be written, and the condition for it. there, known: the presence and the record that the store has.

        Raises Conflict when the machine that is there is another one, or has asked again since.
        """
        if there:
            before = Presence.decode(there[0].value)
            if before.holder != presence.holder:
                raise another(machine.id)
            if before.asked > presence.asked:
                raise Conflict(f"machine {machine.id} has registered anew since")
        guard = base.unchanged(there[0]) if there else base.absent(keys.presence(machine.id))
        now = self.clock()
        record = machine
        if machine.registered_at is None:
            first = codec.decode(known[0].value, Machine) if known else None
            registered_at = first.registered_at if first else now
            record = msgspec.structs.replace(machine, registered_at=registered_at)
        ops: list[base.Op] = [
            base.Put(keys.presence(machine.id), presence.encode(), lease.id),
            # What was believed of its silence is over, also where no engine sees that it was back.
            base.Delete(keys.lost(machine.id)),
        ]
        if not known or known[0].value != codec.encode(record):
            ops.append(base.Put(keys.machine(machine.id), codec.encode(record)))
        if not there:
            ops.append(self.journal.put(_joined(machine, now)))
        return guard, ops

    # --- the lease ----------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        was_kept = True
        while True:
            due = self._asked_at + self._silence / RENEWALS
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, due - self._now())):
                    await self._wake.wait()
            self._wake.clear()
            try:
                # A call without an answer must not hold up the next attempt until the lease is over.
                async with asyncio.timeout(self._silence / RENEWALS):
                    await self._renew()
                is_kept, reason = True, ""
            except TimeoutError:
                is_kept, reason = False, "the store gives no answer"
            except Temporary as problem:
                is_kept, reason = False, problem.message
            if is_kept is not was_kept:
                log.warning("vouching for machines again") if is_kept else log.warning(
                    "cannot renew what vouches for the machines of this server: %s", reason
                )
            was_kept = is_kept
            if not is_kept:
                await asyncio.sleep(self._silence / LOOKS)

    async def _renew(self) -> None:
        lease = self._lease
        if lease is not None:
            asked_at = self._now()
            try:
                await self.store.keep_alive(lease.id)
            except base.LeaseNotFound:
                self._lost(lease)
            else:
                await self._look(lease)
                self._asked_at = max(self._asked_at, asked_at)
        begun = await self._begun()
        await self._put_back(begun)

    async def _look(self, lease: base.Lease) -> None:
        """Compare what the store has under this lease with what this server knows.

        Machines whose presence is not there as it was put are forgotten: they were removed, or another server has them. A
        presence without a session is of a registration that got no answer: it ends like any other when nothing is heard.
        """
        found = await self.store.range(keys.PRESENCE, base.prefix_end(keys.PRESENCE))
        there = {MachineId(keys.last_part(kv.key)): kv for kv in found.kvs}
        for session in list(self._sessions.values()):
            kv = there.get(session.machine)
            is_older = session.lease == lease.id and session.revision <= found.revision
            if is_older and (kv is None or kv.mod_revision != session.revision):
                self.forget(session)
        for machine, kv in there.items():
            if kv.lease == lease.id and machine not in self._sessions:
                self._sessions[machine] = Session(
                    token=secrets.token_hex(8),
                    machine=machine,
                    presence=kv.value,
                    revision=kv.mod_revision,
                    lease=lease.id,
                    heard_at=self._now(),
                )

    async def _begun(self) -> base.Lease:
        """The lease; a new one, with the server's record under it, if there is none or it must be over by now."""
        async with self._granting:
            is_over = self._now() - self._asked_at > self._silence
            if self._lease is not None and not is_over:
                return self._lease
            asked_at = self._now()
            lease = await self.store.grant(int(self._silence))
            record = base.Put(keys.server(self._record.name), codec.encode(self._record), lease.id)
            try:
                await self.store.txn([], [record])
            except base.LeaseNotFound as problem:
                raise StoreUnavailable("the store answers too slowly") from problem
            self._lease, self._asked_at = lease, asked_at
            self._wake.set()
            return lease

    def _lost(self, lease: base.Lease) -> None:
        if self._lease is lease:
            self._lease = None
            self._wake.set()

    async def _put_back(self, lease: base.Lease) -> None:
        """Put the presence of the machines that were heard of lately under the new lease, if nobody else has it by now."""
        heard_since = self._now() - self._silence
        left = [
            session
            for session in self._sessions.values()
            if session.lease != lease.id and session.heard_at >= heard_since
        ]
        if not left:
            return
        there = await self._presences()
        waiting: list[tuple[Session, base.Compare]] = []
        for session in left:
            kv = there.get(session.machine)
            if kv is None:
                waiting.append((session, base.absent(keys.presence(session.machine))))
            elif kv.lease == lease.id:
                # Put by a call that gave no answer.
                session.revision, session.lease = kv.mod_revision, lease.id
            elif kv.mod_revision == session.revision:
                waiting.append((session, base.unchanged(kv)))
            else:
                self.forget(session)
        for start in range(0, len(waiting), MACHINES_PER_TXN):
            some = waiting[start : start + MACHINES_PER_TXN]
            if not await self._put_presences(some, lease):
                for one in some:
                    if not await self._put_presences([one], lease):
                        self.forget(one[0])

    async def _put_presences(
        self, some: Sequence[tuple[Session, base.Compare]], lease: base.Lease
    ) -> bool:
        compares = [guard for _, guard in some]
        # A machine that was removed meanwhile does not come back.
        compares += [
            base.Compare(keys.machine(session.machine), base.Target.VERSION, ">", 0)
            for session, _ in some
        ]
        ops: list[base.Op] = []
        for session, _ in some:
            ops.append(base.Put(keys.presence(session.machine), session.presence, lease.id))
            ops.append(base.Delete(keys.lost(session.machine)))
        try:
            result = await self.store.txn(compares, ops)
        except base.LeaseNotFound as problem:
            self._lost(lease)
            raise StoreUnavailable("the lease ended at once") from problem
        if result.succeeded:
            for session, _ in some:
                session.revision, session.lease = result.revision, lease.id
        return result.succeeded

    async def _presences(self) -> Mapping[MachineId, base.KeyValue]:
        found = await self.store.range(keys.PRESENCE, base.prefix_end(keys.PRESENCE))
        return {MachineId(keys.last_part(kv.key)): kv for kv in found.kvs}

    # --- silence ------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        while True:
            await asyncio.sleep(self._silence / LOOKS)
            silent = self._silent()
            try:
                if silent:
                    await self._let_go(silent)
            except Temporary as problem:
                log.info("silent machines keep their presence for now: %s", problem)

    def _silent(self) -> list[Session]:
        """Machines that have been silent for too long, and were nearly so when this was asked the last time: a server that
        stood still itself reads what waits in its sockets in between.
        """
        now = self._now()
        doubted_since = now - self._silence * (1 - 1 / LOOKS)
        sessions = self._sessions.values()
        gone = [s for s in sessions if s.is_doubted and s.heard_at < now - self._silence]
        for session in sessions:
            session.is_doubted = session.heard_at < doubted_since
        return gone

    async def _let_go(self, silent: Iterable[Session]) -> None:
        there = await self._presences()
        for session in silent:
            if not session.is_doubted:
                continue  # heard of meanwhile
            session.is_over = True
            kv = there.get(session.machine)
            if kv is not None and kv.mod_revision == session.revision:
                log.info("machine %s was silent for too long", session.machine)
                try:
                    await self.store.txn([session.guard()], [base.Delete(kv.key)])
                except Indeterminate:
                    continue  # looked at again
            self.forget(session)

    async def _say_goodbye(self) -> None:
        lease, self._lease = self._lease, None
        if lease is None:
            return
        key = keys.server(self._record.name)
        ours = base.Compare(key, base.Target.LEASE, "=", lease.id)
        with suppress(Temporary, TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self.store.txn([ours], [base.Delete(key)])

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def cluster_of(kvs: Sequence[base.KeyValue]) -> Cluster:
    """From the record that was read. Raises StoreUnavailable when there is none yet."""
    if not kvs:
        raise StoreUnavailable("the store belongs to no cluster yet")
    return codec.decode(kvs[0].value, Cluster)


def _endpoints_of(kvs: Sequence[base.KeyValue]) -> tuple[str, ...]:
    endpoints = [codec.decode(kv.value, ServerRecord).endpoints for kv in kvs]
    return tuple(dict.fromkeys(url for urls in endpoints for url in urls))


def _joined(machine: Machine, at: datetime) -> Event:
    return Event(
        at=at,
        kind="machine.joined",
        machine=machine.id,
        message=f"{machine.hostname or machine.id} is there",
        by="agent",
    )
