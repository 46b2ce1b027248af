"""Placing units: which machine each of them gets, in an order that only depends on the units.

Units go in this order, each seeing where those before it went: global units; units that ask for one machine by its id;
all others; and units that follow others (`MachineOf`) after what they follow. Within that, large reservations come
first, because they are the hardest to place, and then names decide.

Runs of units that are alike (a service's instances) are placed in rounds: the least loaded machines that fit get one
each, all at once. That is what placing one after the other comes to, and it is where the speed comes from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter

from argosy.model.ids import UnitName
from argosy.model.unit import Unit
from argosy.scheduler import displacing, scores
from argosy.scheduler.bits import slots_of
from argosy.scheduler.board import Board
from argosy.scheduler.decisions import Decision, Placed, Refused
from argosy.scheduler.explain import Explainer
from argosy.scheduler.filters import eligible


def place(board: Board, units: Sequence[Unit]) -> list[Decision]:
    """Find machines for units, and put them there on the board.

    Units that are on a machine already are left there; of a global unit, the machines that lack it get it. Returns a
    decision for each placement in the order made, then one for each unit that is on no machine, by name. What moved to
    make way is part of the decision on the unit that it made way for.
    """
    return _Placing(board, units).decide()


class _Placing:
    def __init__(self, board: Board, units: Sequence[Unit]) -> None:
        self._board = board
        self._units = {
            unit.name: unit
            for unit in units
            if unit.requirements.is_global or not board.has(unit.name)
        }
        self._followers: dict[UnitName, list[Unit]] = {}
        for unit in self._units.values():
            for target in unit.requirements.machine_of:
                self._followers.setdefault(target, []).append(unit)
        self._decisions: list[Decision] = []
        self._refused: list[Unit] = []
        self._has_displaced = False

    def decide(self) -> list[Decision]:
        self._board.register(self._units.values())
        waiting: Sequence[Unit] = self._in_order()
        while waiting:
            self._refused = []
            self._has_displaced = False
            for run in self._runs(waiting):
                self._place_run(run)
            # Units that made way have left room behind: somebody refused before may fit now.
            waiting = self._refused if self._has_displaced else ()
        explainer = Explainer(self._board, self._units)
        # Not only those refused: a global unit may have had to make way everywhere.
        self._decisions += [
            Refused(name, explainer.explain(self._units[name]))
            for name in sorted(self._units)
            if not self._board.has(name)
        ]
        return self._decisions

    def _in_order(self) -> list[Unit]:
        everywhere: list[Unit] = []
        pinned: list[Unit] = []
        free: list[Unit] = []
        for unit in self._units.values():
            needs = unit.requirements
            if needs.is_global:
                everywhere.append(unit)
            elif needs.machine_id is not None:
                pinned.append(unit)
            elif not needs.machine_of:
                free.append(unit)
        tiers = [everywhere, pinned, free, *self._by_depth()]
        return [unit for tier in tiers for unit in _hardest_first(tier)]

    def _by_depth(self) -> list[list[Unit]]:
        """Units that follow others: first those that follow nobody who waits, then their followers, and so on."""
        open_targets = {
            unit.name: sum(target in self._units for target in set(unit.requirements.machine_of))
            for unit in self._units.values()
            if unit.requirements.machine_of
        }
        placed_before = [name for name in self._followers if name in self._units]
        tiers: list[list[Unit]] = [
            [self._units[name] for name, count in open_targets.items() if count == 0]
        ]
        done = {unit.name for unit in tiers[0]}
        settled = [name for name in placed_before if name not in open_targets] + sorted(done)
        while settled:
            ready: list[Unit] = []
            for name in settled:
                for follower in {unit.name for unit in self._followers.get(name, ())}:
                    open_targets[follower] -= 1
                    if open_targets[follower] == 0:
                        ready.append(self._units[follower])
            tiers.append(ready)
            done.update(unit.name for unit in ready)
            settled = [unit.name for unit in ready]
        # Those who follow each other in a circle; they will be refused, and told why.
        tiers.append([self._units[name] for name in open_targets if name not in done])
        return tiers

    def _runs(self, units: Sequence[Unit]) -> Iterator[list[Unit]]:
        """Neighbours that every rule treats alike, together."""
        run: list[Unit] = []
        for unit in units:
            if run and self._alike(run[-1], unit):
                run.append(unit)
                continue
            if run:
                yield run
            run = [unit]
        if run:
            yield run

    def _alike(self, one: Unit, other: Unit) -> bool:
        needs, board = one.requirements, self._board
        if needs is not other.requirements and needs != other.requirements:
            return False
        if board.has_patterns and board.patterns(one.name) != board.patterns(other.name):
            return False
        is_limited = needs.max_per_machine is not None or board.has_limits
        return not is_limited or one.service == other.service

    def _place_run(self, run: list[Unit]) -> None:
        needs = run[0].requirements
        if needs.is_global:
            for unit in run:
                self._place_everywhere(unit)
        elif needs.replaces:
            for unit in run:
                self._place_replacing(unit)
        elif (
            len(run) == 1
            or needs.spread
            or needs.machine_of
            or not self._followers.keys().isdisjoint(unit.name for unit in run)
        ):
            for unit in run:
                self._place_one(unit)
        else:
            self._fill(run)

    def _fill(self, run: list[Unit]) -> None:
        board = self._board
        start = 0
        while start < len(run):
            fit = eligible(board, run[start])
            if not fit:
                self._refused += run[start:]
                return
            load, best = board.load.lowest(fit)
            left = len(run) - start
            if best.bit_count() > left:
                best = _first_of(best, left)
            words = scores.reason(board, run[start], among=fit, load=load, machine=best)
            some = run[start : start + best.bit_count()]
            machines = board.put_each(some, best, load)
            self._decisions += [
                Placed(unit.name, machine, words)
                for unit, machine in zip(some, machines, strict=True)
            ]
            start += len(some)

    def _place_one(self, unit: Unit) -> None:
        board = self._board
        fit = eligible(board, unit)
        if not fit:
            self._refused.append(unit)
            return
        best, load = scores.preferred(board, unit, self._fit_for_followers(unit, fit) or fit)
        bit = best & -best
        machine_id = board.first(bit)
        words = scores.reason(board, unit, among=fit, load=load, machine=bit)
        board.put(unit, machine_id)
        self._decisions.append(Placed(unit.name, machine_id, words))

    def _place_everywhere(self, unit: Unit) -> None:
        board = self._board
        fit = eligible(board, unit, board.usable & ~board.hosting(unit.name))
        for machine_id in board.ids(fit):
            board.put(unit, machine_id)
            self._decisions.append(Placed(unit.name, machine_id, "on every machine that fits"))
        if not board.has(unit.name):
            self._refused.append(unit)

    def _place_replacing(self, unit: Unit) -> None:
        board = self._board
        untried = eligible(board, unit)
        fit = untried
        untried |= board.usable & displacing.machines_with_replaced(board, unit)
        while untried:
            wanted = self._fit_for_followers(unit, untried) or untried
            best, load = scores.preferred(board, unit, wanted)
            bit = best & -best
            machine_id = board.first(bit)
            moved = displacing.land(board, unit, machine_id)
            if moved is not None:
                words = scores.reason(board, unit, among=fit | bit, load=load, machine=bit)
                self._decisions.append(Placed(unit.name, machine_id, words, moved))
                self._has_displaced = self._has_displaced or bool(moved)
                return
            untried ^= bit
        self._refused.append(unit)

    def _fit_for_followers(self, unit: Unit, fit: int) -> int:
        """Those of the machines that can also have the units that wait to follow this one, and theirs.

        A wish, not a rule: if there is none, the unit is placed and its followers wait.
        """
        if unit.name not in self._followers:
            return fit
        team = [unit]
        names = {unit.name}
        for member in team:
            for follower in self._followers.get(member.name, ()):
                if follower.name not in names:
                    names.add(follower.name)
                    team.append(follower)
        board = self._board
        for member in team[1:]:
            fit &= eligible(board, member, fit, ignore_peers=True)
            for target in member.requirements.machine_of:
                if target not in names and board.has(target):
                    fit &= board.hosting(target)
        memory = sum(member.requirements.memory_bytes for member in team)
        cpu = sum(member.requirements.cpu_millis for member in team)
        if memory:
            fit = board.memory.machines(memory, fit, board.at)
        if cpu:
            fit = board.cpu.machines(cpu, fit, board.at)
        return fit


def _hardest_first(units: Iterable[Unit]) -> list[Unit]:
    ordered = sorted(units, key=attrgetter("name"))
    if any(unit.requirements.memory_bytes or unit.requirements.cpu_millis for unit in ordered):
        ordered.sort(
            key=lambda unit: (-unit.requirements.memory_bytes, -unit.requirements.cpu_millis)
        )
    return ordered


def _first_of(bits: int, count: int) -> int:
    """The machines with the smallest ids, `count` of them; there are more."""
    if count == 1:
        return bits & -bits
    for position, slot in enumerate(slots_of(bits), start=1):
        if position == count:
            return bits & ((2 << slot) - 1)
    return bits
