"""What machines have because of the units on them, indexed by what it is: ports taken, patterns minded, room left.

Each answers "which machines?" with a set of bits (see `bits.py`) and is kept up to date by `board.py` as units come and
go, so that a decision never looks through machines.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

from argosy.model.ids import MachineId
from argosy.scheduler.bits import Levels, narrowed, slots_of, widened

K = TypeVar("K")


class Marks(Generic[K]):
    """For each key, the machines that have it. A machine has it as often as it was added."""

    def __init__(self) -> None:
        self._bits: dict[K, int] = {}
        self._counts: dict[K, dict[MachineId, int]] = {}

    def add(self, key: K, machine: MachineId, bit: int) -> None:
        counts = self._counts.setdefault(key, {})
        count = counts.get(machine, 0)
        counts[machine] = count + 1
        if not count:
            self._bits[key] = self._bits.get(key, 0) | bit

    def remove(self, key: K, machine: MachineId, bit: int) -> None:
        counts = self._counts[key]
        if counts[machine] > 1:
            counts[machine] -= 1
            return
        del counts[machine]
        if counts:
            self._bits[key] ^= bit
        else:
            del self._counts[key], self._bits[key]

    def machines(self, key: K) -> int:
        return self._bits.get(key, 0)

    def widen(self, slot: int) -> None:
        self._bits = {key: widened(bits, slot) for key, bits in self._bits.items()}

    def narrow(self, slot: int) -> None:
        self._bits = {key: narrowed(bits, slot) for key, bits in self._bits.items()}


class Room:
    """How much of one resource (bytes, thousandths of a core) each machine has left.

    Amounts are sorted into steps, sixteen to each doubling. For each step that somebody asked for there is the set of
    machines with at least that much; only machines on the very step of what is asked are compared one by one. So a
    change of what is left costs a few bits, and an answer is exact.
    """

    def __init__(self) -> None:
        self.known = 0
        """The machines that say how much they have."""
        self._capacity: dict[MachineId, int] = {}
        self._left: dict[MachineId, int] = {}
        self._steps: list[int] = []
        self._at_least: dict[int, int] = {}

    def set_capacity(self, machine: MachineId, bit: int, amount: int) -> None:
        """A machine's capacity; 0 is unknown, and leaves no room at all."""
        before = self._capacity.get(machine, 0)
        self._capacity[machine] = amount
        self.known = self.known | bit if amount else self.known & ~bit
        self._change(machine, bit, amount - before)

    def forget(self, machine: MachineId) -> None:
        self._capacity.pop(machine, None)
        self._left.pop(machine, None)

    def reserve(self, machine: MachineId, bit: int, amount: int) -> None:
        self._change(machine, bit, -amount)

    def release(self, machine: MachineId, bit: int, amount: int) -> None:
        self._change(machine, bit, amount)

    def left(self, machine: MachineId) -> int:
        """Negative when more is reserved than the machine has."""
        return self._left.get(machine, 0)

    def most_left(self, machines: Iterable[MachineId]) -> int:
        """What is left on the one of them that has most left."""
        return max(map(self._left.__getitem__, machines))

    def machines(self, amount: int, among: int, by_slot: Callable[[int], MachineId]) -> int:
        """The machines of `among` that have at least `amount` (over 0) left. by_slot: the machine at a position."""
        step = _step(amount)
        surely = among & self._with_step(step + 1, by_slot)
        perhaps = (among ^ surely) & self._with_step(step, by_slot)
        for slot in slots_of(perhaps):
            if self._left[by_slot(slot)] >= amount:
                surely |= 1 << slot
        return surely

    def _with_step(self, step: int, by_slot: Callable[[int], MachineId]) -> int:
        bits = self._at_least.get(step)
        if bits is None:
            digits = ["0"] * len(self._left)
            for slot in range(len(digits)):
                if _step(self._left[by_slot(slot)]) >= step:
                    digits[-1 - slot] = "1"
            bits = self._at_least[step] = int("".join(digits) or "0", 2)
            insort(self._steps, step)
        return bits

    def _change(self, machine: MachineId, bit: int, by: int) -> None:
        before = self._left.get(machine, 0)
        after = self._left[machine] = before + by
        low, high = sorted((_step(before), _step(after)))
        if low != high and self._steps:
            first = bisect_right(self._steps, low)
            for step in self._steps[first : bisect_right(self._steps, high)]:
                self._at_least[step] ^= bit

    def widen(self, slot: int) -> None:
        """A new machine got the position `slot`; it has nothing until `set_capacity`."""
        self.known = widened(self.known, slot)
        self._at_least = {step: widened(bits, slot) for step, bits in self._at_least.items()}

    def narrow(self, slot: int) -> None:
        self.known = narrowed(self.known, slot)
        self._at_least = {step: narrowed(bits, slot) for step, bits in self._at_least.items()}


def _step(amount: int) -> int:
    """Number of the step that an amount is on: it grows with the amount, sixteen steps to each doubling."""
    if amount < 16:
        return max(amount, 0)
    exponent = amount.bit_length() - 5
    return (exponent << 4) + (amount >> exponent)


class Labels:
    """Machines by their metadata."""

    def __init__(self) -> None:
        self._by_key: dict[str, dict[str, int]] = {}

    def add(self, metadata: Mapping[str, str], bit: int) -> None:
        for key, value in metadata.items():
            values = self._by_key.setdefault(key, {})
            values[value] = values.get(value, 0) | bit

    def remove(self, metadata: Mapping[str, str], bit: int) -> None:
        for key, value in metadata.items():
            values = self._by_key[key]
            values[value] ^= bit
            if not values[value]:
                del values[value]

    def values(self, key: str) -> Mapping[str, int]:
        """Each value of the key that some machine has, with these machines."""
        return self._by_key.get(key, {})

    def widen(self, slot: int) -> None:
        for values in self._by_key.values():
            values.update({value: widened(bits, slot) for value, bits in values.items()})

    def narrow(self, slot: int) -> None:
        for values in self._by_key.values():
            values.update({value: narrowed(bits, slot) for value, bits in values.items()})


class Siblings:
    """The units of one service, by machine."""

    __slots__ = ("counts", "limits")

    def __init__(self) -> None:
        self.counts: dict[MachineId, int] = {}
        self.limits: Counter[int] = Counter()
        """How many of them state each `MaxPerMachine`."""

    def add(self, machine: MachineId, limit: int | None) -> None:
        self.counts[machine] = self.counts.get(machine, 0) + 1
        if limit is not None:
            self.limits[limit] += 1

    def remove(self, machine: MachineId, limit: int | None) -> None:
        if self.counts[machine] > 1:
            self.counts[machine] -= 1
        else:
            del self.counts[machine]
        if limit is not None:
            self.limits -= Counter({limit: 1})


class Spread:
    """One service over the values of one metadata key: which machines are where it has fewest units.

    Machines without the key are together in a zone of their own.
    """

    def __init__(self, zones: Mapping[str, int], everywhere: int) -> None:
        labelled = 0
        for bits in zones.values():
            labelled |= bits
        self._zones: dict[str | None, int] = dict(zones.items())
        if everywhere & ~labelled:
            self._zones[None] = everywhere & ~labelled
        self._counts: dict[str | None, int] = dict.fromkeys(self._zones, 0)
        self.levels = Levels()
        for bits in self._zones.values():
            self.levels.add(bits, 0)

    def change(self, zone: str | None, by: int) -> None:
        before = self._counts[zone]
        self._counts[zone] = before + by
        self.levels.move(self._zones[zone], before=before, after=before + by)
