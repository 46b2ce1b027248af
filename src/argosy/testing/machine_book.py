"""What the store says of machines, and what it said a short while ago, for `invariants.py`.

An engine decides by what it has heard of, which may be some seconds old; so whoever judges a decision asks whether it was
right at any moment of that time.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from argosy.model.ids import MachineId
from argosy.model.machine import Machine
from argosy.model.orders import MachineOrders, Scheduling
from argosy.settings import PresenceSettings
from argosy.store import base, codec, keys
from argosy.testing.loop import running

VIEW_LAG = 30.0
"""Seconds by which an engine's view may lag behind what people want, when the store is slow."""
SEEN_BY_NOW = 10.5
"""Seconds of absence that an engine that judges has seen for certain: a slower one has lost its lead or its watch."""


class Version(NamedTuple):
    """A machine as it was described from a moment on; None: it was not known."""

    since: float
    machine: Machine | None
    orders: MachineOrders | None


class MachineBook:
    """Folds the keys of machines: descriptions, orders, presence, and what the engine believes of them."""

    def __init__(self, presence: PresenceSettings, *, trusted_since: float = 0.0) -> None:
        self.known: dict[MachineId, Machine] = {}
        """As people want them: with the metadata of orders."""
        self.orders: dict[MachineId, MachineOrders] = {}
        self.present: set[MachineId] = set()
        self.lost: dict[MachineId, float] = {}
        """Machines that were given up, and since when."""
        self.is_braked = False
        self.trusted_since = trusted_since
        """Since when no leader changed and the store was there: before patience is over, nobody is lost."""
        self._presence = presence
        self._began = trusted_since
        self._said: dict[MachineId, Machine] = {}
        self._history: dict[MachineId, list[Version]] = {}
        self._absent_since: dict[MachineId, float] = {}
        self._gone_at: dict[MachineId, float] = {}
        self._returned: dict[MachineId, tuple[float, float]] = {}
        """When a machine came back, and since when it had been away."""

    def fold(self, event: base.WatchEvent) -> None:
        """Take in one change of a key that is about a machine; others are left alone."""
        key, value = event.kv.key, event.kv.value
        is_put = event.kind is base.EventKind.PUT
        machine = MachineId(keys.last_part(key))
        if key.startswith(keys.MACHINES):
            self._said.pop(machine, None)
            if is_put:
                self._said[machine] = codec.decode(value, Machine)
            self._describe(machine)
        elif key.startswith(keys.ORDERS):
            self.orders.pop(machine, None)
            if is_put:
                self.orders[machine] = codec.decode(value, MachineOrders)
            self._describe(machine)
        elif key.startswith(keys.PRESENCE):
            self._fold_presence(machine, is_there=is_put)
        elif key.startswith(keys.LOST):
            self.lost.pop(machine, None)
            if is_put:
                self.lost[machine] = running().time()
        elif key == keys.BRAKE:
            self.is_braked = is_put

    def store_is_back(self, *, after: float) -> None:
        """An outage of so many seconds is over: whoever was silent because of it gets time to speak.

        One that ended within the heartbeat window made nobody look silent.
        """
        if after > self._presence.suspect_after.total_seconds():
            self.trusted_since = running().time()

    def absent_since(self, machine: MachineId) -> float | None:
        """None when it is there. One that was back for a short while counts as away all along: an engine with a slow store
        may never have seen it.
        """
        return None if machine in self.present else self._absent_since.get(machine, self._began)

    def absent(self, among: Collection[MachineId]) -> set[MachineId]:
        """Those of the machines that are away for so long that every engine that judges has seen it."""
        before = running().time() - SEEN_BY_NOW
        return {m for m in among if self._gone_at.get(m, before + 1) <= before}

    def recent(self, machine: MachineId) -> list[Version]:
        """What it was at some moment of the last `VIEW_LAG` seconds; the present one last."""
        history = self._history.get(machine, [])
        start = running().time() - VIEW_LAG
        over = [following.since <= start for following in history[1:]]
        return history[sum(over) :]

    def scheduling(self, machine: MachineId) -> Scheduling:
        """What it is there for, by the clock that is right."""
        orders = self.orders.get(machine)
        return Scheduling.OPEN if orders is None else orders.scheduling_at(running().wall_clock())

    def was_drained(self, machine: MachineId) -> bool:
        """Whether people may have been heard to say so; by a clock that is wrong it may be over or not."""
        return any(
            one.orders is not None and one.orders.scheduling is Scheduling.DRAINED
            for one in self.recent(machine)
        )

    def was_closed(self, machine: MachineId) -> bool:
        """Whether it was closed, by whatever clock, all the time."""
        versions = self.recent(machine)
        return bool(versions) and all(
            one.orders is not None
            and one.orders.until is None
            and one.orders.scheduling is not Scheduling.OPEN
            for one in versions
        )

    def _describe(self, machine: MachineId) -> None:
        said, orders = self._said.get(machine), self.orders.get(machine)
        wanted = said if said is None or orders is None else orders.applied_to(said)
        self.known.pop(machine, None)
        if wanted is not None:
            self.known[machine] = wanted
        version = Version(running().time(), wanted, orders)
        self._history.setdefault(machine, []).append(version)

    def _fold_presence(self, machine: MachineId, *, is_there: bool) -> None:
        now = running().time()
        if is_there:
            self.present.add(machine)
            self._returned[machine] = now, self._absent_since.pop(machine, now)
            self._gone_at.pop(machine, None)
            return
        self.present.discard(machine)
        self._gone_at[machine] = now
        returned, absent_since = self._returned.get(machine, (now - VIEW_LAG, now))
        self._absent_since[machine] = absent_since if now - returned < VIEW_LAG else now
