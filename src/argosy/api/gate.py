"""One machine's door to the store: what an agent may see and write, and nothing beyond its own machine.

Implements `agent.link.ServerLink` for an agent of the same process; over the network the same object stands behind the
machine's certificate. The machine's id is given by whoever opens the gate, never by what the agent sends.

That the machine is there is the server's to say (`sessions.py`): an empty report costs the store nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import msgspec

from argosy.api.assignments import Follower
from argosy.api.sessions import Session, Sessions, cluster_of
from argosy.errors import Invalid, LeaseLost, NotFound
from argosy.model.assignment import Assignment
from argosy.model.cluster import Cluster
from argosy.model.event import Event
from argosy.model.ids import Digest, MachineId, UnitName
from argosy.model.link import Delivery, Registered, Report
from argosy.model.machine import Machine
from argosy.model.observed import Observed, UnitStatus
from argosy.store import base, codec, keys
from argosy.units import names as unit_names
from argosy.units.diagnostics import printable

REPORT_BYTES = base.MAX_TXN_BYTES - 20_000
OLDEST_NEWS = timedelta(days=30)
"""An agent that was cut off may tell so late what happened meanwhile."""
CLOCKS_DIFFER = timedelta(minutes=1)
MAX_UNITS = 10_000
MAX_STATUS_BYTES = 64 * 1024
LONGEST_WORDS = 2000
"""Characters of a message, and of a line of output in a status that would be too large otherwise."""
LONGEST_KIND = 64


class MachineGate:
    """The link of one machine's agent to a server.

    holder: tells this machine from another with its id. The same again (after a restart, or at another server) takes its
        presence over.
    """

    def __init__(self, sessions: Sessions, machine_id: MachineId, *, holder: str) -> None:
        self._sessions = sessions
        self._store = sessions.store
        self._machine_id = machine_id
        self._holder = holder
        self._session = ""
        self._named: frozenset[Digest] = frozenset()
        """Texts that the machine's assignment names, as it was seen last."""

    async def register(self, machine: Machine, *, asked: int = 0) -> Registered:
        """Record the machine and that it is there, in one transaction.

        asked: when the machine asked for it (`Presence.asked`).
        Raises Conflict when another live machine has its id, Invalid for a machine that is not this gate's.
        """
        if machine.id != self._machine_id:
            raise Invalid(f"this is the gate of machine {self._machine_id}, not of {machine.id}")
        registered = await self._sessions.register(machine, self._holder, asked=asked)
        self._session = registered.session
        return registered

    async def report(self, report: Report) -> None:
        """Record what the machine runs, and that it is there. A report beyond one transaction is written in several.

        Each holds only while this registration is the machine's last one: a server that stood still cannot write an old
        report over a newer one that came through another server. A report that names no session belongs to the last
        registration of this gate.
        Raises LeaseLost when the machine is not registered any more: register, then report in full. Raises
        StoreUnavailable while this server cannot vouch for the machine.
        """
        _check(report)
        session = self._sessions.heard(self._machine_id, report.session or self._session)
        self._sessions.vouch(session)
        units = await self._units(session, report)
        ops = await self._differences(report) if report.full else _ops(self._machine_id, report)
        ops += [self._sessions.journal.put(event) for event in self._own(report.events)]
        for chunk in _chunks(ops):
            await self._write(session, chunk)
        session.units = units
        # Again, since writing took its time: what is answered now is an answer that counts.
        self._sessions.vouch(session)

    async def _units(self, session: Session, report: Report) -> frozenset[UnitName] | None:
        """What the store has of the machine after the report; None for as unknown as before.

        Raises Invalid when it is more than any machine has: a machine in wrong hands must not fill the store.
        """
        changed = {status.name for status in report.changed}
        if report.full:
            units = frozenset(changed)
        elif changed or report.gone:
            if session.units is None:
                prefix = keys.observed_of(self._machine_id)
                end = base.prefix_end(prefix)
                found = await self._store.range(prefix, end, keys_only=True)
                session.units = frozenset(UnitName(keys.last_part(kv.key)) for kv in found.kvs)
            units = (session.units - set(report.gone)) | changed
        else:
            return session.units
        if len(units) > MAX_UNITS:
            raise Invalid(f"a machine has at most {MAX_UNITS} units, not {len(units)}")
        return units

    async def _write(self, session: Session, ops: Sequence[base.Op]) -> None:
        while True:
            guard = session.guard()
            if await self._sessions.together.write(guard, ops) is not None:
                return
            if guard == session.guard():
                self._sessions.forget(session)
                raise LeaseLost("the machine has registered anew since")
            # The server put the machine's presence back under a new lease meanwhile: it is the same registration.

    @asynccontextmanager
    async def assignments(self) -> AsyncIterator[AsyncIterator[Delivery]]:
        """The machine's assignment now, if there is one, then each newer one; a slow reader gets the newest only.

        What is delivered never goes backwards. The iterator raises Temporary when the stream breaks; call again.
        """
        async with self._sessions.assignments.follow(self._machine_id) as follower:
            _, (clusters, kvs) = await self._sessions.read(
                base.Get(keys.CLUSTER), base.Get(keys.assignment(self._machine_id))
            )
            for kv in kvs:
                follower.offer(kv)
            yield self._deliveries(cluster_of(clusters), follower)

    async def text(self, digest: Digest) -> bytes:
        """The exact text, of a unit of this machine. Raises NotFound for any other."""
        if digest not in self._named:
            found = await self._store.range(keys.assignment(self._machine_id))
            self._named = (
                _named(codec.decode(found.kvs[0].value, Assignment)) if found.kvs else frozenset()
            )
        if digest not in self._named:
            raise NotFound(f"no unit of this machine has the text {digest}")
        return await self._sessions.texts.read(digest)

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
        """An agent tells of its own machine, whatever it says, and of no other time than may be true: events are kept and
        shown by their time.
        """
        now = self._sessions.clock()
        return [
            msgspec.structs.replace(
                event,
                machine=self._machine_id,
                by="agent",
                at=event.at if _is_likely(event.at, now) else now,
                message=event.message[:LONGEST_WORDS],
            )
            for event in events
        ]

    async def _deliveries(self, cluster: Cluster, follower: Follower) -> AsyncIterator[Delivery]:
        while True:
            yield self._delivery(cluster, await follower.next())

    def _delivery(self, cluster: Cluster, kv: base.KeyValue) -> Delivery:
        assignment = codec.decode(kv.value, Assignment)
        self._named = _named(assignment)
        return Delivery(
            cluster=cluster.id,
            epoch=cluster.epoch,
            revision=kv.mod_revision,
            assignment=assignment,
            restored=cluster.restored,
        )


def _named(assignment: Assignment) -> frozenset[Digest]:
    return frozenset(unit.digest for unit in assignment.units)


def _check(report: Report) -> None:
    """Raises Invalid for what no agent of ours says: names become parts of keys."""
    about = [event.unit for event in report.events if event.unit]
    names = (*(status.name for status in report.changed), *report.gone, *about)
    wrong = [name for name in names if not unit_names.is_valid(name)]
    if any(len(event.kind) > LONGEST_KIND for event in report.events):
        raise Invalid("an event's kind is a word or two")
    if wrong:
        raise Invalid(f"{printable(wrong[0][:80])} is no name of a unit")


def _is_likely(at: datetime, now: datetime) -> bool:
    return at.tzinfo is not None and now - OLDEST_NEWS < at < now + CLOCKS_DIFFER


def _ops(machine: MachineId, report: Report) -> list[base.Op]:
    changed = {status.name: status for status in report.changed}
    return [
        *(base.Delete(keys.observed(machine, name)) for name in report.gone if name not in changed),
        *(_put(machine, status) for status in changed.values()),
    ]


def _put(machine: MachineId, status: UnitStatus) -> base.Put:
    value = codec.encode(Observed(machine=machine, status=status))
    if len(value) > MAX_STATUS_BYTES:
        short = msgspec.structs.replace(
            status, last_lines=tuple(line[:LONGEST_WORDS] for line in status.last_lines[-20:])
        )
        value = codec.encode(Observed(machine=machine, status=short))
    if len(value) > 2 * MAX_STATUS_BYTES:
        raise Invalid(f"the status of {status.name} is too large")
    return base.Put(keys.observed(machine, status.name), value)


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
