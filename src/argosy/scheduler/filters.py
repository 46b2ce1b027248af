"""The rules that say which machines may have a unit, each named by its key in the unit file.

A rule answers for many machines at once: of a set of machines, which does it refuse? A machine may have a unit when no
rule refuses it; the unit itself is not on the board when it is asked. All rules are about the machine and what is on it,
so that putting a unit on one machine changes nothing for the others (`MachineOf` is the exception). All are symmetrical
where they relate two units, so that a newcomer never makes the place of a settled unit wrong.

To add a rule: a class here, its place in `RULES`, its words, and its change in `remedies.py` if there is one.
Meaning of the `[X-Fleet]` keys: fleet's `Documentation/unit-files-and-scheduling.md`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from argosy.model.explanation import SHOWN, Refusal
from argosy.model.ids import MachineId, UnitName
from argosy.model.machine import Machine
from argosy.model.unit import Condition, Operator, Unit
from argosy.scheduler.amounts import in_bytes, in_cores
from argosy.scheduler.board import PLAIN, Board
from argosy.scheduler.globs import matches_any
from argosy.scheduler.marks import Room

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
NAMED = 3
"""How many units or values are named in a sentence."""


@dataclass(frozen=True, slots=True)
class Ground:
    """Why some machines are refused, in words that hold for all of them."""

    machines: int
    detail: str
    """`needs disk=ssd, has disk=hdd`."""
    one: str
    many: str
    """To be read after a number of machines: `lacks disk=ssd`, `lack disk=ssd`."""


class Rule(Protocol):
    """One rule. `key` is its key in the unit file."""

    @property
    def key(self) -> str: ...

    def refused(self, board: Board, unit: Unit, among: int) -> int:
        """Those of the machines that the rule refuses."""

    def grounds(self, board: Board, unit: Unit, refused: int) -> list[Ground]:
        """Why, for machines that it refused."""


class MachineID:
    """Only that machine: its full id, or the first eight characters of it (as fleet's code, not its manual, has it)."""

    key = "MachineID"

    def refused(self, board: Board, unit: Unit, among: int) -> int:
        wanted = unit.requirements.machine_id
        return 0 if wanted is None else among & ~board.with_id(wanted)

    def grounds(self, board: Board, unit: Unit, refused: int) -> list[Ground]:
        detail = f"is not machine {unit.requirements.machine_id}"
        many = f"are not machine {unit.requirements.machine_id}"
        return [Ground(refused, detail, detail, many)]


class MachineMetadata:
    """Every condition on the machine's metadata holds: `MachineMetadata=` of fleet and `Require=` of Argosy."""

    key = "MachineMetadata"

    def refused(self, board: Board, unit: Unit, among: int) -> int:
        conditions = unit.requirements.metadata
        if not conditions:
            return 0
        fit = board.answers.get(conditions)
        if fit is None:
            fit = board.known
            for condition in conditions:
                fit &= self._meeting(board, condition)
            board.answer(conditions, fit)
        return among & ~fit

    def _meeting(self, board: Board, condition: Condition) -> int:
        values = board.labels.values(condition.key)
        if condition.operator in (Operator.LESS, Operator.GREATER):
            return _union(bits for value, bits in values.items() if compares(value, condition))
        stated = _union(values.get(value, 0) for value in condition.values)
        return board.known & ~stated if condition.operator is Operator.NOT_EQUAL else stated

    def grounds(self, board: Board, unit: Unit, refused: int) -> list[Ground]:
        found: list[Ground] = []
        for condition in unit.requirements.metadata:
            failing = refused & ~self._meeting(board, condition)
            refused ^= failing
            if failing:
                found += self._failing(board, condition, failing)
        return found

    def _failing(self, board: Board, condition: Condition, failing: int) -> list[Ground]:
        text = condition_text(condition)
        words = (f"lacks {text}", f"lack {text}")
        if condition.operator is not Operator.EQUAL and condition.operator is not Operator.IN:
            words = (f"does not meet {text}", f"do not meet {text}")
        present = sorted(
            (value, bits & failing)
            for value, bits in board.labels.values(condition.key).items()
            if bits & failing
        )
        without = failing & ~_union(bits for _, bits in present)
        found = [
            Ground(bits, f"needs {text}, has {condition.key}={value}", *words)
            for value, bits in present
        ]
        if len(present) > NAMED:
            values = ", ".join(value for value, _ in present[:NAMED])
            others = f"needs {text}, has {condition.key}={values} and others"
            found = [Ground(failing & ~without, others, *words)]
        if without:
            found.append(Ground(without, f"needs {text}, has no {condition.key}", *words))
        return found


class Presence:
    """The machine is there. Not a key of the unit file: every unit needs this."""

    key = "Presence"

    def refused(self, board: Board, unit: Unit, among: int) -> int:
        return among & ~board.there

    def grounds(self, board: Board, unit: Unit, refused: int) -> list[Ground]:
        return [Ground(refused, "is absent", "is absent", "are absent")]


class Scheduling:
    """People have not closed the machine. Not a key of the unit file either."""

    key = "Scheduling"

    def refused(self, board: Board, unit: Unit, among: int) -> int:
        return among & board.closed

    def grounds(self, board: Board, unit: Unit, refused: int) -> list[Ground]:
        by_state: dict[str, int] = {}
        for machine_id in board.ids(refused):
            word = board.scheduling(machine_id).value
            by_state[word] = by_state.get(word, 0) | board.bit(machine_id)
        return [
            Ground(bits, f"is {word}", f"is {word}", f"are {word}")
            for word, bits in sorted(by_state.items())
        ]


class MachineOf:
    """Every unit named is on the machine."""

    key = "MachineOf"

    def refused(self, board: Board, unit: Unit, among: int) -> int:
        fit = among
        for target in unit.requirements.machine_of:
            fit &= board.hosting(target)
        return among ^ fit

    def grounds(self, board: Board, unit: Unit, refused: int) -> list[Ground]:
        found: list[Ground] = []
        for target in unit.requirements.machine_of:
            places = board.hosting(target)
            failing = refused & ~places
            refused ^= failing
            where = _places_in_words(board, target)
            if failing:
                detail = f"does not have {target}, which is on {where}"
                found.append(
                    Ground(failing, detail, f"does not have {target}", f"do not have {target}")
                )
        return found


class Conflicts:
    """No unit there has a name that the unit's `Conflicts` match, nor `Conflicts` that match the unit's name."""

    key = "Conflicts"

    def refused(self, board: Board, unit: Unit, among: int) -> int:
        bits = board.minding(unit.name)
        for pattern in unit.requirements.conflicts:
            bits |= board.with_named(pattern)
        return among & bits

    def grounds(self, board: Board, unit: Unit, refused: int) -> list[Ground]:
        names: set[UnitName] = set()
        for machine_id in board.ids(refused, SHOWN):
            names.update(self.against(board, unit, machine_id))
        detail = f"has {_some(sorted(names))}, which conflicts with it"
        return [Ground(refused, detail, "has a unit that conflicts", "have a unit that conflicts")]

    @staticmethod
    def against(board: Board, unit: Unit, machine_id: MachineId) -> list[UnitName]:
        """The units on the machine that conflict with it, sorted."""
        return sorted(
            other.name
            for other in board.units_on(machine_id).values()
            if other.name != unit.name and conflict(unit, other)
        )


class Replaces:
    """No unit there replaces the unit: it would have to leave again. Two that replace each other do not care."""

    key = "Replaces"

    def refused(self, board: Board, unit: Unit, among: int) -> int:
        return among & _union(
            board.bit(machine_id)
            for other, machine_id in board.replacing()
            if replaces(other, unit)
        )

    def grounds(self, board: Board, unit: Unit, refused: int) -> list[Ground]:
        names = sorted(
            other.name
            for other, machine_id in board.replacing()
            if replaces(other, unit) and board.bit(machine_id) & refused
        )
        detail = f"has {_some(names)}, which replaces it"
        return [
            Ground(refused, detail, "has a unit that replaces it", "have a unit that replaces it")
        ]


class Port:
    """The ports it listens on are free."""

    key = "Port"

    def refused(self, board: Board, unit: Unit, among: int) -> int:
        ports = unit.requirements.ports
        return among & _union(board.with_port_taken(port) for port in ports) if ports else 0

    def grounds(self, board: Board, unit: Unit, refused: int) -> list[Ground]:
        found: list[Ground] = []
        for port in unit.requirements.ports:
            taken = refused & board.with_port_taken(port)
            refused ^= taken
            if taken:
                names: set[UnitName] = set()
                for machine_id in board.ids(taken, SHOWN):
                    names.update(self.holders(board, port, machine_id))
                detail = f"port {port} is taken by {_some(sorted(names))}"
                words = (f"has no port {port} free", f"have no port {port} free")
                found.append(Ground(taken, detail, *words))
        return found

    @staticmethod
    def holders(board: Board, port: int, machine_id: MachineId) -> list[UnitName]:
        """The units on the machine that have the port, sorted."""
        units = board.units_on(machine_id).values()
        return sorted(unit.name for unit in units if port in unit.requirements.ports)


class MaxPerMachine:
    """With it, there are not more units of its service than it allows, nor than those already there allow."""

    key = "MaxPerMachine"

    def refused(self, board: Board, unit: Unit, among: int) -> int:
        limit = unit.requirements.max_per_machine
        if limit is None and not board.has_limits:
            return 0
        siblings = board.siblings(unit.service)
        strictest = min(siblings.limits, default=None)
        full = 0
        for machine_id, count in siblings.counts.items():
            if limit is not None and count >= limit:
                full |= board.bit(machine_id)
            elif strictest is not None and count >= strictest:
                others = strictest_on(board, unit, machine_id)
                if others is not None and count >= others:
                    full |= board.bit(machine_id)
        return among & full

    def grounds(self, board: Board, unit: Unit, refused: int) -> list[Ground]:
        counts = board.siblings(unit.service).counts
        by_count: dict[int, int] = {}
        for machine_id in board.ids(refused):
            count = counts.get(machine_id, 0)
            by_count[count] = by_count.get(count, 0) | board.bit(machine_id)
        found = []
        for count, bits in sorted(by_count.items()):
            words = f"{count} of {unit.service} already"
            found.append(Ground(bits, f"has {words}", f"has {words}", f"have {words}"))
        return found


class Memory:
    """The memory it reserves is not reserved by others. A machine that does not say what it has gets no reservation."""

    key = "Memory"

    def refused(self, board: Board, unit: Unit, among: int) -> int:
        amount = unit.requirements.memory_bytes
        return among ^ board.memory.machines(amount, among, board.at) if amount else 0

    def grounds(self, board: Board, unit: Unit, refused: int) -> list[Ground]:
        need = in_bytes(unit.requirements.memory_bytes)
        return _lacking(board, board.memory, refused, need=need, words=in_bytes)


class CPU:
    """The processor time it reserves is not reserved by others."""

    key = "CPU"

    def refused(self, board: Board, unit: Unit, among: int) -> int:
        amount = unit.requirements.cpu_millis
        return among ^ board.cpu.machines(amount, among, board.at) if amount else 0

    def grounds(self, board: Board, unit: Unit, refused: int) -> list[Ground]:
        need = in_cores(unit.requirements.cpu_millis)
        return _lacking(board, board.cpu, refused, need=need, words=in_cores)


MACHINE_RULES: tuple[Rule, ...] = (MachineID(), MachineMetadata())
"""What depends on the machine alone."""
PEERS = MachineOf()
RULES: tuple[Rule, ...] = (
    *MACHINE_RULES,
    Presence(),
    Scheduling(),
    PEERS,
    Conflicts(),
    Replaces(),
    Port(),
    MaxPerMachine(),
    Memory(),
    CPU(),
)
"""In the order in which they are told: what can never fit here first, what may change any moment last."""
_RULES_WHERE_USABLE = tuple(r for r in RULES if not isinstance(r, Presence | Scheduling))
_RULES_TO_STAY = sorted(_RULES_WHERE_USABLE, key=lambda rule: rule.key == Replaces.key)
"""`Replaces` last: a unit that is replaced stays until it has another place, but not if anything else speaks against it."""


def eligible(
    board: Board, unit: Unit, among: int | None = None, *, ignore_peers: bool = False
) -> int:
    """The machines that may have the unit now.

    among: look only at these (usable or not); None is every usable machine.
    ignore_peers: leave out `MachineOf`.
    """
    fit = board.usable if among is None else among
    for rule in _RULES_WHERE_USABLE:
        if not fit:
            break
        if not (ignore_peers and rule is PEERS):
            fit ^= rule.refused(board, unit, fit)
    return fit


def violation(board: Board, unit: Unit, machine_id: MachineId) -> Refusal | None:
    """Why a unit may not stay on the machine it is on; None when it may.

    Only what the unit asks for counts, not whether the machine is there: absence is never a command. A machine that
    stopped saying what memory or processors it has keeps the reservations it has.
    """
    if unit.requirements == PLAIN and not board.has_patterns and not board.has_limits:
        return None
    bit = board.bit(machine_id)
    for rule in MACHINE_RULES:
        if rule.refused(board, unit, bit):
            return _refusal(board, unit, rule, bit)
    if not _may_be_in_somebodys_way(board, unit):
        return None
    held = board.units_on(machine_id).get(unit.name)
    if held is not None:
        board.take(unit.name, machine_id)
        bit = board.bit(machine_id)  # another one, if the machine went with its last unit
    try:
        for rule in _RULES_TO_STAY:
            if rule.key == Memory.key and not board.memory.known & bit:
                continue
            if rule.key == CPU.key and not board.cpu.known & bit:
                continue
            if rule.refused(board, unit, bit):
                return _refusal(board, unit, rule, bit)
        return None
    finally:
        if held is not None:
            board.put(held, machine_id)


def _may_be_in_somebodys_way(board: Board, unit: Unit) -> bool:
    needs = unit.requirements
    return bool(
        needs.machine_of
        or needs.conflicts
        or needs.ports
        or needs.memory_bytes
        or needs.cpu_millis
        or needs.max_per_machine is not None
        or board.has_limits
        or board.patterns(unit.name)
    )


def _refusal(board: Board, unit: Unit, rule: Rule, bit: int) -> Refusal:
    ground = rule.grounds(board, unit, bit)[0]
    return Refusal(rule=rule.key, detail=ground.detail, machines=(board.first(bit),), count=1)


# --- relations between two units, and between a machine and a condition --------------------------------------------


def conflict(one: Unit, other: Unit) -> bool:
    """Whether the two must not share a machine: either names the other."""
    return matches_any(one.requirements.conflicts, other.name) or matches_any(
        other.requirements.conflicts, one.name
    )


def replaces(one: Unit, other: Unit) -> bool:
    """Whether `other` makes way for `one`. Two that name each other do not: it would never end."""
    return (
        one.name != other.name
        and matches_any(one.requirements.replaces, other.name)
        and not matches_any(other.requirements.replaces, one.name)
    )


def strictest_on(board: Board, unit: Unit, machine_id: MachineId) -> int | None:
    """The smallest `MaxPerMachine` of the unit's siblings on the machine; None when they have none."""
    limits = [
        other.requirements.max_per_machine
        for other in board.units_on(machine_id).values()
        if other.requirements.max_per_machine is not None and other.service == unit.service
    ]
    return min(limits, default=None)


def compares(value: str, condition: Condition) -> bool:
    """Whether a machine's value is less, or greater, than the condition's: as numbers if both are, else as text."""
    bound = condition.values[0]
    mine, theirs = _number(value), _number(bound)
    if mine is not None and theirs is not None:
        return mine < theirs if condition.operator is Operator.LESS else mine > theirs
    return value < bound if condition.operator is Operator.LESS else value > bound


def meets(machine: Machine, condition: Condition) -> bool:
    """Whether one machine meets one condition."""
    value = machine.metadata.get(condition.key)
    match condition.operator:
        case Operator.EQUAL | Operator.IN:
            return value in condition.values
        case Operator.NOT_EQUAL:
            return value not in condition.values
        case Operator.LESS | Operator.GREATER:
            return value is not None and compares(value, condition)


def condition_text(condition: Condition) -> str:
    """The condition as people write it."""
    if len(condition.values) == 1 and condition.operator is Operator.IN:
        return f"{condition.key}={condition.values[0]}"
    if condition.operator is Operator.IN:
        return f"{condition.key}={' or '.join(condition.values)}"
    return f"{condition.key}{condition.operator.value}{','.join(condition.values)}"


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text) else None


def _union(sets: Iterable[int]) -> int:
    bits = 0
    for one in sets:
        bits |= one
    return bits


def _some(names: list[UnitName]) -> str:
    if len(names) > NAMED:
        return f"{', '.join(names[:NAMED])} and {len(names) - NAMED} more"
    return ", ".join(names)


def _places_in_words(board: Board, target: UnitName) -> str:
    places = board.machines_of(target)
    if not places:
        return "no machine"
    return places[0] if len(places) == 1 else f"{len(places)} others"


def _lacking(
    board: Board, room: Room, refused: int, *, need: str, words: Callable[[int], str]
) -> list[Ground]:
    known = refused & room.known
    found: list[Ground] = []
    if known:
        most = words(max(0, room.most_left(board.ids(known))))
        is_alone = known.bit_count() == 1
        detail = f"needs {need}, {most if is_alone else f'at most {most}'} is left"
        found.append(
            Ground(known, detail, f"has less than {need} left", f"have less than {need} left")
        )
    if refused & ~known:
        one, many = "does not say what it has", "do not say what they have"
        found.append(Ground(refused & ~known, f"needs {need}, {one}", one, many))
    return found
