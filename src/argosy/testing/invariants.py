"""What must hold at every moment of a simulated cluster, whatever fails.

`Checker` sees every revision of the store with who wrote it, every assignment that is told to an agent, and every call
that an agent makes of its machine. The names S1 to S11 are those of `docs/design/simulation.md`. It knows the rules of
placement from `fitting.py`, not from the scheduler: the same mistake would have to be made twice.
"""

from __future__ import annotations

import fnmatch
import itertools
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from argosy.model.assignment import AssignedUnit, Assignment
from argosy.model.cluster import Cluster
from argosy.model.event import Event
from argosy.model.ids import Digest, MachineId, UnitName
from argosy.model.link import Delivery
from argosy.model.observed import Observed, UnitStatus
from argosy.model.unit import DesiredState, Requirements, Unit
from argosy.settings import PresenceSettings
from argosy.store import base, codec, keys
from argosy.testing.fitting import fits
from argosy.testing.loop import Process, running
from argosy.testing.machine import Run, SimMachine
from argosy.testing.machine_book import VIEW_LAG, MachineBook
from argosy.testing.store import Ledger

FOLLOWS_WITHIN = 10.0
"""Seconds for which an agent may still finish what an assignment asked that was replaced meanwhile."""
TEXTS_WITHIN = 90.0
"""The same for installing, which waits for texts from servers: nothing runs by it, and the next turn takes it away."""
ROUNDING = 0.5
"""Seconds by which a server's view of a moment may differ from the store's."""
PEOPLE = "people"
"""Name of the process that stands for everybody who asks for something."""


class InvariantBroken(AssertionError):
    """Something happened that must never happen."""


class Held(NamedTuple):
    """An assignment that was the newest one an agent had been told."""

    since: float
    delivery: Delivery


@dataclass(slots=True)
class _Told:
    """What one machine's agent knows and did."""

    held: list[Held] = field(default_factory=list)
    everything: list[Delivery] = field(default_factory=list)
    """Also what it was told twice or too late."""
    generations: dict[UnitName, int] = field(default_factory=dict)
    """Of the last start or restart that it asked for."""
    boot: int = 0
    earlier: Delivery | None = None
    """The newest that an agent before it was told in this boot: what runs may be by that, even if no disk has it."""


class Checker:
    """Folds what happens and raises nothing: the first violation stands in `broken`."""

    def __init__(self, ledger: Ledger, presence: PresenceSettings | None = None) -> None:
        self._presence = presence or PresenceSettings()
        self.units: dict[UnitName, Unit] = {}
        self.machines = MachineBook(self._presence)
        self.assignments: dict[MachineId, Assignment] = {}
        self.restored = 0
        """The epoch that the last restore began."""
        self.pending: set[UnitName] = set()
        self.moves_asked: set[UnitName] = set()
        """Units that somebody asked to move, not answered yet."""
        self.observed: dict[MachineId, dict[UnitName, UnitStatus]] = {}
        self.revision = 0
        self.moves: list[tuple[float, UnitName, MachineId]] = []
        """Every placement ever made: when, what, where."""
        self.broken: InvariantBroken | None = None
        self._recent: deque[str] = deque(maxlen=8)
        self._ledger = ledger
        self._leader = b""
        self._asked_to_move: dict[UnitName, float] = {}
        """When somebody asked last, or was answered."""
        self._changed_at: dict[UnitName, float] = {}
        self._requirements: dict[tuple[UnitName, Digest], Requirements] = {}
        self._told: dict[SimMachine, _Told] = {}
        self._single: dict[UnitName, list[Run]] = {}
        """The runs of units that must not run twice, and have not ended; the last one in any case."""

    def check(self) -> None:
        """Raise the first violation, if there was one."""
        if self.broken is not None:
            raise self.broken

    def recent(self) -> str:
        """The last writes, a line each."""
        return "\n".join(self._recent)

    def start_over(self) -> None:
        """Another store takes the place of the one before; what machines do goes on. Whoever is silent gets time."""
        for picture in (
            self.units,
            self.assignments,
            self.observed,
            self._changed_at,
        ):
            picture.clear()
        # Whoever is silent gets time.
        self.machines = MachineBook(self._presence, trusted_since=running().time())
        self.pending.clear()
        self.moves_asked.clear()
        self._leader = b""

    # --- the store ----------------------------------------------------------------------------------------------

    def fold(self, batch: base.WatchBatch) -> None:
        """Take one revision in and look at what it changed."""
        self.revision = batch.revision
        write = self._ledger.writes.get(batch.revision)
        changed: dict[MachineId, Assignment | None] = {}
        given_up: list[MachineId] = []
        levelled: set[UnitName] = set()
        for event in batch.events:
            key, value = event.kv.key, event.kv.value
            is_put = event.kind is base.EventKind.PUT
            name = keys.last_part(key)
            self.machines.fold(event)
            if key == keys.LEADER:
                self._leader = value
                self.machines.trusted_since = running().time()
            elif key == keys.CLUSTER and is_put:
                self.restored = codec.decode(value, Cluster).restored
            elif key.startswith(keys.UNITS):
                self._fold_unit(UnitName(name), codec.decode(value, Unit) if is_put else None)
            elif key.startswith(keys.LOST) and is_put:
                given_up.append(MachineId(name))
            elif key.startswith(keys.MOVES):
                self._fold_move(UnitName(name), is_asked=is_put)
            elif key.startswith(keys.PENDING):
                self._fold_pending(UnitName(name), is_waiting=is_put)
            elif key.startswith(keys.EVENTS) and is_put:
                told = codec.decode(value, Event)
                running().trace.note(_in_words(told))
                if told.kind == "unit.unplaced" and told.message.startswith("evens out"):
                    levelled.add(UnitName(told.unit))
            elif key.startswith(keys.OBSERVED):
                self._fold_observed(key, codec.decode(value, Observed) if is_put else None)
            elif key.startswith(keys.ASSIGNMENTS):
                changed[MachineId(name)] = codec.decode(value, Assignment) if is_put else None
            elif key.startswith(keys.TEXTS) and is_put and event.previous is not None:
                self._expect(
                    event.previous.value == value, "S5", f"{key} changed: texts are immutable"
                )
        keys_changed = [event.kv.key for event in batch.events]
        writer = write.process.name if write else "the store"
        self._recent.append(f"{running().time():.3f} {writer}: {', '.join(keys_changed)}")
        self._check_writer(write.process if write else None, keys_changed)
        if given_up:
            self._check_brake(given_up)
        if changed:
            self._fold_assignments(changed, levelled, is_decided=write is not None)
        for text in self._ledger.resent:
            self._break("S11", text)

    def _fold_unit(self, name: UnitName, unit: Unit | None) -> None:
        before = self.units.pop(name, None)
        self._changed_at[name] = running().time()
        if unit is None:
            return
        self.units[name] = unit
        self._requirements[name, unit.digest] = unit.requirements
        if before is not None:
            is_grown = unit.generation >= before.generation
            self._expect(is_grown, "S5", f"the generation of {name} went down")

    def _fold_pending(self, name: UnitName, *, is_waiting: bool) -> None:
        if is_waiting:
            self.pending.add(name)
        else:
            self.pending.discard(name)

    def _fold_move(self, name: UnitName, *, is_asked: bool) -> None:
        self._asked_to_move[name] = running().time()
        if is_asked:
            self.moves_asked.add(name)
        else:
            self.moves_asked.discard(name)

    def _fold_observed(self, key: str, record: Observed | None) -> None:
        machine, name = (part for part in key.removeprefix(keys.OBSERVED).split("/"))
        of_machine = self.observed.setdefault(MachineId(machine), {})
        if record is None:
            of_machine.pop(UnitName(name), None)
        else:
            of_machine[UnitName(name)] = record.status

    def _check_writer(self, process: Process | None, changed: Collection[str]) -> None:
        if process is None:
            return
        desired = [key for key in changed if key.startswith((keys.UNITS, keys.TEXTS))]
        engines = (keys.ASSIGNMENTS, keys.PENDING, keys.LOST, keys.BRAKE)
        # A server that has a lost machine again takes the record away.
        returned = {
            keys.lost(MachineId(keys.last_part(key)))
            for key in changed
            if key.startswith(keys.PRESENCE)
        }
        decided = [key for key in changed if key.startswith(engines) and key not in returned]
        if process.name == PEOPLE:
            self._expect(not decided, "S5", f"people wrote {decided}")
            return
        self._expect(not desired, "S5", f"{process.name} wrote {desired}: that is people's")
        if decided:
            leader = self._leader.decode() or "nobody"
            is_leader = leader == process.name
            self._expect(is_leader, "S3", f"{process.name} wrote {decided} while {leader} leads")

    def _fold_assignments(
        self,
        changed: Mapping[MachineId, Assignment | None],
        levelled: Collection[UnitName],
        *,
        is_decided: bool,
    ) -> None:
        """is_decided: whether an engine wrote it; else a backup is being restored, one part after the other."""
        placed: list[tuple[MachineId, AssignedUnit]] = []
        left: list[tuple[MachineId, UnitName]] = []
        for machine, assignment in changed.items():
            before = self.assignments.pop(machine, None)
            if assignment is None:
                continue
            self.assignments[machine] = assignment
            had = {one.name: one.digest for one in before.units} if before else {}
            kept = {one.name: one for one in assignment.units if not one.is_leaving}
            placed += [(machine, one) for one in kept.values() if had.get(one.name) != one.digest]
            stayed = [one.name for one in before.units if not one.is_leaving] if before else []
            left += [(machine, name) for name in stayed if name not in kept]
            now = running().time()
            self.moves += [(now, u.name, machine) for u in assignment.units if u.name not in had]
            new = sorted(kept.keys() - had.keys())
            if new and is_decided and self.machines.was_closed(machine):
                self._break("S2", f"{new} on {self._short(machine)}, which is closed")
        self._check_once()
        if not is_decided:
            return
        for machine, unit in placed:
            problem = self._misfit(machine, unit)
            self._expect(not problem, "S2", f"{unit.name} on {self._short(machine)}: {problem}")
        for machine, name in left:
            if not self._had_to_leave(machine, name):
                self._check_departure(machine, name, is_levelled=name in levelled)
        evened = [name for _, name in left if name in levelled]
        self._expect(len(evened) <= 1, "L4", f"{evened} were moved at once to even out machines")

    def _check_once(self) -> None:
        where: dict[UnitName, MachineId] = {}
        for machine, assignment in self.assignments.items():
            for unit in assignment.units:
                if unit.is_leaving or self.requirements(unit).is_global:
                    continue
                other = where.setdefault(unit.name, machine)
                places = f"{self._short(other)} and {self._short(machine)}"
                self._expect(other == machine, "S1", f"{unit.name} is assigned to {places}")

    # --- why units leave ----------------------------------------------------------------------------------------

    def _had_to_leave(self, machine: MachineId, name: UnitName) -> bool:
        """Whether somebody wanted the unit to leave, or it was not allowed to stay."""
        unit, now = self.units.get(name), running().time()
        if unit is None or unit.desired is DesiredState.INACTIVE:
            return True
        if machine not in self.machines.known:
            return True
        asked_at = self._asked_to_move.get(name, -VIEW_LAG)
        if name in self.moves_asked or now - max(asked_at, self._changed_at[name]) < VIEW_LAG:
            return True
        if self.machines.was_drained(machine):
            return True
        kept = {
            one.name: self.requirements(one)
            for one in self.assignments[machine].units
            if not one.is_leaving
        }
        if any(_replaces(needs, name) for needs in kept.values()):
            return True
        return any(
            version.machine is None or fits(name, unit.requirements, version.machine, kept)
            for version in self.machines.recent(machine)
        )

    def _check_departure(self, machine: MachineId, name: UnitName, *, is_levelled: bool) -> None:
        """A unit that might have stayed left its machine: for its silence alone, after that has lasted, and been watched,
        long enough; or to even out, while all is well.
        """
        since = self.machines.absent_since(machine)
        where = f"{name} left {self._short(machine)}"
        if is_levelled:
            away = self.machines.absent(self._hosting())
            self._expect(not away, "L4", f"{where} to even out while {sorted(away)} are away")
            return
        if since is None:
            self._break("L4", f"{where} and nobody wanted it to")
            return
        settings, now = self._presence, running().time()
        silence = now - since + settings.suspect_after.total_seconds()
        watched = now - self.machines.trusted_since
        asked = self.units[name].requirements.move_after or settings.lost_after
        needed = max(asked, settings.suspect_after).total_seconds()
        is_lost = silence >= needed - ROUNDING
        self._expect(is_lost, "P2", f"{where} after {silence:.1f} s of silence")
        # The engine before it may have believed it already.
        patience = settings.patience.total_seconds() - ROUNDING
        is_known = self.machines.lost.get(machine, now) < self.machines.trusted_since
        is_patient = watched >= patience or is_known
        self._expect(is_patient, "P2", f"{where} {watched:.1f} s after trouble with the store")

    def _check_brake(self, given_up: Collection[MachineId]) -> None:
        """These machines were given up now. More than a third of those that have something to lose never are."""
        hosting = self._hosting() - (self.machines.lost.keys() - set(given_up))
        vanished = self.machines.absent(hosting) | (hosting & set(given_up))
        settings = self._presence
        is_mass = (
            len(vanished) >= settings.brake_minimum
            and len(vanished) > len(hosting) * settings.brake_share
            and not vanished.isdisjoint(given_up)
        )
        names = ", ".join(self._short(machine) for machine in sorted(vanished))
        self._expect(not is_mass, "L5", f"{names} vanished together, of {len(hosting)}")

    def _hosting(self) -> set[MachineId]:
        """Machines that have a unit which could run elsewhere."""
        return {
            machine
            for machine, assignment in self.assignments.items()
            if machine in self.machines.known
            and any(
                one.name in self.units and not self.requirements(one).is_global
                for one in assignment.units
            )
        }

    def _misfit(self, machine: MachineId, unit: AssignedUnit) -> str:
        others = [
            other
            for other in self.assignments[machine].units
            if other.name != unit.name and not other.is_leaving
        ]
        beside = {other.name: self.requirements(other) for other in others}
        problem = "the machine never registered"
        for version in reversed(self.machines.recent(machine)):
            if version.machine is not None:
                problem = fits(unit.name, self.requirements(unit), version.machine, beside)
                if not problem:
                    break
        return problem

    def requirements(self, unit: AssignedUnit) -> Requirements:
        """Of exactly the text that is assigned, whatever was submitted since."""
        return self._requirements.get((unit.name, unit.digest), Requirements())

    # --- the agents ---------------------------------------------------------------------------------------------

    def agent_began(self, machine: SimMachine) -> None:
        """A new life of the machine's agent: it knows what is on its disk, nothing else."""
        before = self._told.get(machine)
        told = self._told[machine] = _Told(boot=machine.boots)
        if before is not None and before.boot == machine.boots:
            known = [one.delivery for one in before.held[-1:]]
            known += [] if before.earlier is None else [before.earlier]
            told.earlier = max(known, key=_rank, default=None)
        if machine.disk.delivery is not None:
            told.held.append(Held(running().time(), machine.disk.delivery))
            told.everything.append(machine.disk.delivery)
        told.generations = {name: s.generation for name, s in machine.disk.started.items()}

    def told(self, machine: SimMachine, delivery: Delivery) -> None:
        """The agent is being told this."""
        told = self._told[machine]
        told.everything.append(delivery)
        if not told.held or _rank(delivery) > _rank(told.held[-1].delivery):
            told.held.append(Held(running().time(), delivery))

    def acted(self, machine: SimMachine, verb: str, names: Collection[UnitName]) -> None:
        """The agent asks its runtime for this. Called before it happens."""
        told = self._told[machine]
        if verb == "arm":
            return
        for name in names:
            within = TEXTS_WITHIN if verb == "install" else FOLLOWS_WITHIN
            in_force = _in_force(told.held, within)
            if verb in ("stop", "remove") and _is_outdated(told):
                in_force = []
            if not _is_asked_for(machine, verb, name, in_force, told.generations):
                older = _is_asked_for(machine, verb, name, told.everything, told.generations)
                code = "S4" if older else "S7" if verb in ("install", "start") else "S6"
                why = (
                    "an assignment older than its newest" if older else "no assignment it was told"
                )
                self._break(code, f"{machine.name}: {verb} {name}: {why} says so")
            if verb in ("start", "restart"):
                asked = [
                    g for d in _in_force(told.held, FOLLOWS_WITHIN) for g in _generations(d, name)
                ]
                told.generations[name] = min(asked, default=0)

    def began(self, run: Run) -> None:
        """A unit begins to run. One with a fence runs nowhere else, and its fence is higher than any before it."""
        if not run.fence:
            return
        before = self._single.get(run.unit, [])
        for other in before:
            words = f"{run.unit} runs on {self._short(MachineId(run.machine))}"
            where = self._short(MachineId(other.machine))
            self._expect(other.ended is not None, "S1", f"{words} and on {where}")
            is_same = (other.fence, other.machine) == (run.fence, run.machine)
            is_grown = run.fence > other.fence or is_same
            self._expect(is_grown, "S1", f"{words} with fence {run.fence}, after {other.fence}")
        self._single[run.unit] = [*(other for other in before if other.ended is None), run]

    # --- violations ---------------------------------------------------------------------------------------------

    def _expect(self, holds: bool, code: str, text: str) -> None:
        if not holds:
            self._break(code, text)

    def _break(self, code: str, text: str) -> None:
        running().trace.note(f"BROKEN {code}: {text}")
        if self.broken is None:
            self.broken = InvariantBroken(f"{code}: {text}")

    def process_died(self, name: str, problem: BaseException) -> None:
        """A process that nobody killed ended."""
        self._break("alive", f"{name} died of {problem!r}")

    def _short(self, machine: MachineId) -> str:
        record = self.machines.known.get(machine)
        return record.hostname if record is not None and record.hostname else machine[:8]


def _in_words(event: Event) -> str:
    about = " ".join(part for part in (event.unit, event.machine[-4:]) if part)
    return f"{event.by}: {event.kind} {about}: {event.message}"


def _rank(delivery: Delivery) -> tuple[int, int]:
    return delivery.epoch, delivery.revision


def _is_outdated(told: _Told) -> bool:
    """Whether all that the agent was told in this life is older than what one before it was told."""
    newest = max((_rank(one.delivery) for one in told.held), default=(0, 0))
    return told.earlier is not None and _rank(told.earlier) > newest


def _in_force(held: list[Held], within: float) -> list[Delivery]:
    """The newest assignment, and those that were the newest a short while ago: work under way may still end."""
    now = running().time()
    recent = [
        one.delivery
        for one, following in itertools.pairwise(held)
        if following.since >= now - within
    ]
    return [*recent, *(one.delivery for one in held[-1:])]


def _is_asked_for(
    machine: SimMachine,
    verb: str,
    name: UnitName,
    deliveries: Iterable[Delivery],
    generations: Mapping[UnitName, int],
) -> bool:
    """Whether one of these assignments asks for the step, given what the machine has."""
    status = machine.statuses().get(name)
    for delivery in deliveries:
        unit = next((u for u in delivery.assignment.units if u.name == name), None)
        desired = DesiredState.INACTIVE if unit is None else unit.desired
        is_other = unit is not None and status is not None and status.digest != unit.version
        match verb:
            case "stop":
                if desired is not DesiredState.LAUNCHED or is_other:
                    return True
            case "remove":
                if desired is DesiredState.INACTIVE:
                    return True
            case "restart":
                if unit is not None and unit.generation > generations.get(name, 0):
                    return True
            case "start":
                if desired is DesiredState.LAUNCHED:
                    return True
            case _:
                if desired is not DesiredState.INACTIVE:
                    return True
    return False


def _replaces(needs: Requirements, name: UnitName) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in needs.replaces)


def _generations(delivery: Delivery, name: UnitName) -> list[int]:
    return [unit.generation for unit in delivery.assignment.units if unit.name == name]
