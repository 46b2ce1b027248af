"""The board: which units are on which machines, indexed by everything that a decision asks.

The engine keeps one board and changes it as the cluster changes; a simulation makes one with `Board.of`. Rules
(`filters.py`), scores and plans only read it through its questions, which are answered with sets of bits (`bits.py`).

A machine that is not usable (absent, lost, unknown) or closed by people (cordoned, drained) hosts what it hosts and gets
nothing new. A unit that leaves a machine (`AssignedUnit.is_leaving`) is on the board no more. A unit may be put on a
machine that the board does not know yet: the machine is then there, but not usable, until `add_machine`.

Nothing here depends on the order in which machines and units came.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from argosy.model.ids import MachineId, UnitName
from argosy.model.machine import Machine
from argosy.model.orders import Scheduling
from argosy.model.snapshot import Snapshot
from argosy.model.unit import DesiredState, Requirements, Unit
from argosy.scheduler.bits import Levels, narrowed, slot_of, slots_of, widened
from argosy.scheduler.globs import Globs, literal_prefix, matches
from argosy.scheduler.marks import Labels, Marks, Room, Siblings, Spread

PLAIN = Requirements()
ANSWERS_KEPT = 4096


class Host:
    """A machine and the units on it."""

    __slots__ = ("bit", "id", "is_known", "machine", "slot", "units")

    def __init__(self, machine_id: MachineId) -> None:
        self.id = machine_id
        self.machine = Machine(id=machine_id)
        self.is_known = False
        self.slot = 0
        self.bit = 1
        self.units: dict[UnitName, Unit] = {}


class Board:
    """Machines and the units on them. Empty at first; `Board.of` makes one from a snapshot."""

    def __init__(self) -> None:
        self._hosts: dict[MachineId, Host] = {}
        self._by_slot: list[Host] = []
        self._usable = 0
        self._closed = 0
        self._scheduling: dict[MachineId, Scheduling] = {}
        self._known = 0
        self._load = Levels()
        self._labels = Labels()
        self._ports: Marks[int] = Marks()
        self._named: Marks[str] = Marks()
        self._minding: Marks[str] = Marks()
        self._globs = Globs()
        self._memory = Room()
        self._cpu = Room()
        self._place: dict[UnitName, MachineId] = {}
        self._places: dict[UnitName, set[MachineId]] = {}
        self._followers: dict[UnitName, set[tuple[UnitName, MachineId]]] = {}
        self._replacing: dict[tuple[UnitName, MachineId], Unit] = {}
        self._globals: dict[UnitName, set[MachineId]] = {}
        self._limited = 0
        # Kept from the moment somebody first asks: most clusters have neither Spread nor MaxPerMachine.
        self._siblings: dict[str, Siblings] | None = None
        self._spreads: dict[str, dict[str, Spread]] = {}
        self.answers: dict[object, int] = {}
        """Sets that depend on the machines alone, by what was asked; emptied when a machine changes."""

    @classmethod
    def of(cls, snapshot: Snapshot, usable: frozenset[MachineId]) -> Board:
        """The board of a snapshot. Assigned units that have no record any more are on it with what is known of them."""
        board = cls()
        for machine_id in sorted(snapshot.machines.keys() | snapshot.assignments.keys()):
            board._join(machine_id)
            machine = snapshot.machines.get(machine_id)
            if machine is not None:
                board.add_machine(machine)
                board.set_usable(machine_id, machine_id in usable)
        for machine_id, scheduling in snapshot.scheduling.items():
            board.set_scheduling(machine_id, scheduling)
        assignments = [snapshot.assignments[key] for key in sorted(snapshot.assignments)]
        units = snapshot.units
        board.register(
            units[a.name]
            for one in assignments
            for a in one.units
            if a.name in units and not a.is_leaving
        )
        for assignment in assignments:
            for assigned in assignment.units:
                if assigned.is_leaving:
                    continue
                unit = units.get(assigned.name)
                if unit is None:
                    unit = Unit(
                        name=assigned.name, digest=assigned.digest, desired=DesiredState.INACTIVE
                    )
                board.put(unit, assignment.machine)
        return board

    # --- machines -----------------------------------------------------------------------------------------------

    def add_machine(self, machine: Machine) -> None:
        """Add a machine, not usable yet; or take over what changed of one that is there."""
        host = self._hosts.get(machine.id) or self._join(machine.id)
        if host.is_known and host.machine == machine:
            return
        self._labels.remove(host.machine.metadata, host.bit)
        host.machine = machine
        host.is_known = True
        self._known |= host.bit
        self._labels.add(machine.metadata, host.bit)
        self._memory.set_capacity(host.id, host.bit, machine.capacity.memory_bytes)
        self._cpu.set_capacity(host.id, host.bit, machine.capacity.cpu_millis)
        self._forget_answers()

    def remove_machine(self, machine_id: MachineId) -> None:
        """Forget a machine. While units are on it, it stays as one that is not known."""
        host = self._hosts.get(machine_id)
        if host is None:
            return
        self.add_machine(Machine(id=machine_id))
        host.is_known = False
        self._known &= ~host.bit
        self._usable &= ~host.bit
        self._forget_answers()
        if not host.units:
            self._leave(host)

    def set_usable(self, machine_id: MachineId, usable: bool, /) -> None:
        """Whether a machine is there, so that it may get units; one that the board does not know never may."""
        host = self._hosts.get(machine_id)
        if host is None:
            return
        if usable and host.is_known:
            self._usable |= host.bit
        else:
            self._usable &= ~host.bit

    def set_scheduling(self, machine_id: MachineId, scheduling: Scheduling) -> None:
        """What people say that the machine is there for; kept also for one that the board does not know yet."""
        if scheduling is Scheduling.OPEN:
            self._scheduling.pop(machine_id, None)
        else:
            self._scheduling[machine_id] = scheduling
        host = self._hosts.get(machine_id)
        if host is not None:
            self._close(host)

    def scheduling(self, machine_id: MachineId) -> Scheduling:
        return self._scheduling.get(machine_id, Scheduling.OPEN)

    def machine(self, machine_id: MachineId) -> Machine | None:
        host = self._hosts.get(machine_id)
        return host.machine if host is not None and host.is_known else None

    def machines(self) -> list[MachineId]:
        """Every machine, known or not, in the order of ids."""
        return [host.id for host in self._by_slot]

    def is_usable(self, machine_id: MachineId) -> bool:
        """Whether it is there."""
        return bool(self._usable & self.bit(machine_id))

    # --- units --------------------------------------------------------------------------------------------------

    def register(self, units: Iterable[Unit]) -> None:
        """Announce units that will be put: cheaper at once than with each `put`, which does the same for its unit."""
        self._learn(
            pattern
            for unit in units
            if unit.requirements.conflicts or unit.requirements.replaces
            for pattern in (*unit.requirements.conflicts, *unit.requirements.replaces)
        )

    def put(self, unit: Unit, machine_id: MachineId) -> None:
        """Put the unit on the machine; in place of an older record of it there. Other machines are not touched."""
        host = self._hosts.get(machine_id) or self._join(machine_id)
        present = host.units.get(unit.name)
        if present is unit:
            return
        needs = unit.requirements
        if needs.conflicts or needs.replaces:
            self._learn((*needs.conflicts, *needs.replaces))
        if present is not None:
            self._unmark(present, host)
            host.units[unit.name] = unit
        else:
            self._load.move(host.bit, before=len(host.units), after=len(host.units) + 1)
            self._enter(unit, host)
        self._mark(unit, host)

    def put_each(self, units: Sequence[Unit], bits: int, load: int) -> list[MachineId]:
        """Put the first unit on the first machine of `bits`, the second on the second, and so on.

        All the units have equal requirements, none is on the board; all the machines have `load` units. The same as
        single calls of `put`, at a fraction of the cost. Returns the machines.
        """
        self._load.move(bits, before=load, after=load + 1)
        requirements = units[0].requirements
        self.register(units[:1])
        needs_marks = self._siblings is not None or bool(self._globs) or requirements != PLAIN
        hosts = [self._by_slot[slot] for slot in slots_of(bits)]
        for unit, host in zip(units, hosts, strict=True):
            host.units[unit.name] = unit
            self._place[unit.name] = host.id
            if needs_marks:
                self._mark(unit, host)
        return [host.id for host in hosts]

    def take(self, name: UnitName, machine_id: MachineId) -> Unit:
        """Take the unit off the machine; returns it. Raises KeyError when it is not there."""
        host = self._hosts[machine_id]
        unit = host.units.pop(name)
        self._load.move(host.bit, before=len(host.units) + 1, after=len(host.units))
        several = self._places.get(name)
        if several is None:
            del self._place[name]
        else:
            several.discard(machine_id)
            if not several:
                del self._places[name]
        self._unmark(unit, host)
        if not host.is_known and not host.units:
            self._leave(host)
        return unit

    def units_on(self, machine_id: MachineId) -> Mapping[UnitName, Unit]:
        """The units on a machine, a live view; empty for a machine that is not on the board."""
        host = self._hosts.get(machine_id)
        return host.units if host is not None else {}

    def machines_of(self, name: UnitName) -> list[MachineId]:
        """The machines that have the unit, in the order of ids; several for a global unit."""
        several = self._places.get(name)
        if several is not None:
            return sorted(several)
        machine_id = self._place.get(name)
        return [] if machine_id is None else [machine_id]

    def has(self, name: UnitName) -> bool:
        """Whether the unit is on any machine."""
        return name in self._place or name in self._places

    def names(self) -> Iterator[UnitName]:
        """Every unit that is on a machine, once, in no order."""
        yield from self._place
        yield from self._places

    def followers(self, name: UnitName) -> list[UnitName]:
        """The units on the board that have this one in their `MachineOf`, sorted."""
        return sorted({follower for follower, _ in self._followers.get(name, ())})

    def globals(self) -> list[UnitName]:
        """The global units that are on some machine, sorted."""
        return sorted(self._globals)

    def replacing(self) -> list[tuple[Unit, MachineId]]:
        """The units on the board that have `Replaces` and where they are, sorted by name."""
        return [(self._replacing[key], key[1]) for key in sorted(self._replacing)]

    @property
    def has_limits(self) -> bool:
        """Whether any unit on the board has `MaxPerMachine`."""
        return self._limited > 0

    @property
    def has_patterns(self) -> bool:
        """Whether any unit ever announced has `Conflicts` or `Replaces`."""
        return bool(self._globs)

    def patterns(self, name: UnitName) -> tuple[str, ...]:
        """The patterns, of all units ever announced, that match the name; sorted."""
        return self._globs.matching(name)

    # --- questions, answered with sets --------------------------------------------------------------------------

    @property
    def usable(self) -> int:
        """Machines that may get units: they are there, and open."""
        return self._usable & ~self._closed

    @property
    def there(self) -> int:
        """Machines that are there."""
        return self._usable

    @property
    def closed(self) -> int:
        """Machines that people cordoned or drained."""
        return self._closed

    @property
    def known(self) -> int:
        return self._known

    @property
    def load(self) -> Levels:
        """Machines by the number of units on them."""
        return self._load

    @property
    def labels(self) -> Labels:
        return self._labels

    @property
    def memory(self) -> Room:
        return self._memory

    @property
    def cpu(self) -> Room:
        return self._cpu

    def bit(self, machine_id: MachineId) -> int:
        """The set of that machine alone, or the empty set for one that is not on the board."""
        host = self._hosts.get(machine_id)
        return host.bit if host is not None else 0

    def at(self, slot: int) -> MachineId:
        """The machine at a position."""
        return self._by_slot[slot].id

    def ids(self, bits: int, limit: int | None = None) -> list[MachineId]:
        """The machines of a set, in the order of ids; the first `limit` of them."""
        return [self._by_slot[slot].id for slot in islice(slots_of(bits), limit)]

    def metadata(self, bit: int) -> Mapping[str, str]:
        """Metadata of the machine that is alone in the set."""
        return self._by_slot[slot_of(bit)].machine.metadata

    def first(self, bits: int) -> MachineId:
        """The machine with the smallest id in a set that is not empty."""
        return self._by_slot[slot_of(bits & -bits)].id

    def with_id(self, wanted: str) -> int:
        """Machines with that id, or with those first eight characters of it."""
        found = self.bit(MachineId(wanted))
        if len(wanted) == 8:
            start = bisect_left(self._by_slot, wanted, key=lambda host: host.id)
            for host in self._by_slot[start:]:
                if not host.id.startswith(wanted):
                    break
                found |= host.bit
        return found

    def hosting(self, name: UnitName) -> int:
        """Machines that have the unit."""
        bits = 0
        for machine_id in self.machines_of(name):
            bits |= self._hosts[machine_id].bit
        return bits

    def with_port_taken(self, port: int) -> int:
        return self._ports.machines(port)

    def with_named(self, pattern: str) -> int:
        """Machines that have a unit whose name matches a pattern of some unit's `Conflicts`."""
        self._learn((pattern,))
        return self._named.machines(pattern)

    def minding(self, name: UnitName) -> int:
        """Machines that have a unit whose `Conflicts` match the name (the unit itself counts)."""
        bits = 0
        for pattern in self._globs.matching(name):
            bits |= self._minding.machines(pattern)
        return bits

    def siblings(self, service: str) -> Siblings:
        """The units of a service on the board."""
        if self._siblings is None:
            self._siblings = {}
            for host in self._by_slot:
                for unit in host.units.values():
                    self._add_sibling(unit, host)
        return self._siblings.get(service) or Siblings()

    def spread(self, service: str, key: str) -> Spread:
        """How a service's units are spread over the values of a metadata key."""
        spreads = self._spreads.setdefault(service, {})
        spread = spreads.get(key)
        if spread is None:
            everywhere = (1 << len(self._by_slot)) - 1
            spread = spreads[key] = Spread(self._labels.values(key), everywhere)
            for machine_id, count in self.siblings(service).counts.items():
                spread.change(self._hosts[machine_id].machine.metadata.get(key), count)
        return spread

    def answer(self, question: object, bits: int) -> int:
        """Keep a set that depends on the machines alone in `answers`; returns it."""
        if len(self.answers) >= ANSWERS_KEPT:
            self.answers.clear()
        self.answers[question] = bits
        return bits

    # --- keeping the indexes ------------------------------------------------------------------------------------

    def _learn(self, patterns: Iterable[str]) -> None:
        """Index patterns, and find the names on the board that match those never seen before."""
        fresh = [pattern for pattern in patterns if self._globs.add(pattern)]
        if not fresh or not (self._place or self._places):
            return
        names = sorted(self._place.keys() | self._places.keys())
        for pattern in fresh:
            prefix = literal_prefix(pattern)
            for name in islice(names, bisect_left(names, prefix), None):
                if not name.startswith(prefix):
                    break
                if matches(pattern, name):
                    for machine_id in self.machines_of(name):
                        self._named.add(pattern, machine_id, self._hosts[machine_id].bit)

    def _join(self, machine_id: MachineId) -> Host:
        host = Host(machine_id)
        slot = bisect_left(self._by_slot, machine_id, key=lambda other: other.id)
        if slot < len(self._by_slot):
            self._usable = widened(self._usable, slot)
            self._known = widened(self._known, slot)
            self._closed = widened(self._closed, slot)
            for index in (
                self._load,
                self._labels,
                self._ports,
                self._named,
                self._minding,
                self._memory,
                self._cpu,
            ):
                index.widen(slot)
        self._by_slot.insert(slot, host)
        self._hosts[machine_id] = host
        self._number(slot)
        self._close(host)
        self._load.add(host.bit, 0)
        self._memory.set_capacity(machine_id, host.bit, 0)
        self._cpu.set_capacity(machine_id, host.bit, 0)
        self._forget_answers()
        return host

    def _leave(self, host: Host) -> None:
        slot = host.slot
        self._load.remove(host.bit, 0)
        self._memory.forget(host.id)
        self._cpu.forget(host.id)
        del self._by_slot[slot]
        del self._hosts[host.id]
        self._usable = narrowed(self._usable, slot)
        self._known = narrowed(self._known, slot)
        self._closed = narrowed(self._closed, slot)
        for index in (
            self._load,
            self._labels,
            self._ports,
            self._named,
            self._minding,
            self._memory,
            self._cpu,
        ):
            index.narrow(slot)
        self._number(slot)
        self._forget_answers()

    def _close(self, host: Host) -> None:
        if host.id in self._scheduling:
            self._closed |= host.bit
        else:
            self._closed &= ~host.bit

    def _number(self, first: int) -> None:
        for slot in range(first, len(self._by_slot)):
            host = self._by_slot[slot]
            host.slot = slot
            host.bit = 1 << slot

    def _forget_answers(self) -> None:
        self.answers.clear()
        self._spreads.clear()

    def _enter(self, unit: Unit, host: Host) -> None:
        name = unit.name
        host.units[name] = unit
        several = self._places.get(name)
        if several is not None:
            several.add(host.id)
        elif name in self._place:
            self._places[name] = {self._place.pop(name), host.id}
        elif unit.requirements.is_global:
            self._places[name] = {host.id}
        else:
            self._place[name] = host.id

    def _mark(self, unit: Unit, host: Host) -> None:
        requirements = unit.requirements
        machine_id, bit = host.id, host.bit
        for pattern in self._globs.matching(unit.name):
            self._named.add(pattern, machine_id, bit)
        if self._siblings is not None:
            self._add_sibling(unit, host)
        if requirements == PLAIN:
            return
        for pattern in requirements.conflicts:
            self._minding.add(pattern, machine_id, bit)
        for port in requirements.ports:
            self._ports.add(port, machine_id, bit)
        if requirements.memory_bytes:
            self._memory.reserve(machine_id, bit, requirements.memory_bytes)
        if requirements.cpu_millis:
            self._cpu.reserve(machine_id, bit, requirements.cpu_millis)
        for target in requirements.machine_of:
            self._followers.setdefault(target, set()).add((unit.name, machine_id))
        if requirements.replaces:
            self._replacing[unit.name, machine_id] = unit
        if requirements.is_global:
            self._globals.setdefault(unit.name, set()).add(machine_id)
        if requirements.max_per_machine is not None:
            self._limited += 1

    def _unmark(self, unit: Unit, host: Host) -> None:
        requirements = unit.requirements
        machine_id, bit = host.id, host.bit
        for pattern in self._globs.matching(unit.name):
            self._named.remove(pattern, machine_id, bit)
        if self._siblings is not None:
            self._remove_sibling(unit, host)
        if requirements == PLAIN:
            return
        for pattern in requirements.conflicts:
            self._minding.remove(pattern, machine_id, bit)
        for port in requirements.ports:
            self._ports.remove(port, machine_id, bit)
        if requirements.memory_bytes:
            self._memory.release(machine_id, bit, requirements.memory_bytes)
        if requirements.cpu_millis:
            self._cpu.release(machine_id, bit, requirements.cpu_millis)
        for target in requirements.machine_of:
            followers = self._followers[target]
            followers.discard((unit.name, machine_id))
            if not followers:
                del self._followers[target]
        self._replacing.pop((unit.name, machine_id), None)
        if requirements.is_global:
            machines = self._globals[unit.name]
            machines.discard(machine_id)
            if not machines:
                del self._globals[unit.name]
        if requirements.max_per_machine is not None:
            self._limited -= 1

    def _add_sibling(self, unit: Unit, host: Host) -> None:
        assert self._siblings is not None
        service = unit.service
        siblings = self._siblings.setdefault(service, Siblings())
        siblings.add(host.id, unit.requirements.max_per_machine)
        for key, spread in self._spreads.get(service, {}).items():
            spread.change(host.machine.metadata.get(key), 1)

    def _remove_sibling(self, unit: Unit, host: Host) -> None:
        assert self._siblings is not None
        service = unit.service
        siblings = self._siblings[service]
        siblings.remove(host.id, unit.requirements.max_per_machine)
        if not siblings.counts:
            del self._siblings[service]
        for key, spread in self._spreads.get(service, {}).items():
            spread.change(host.machine.metadata.get(key), -1)
