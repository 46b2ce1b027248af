"""What is wrong with several units together, each of which may be fine alone.

Units are *tied* when they can only be placed on one machine: by MachineOf, through any number of steps, or by the same
MachineID. Among tied units a conflict, a fixed port taken twice or contradicting conditions can never be satisfied, so that
fleet would have waited for ever without a word.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from argosy.errors import Invalid
from argosy.model.ids import UnitName
from argosy.model.unit import Condition, Operator, WhenCutOff
from argosy.settings import PresenceSettings
from argosy.units import fleet, globs, loading, names, placement, service, specifiers
from argosy.units.check import Checked
from argosy.units.diagnostics import Diagnostic, Problems, nearest_spelling
from argosy.units.text import Entry
from argosy.units.values import BadValue

Units = Mapping[UnitName, Checked]
PULLING = ("Requires", "Wants", "BindsTo", "Upholds", "OnFailure", "OnSuccess")
"""The keys of [Unit] by which the start, or the end, of one unit starts another."""


def check_together(
    units: Units, *, known: Collection[UnitName] = frozenset()
) -> tuple[Diagnostic, ...]:
    """Everything wrong between these units. Templates among them are left out: they run nowhere.

    known: further units that may be referred to, those that the cluster has already.
    """
    runnable = {name: unit for name, unit in units.items() if not names.parse(name).is_template}
    return (
        *find_cycles(runnable),
        *find_impossible(runnable),
        *find_taken_ports(runnable),
        *find_pulled_in(runnable),
        *find_missing(runnable, known=_Known(units, known)),
    )


def find_cycles(units: Units) -> tuple[Diagnostic, ...]:
    """An error for each circle of MachineOf: none of its units could be placed before the others."""
    report = _Report()
    for circle in _circles(units):
        way = " -> ".join((*circle, circle[0]))
        entry = _entry_of(units[circle[0]], "MachineOf", "X-ConditionMachineOf")
        what = (
            f"MachineOf goes in a circle: {way}"
            if len(circle) > 1
            else "MachineOf names the unit itself"
        )
        report.error(
            units[circle[0]], entry, what, hint="one of them must come first, without MachineOf"
        )
    return report.found()


def find_impossible(units: Units) -> tuple[Diagnostic, ...]:
    """An error for each unit that can never be placed together with another that it is tied to, or displaces for ever."""
    report = _Report()
    for tied in _tied(units):
        _check_conditions(tied, units, report)
        for one in tied:
            needs = units[one].requirements
            for key, patterns in (("Conflicts", needs.conflicts), ("Replaces", needs.replaces)):
                other = _first_match(patterns, tied, without=one)
                if other is not None:
                    spelling = "X-Conflicts" if key == "Conflicts" else key
                    report.error(
                        units[one],
                        _entry_of(units[one], key, spelling),
                        f"{one} and {other} must be on one machine, but {one} has {key} that match {other}",
                        hint="they can never both run",
                    )
        _check_limits(tied, units, report)
    replacing = [name for name, unit in units.items() if unit.requirements.replaces]
    for index, one in enumerate(replacing):
        for other in replacing[index + 1 :]:
            if _replaces(units[one], other) and _replaces(units[other], one):
                report.error(
                    units[one],
                    _entry_of(units[one], "Replaces"),
                    f"{one} and {other} replace each other",
                    hint="remove one Replaces=",
                )
    return report.found()


def find_taken_ports(units: Units) -> tuple[Diagnostic, ...]:
    """An error for each fixed port wanted by two units that cannot avoid each other: tied ones, and any with a unit that
    runs on every machine (Global=yes without conditions).
    """
    report = _Report()
    everywhere = [
        name
        for name, unit in units.items()
        if unit.requirements.is_global and not unit.requirements.metadata
    ]
    for tied in _tied(units):
        _check_ports(tied, units, report, why="must be on one machine")
    _check_ports(everywhere, units, report, why="meet on every machine")
    taken = {port: name for name in everywhere for port in units[name].requirements.ports}
    for name, unit in units.items():
        for port in unit.requirements.ports:
            if port in taken and name not in everywhere:
                _check_ports((taken[port], name), units, report, why="meet on every machine")
    return report.found()


class _Known:
    """Units that may be referred to. The cluster's are many, and most submissions ask for few of them or none."""

    def __init__(self, *collections: Collection[UnitName]) -> None:
        self._collections = collections
        self._near: dict[tuple[str, float], str | None] = {}

    def __contains__(self, name: str) -> bool:
        return any(name in collection for collection in self._collections)

    def near(self, name: str, *, cutoff: float) -> str | None:
        """The one nearest in spelling; asked for the same name again, it is at hand."""
        if (name, cutoff) not in self._near:
            every = {one for collection in self._collections for one in collection}
            self._near[name, cutoff] = nearest_spelling(name, every, cutoff=cutoff)
        return self._near[name, cutoff]


def find_pulled_in(units: Units) -> tuple[Diagnostic, ...]:
    """An error for each unit that makes a machine's systemd start another that must not run twice (`WhenCutOff=stop`),
    though the machine may be cut off by then: when it is started itself, or again by its Restart=. No server is asked.
    """
    report = _Report()
    for name, unit in units.items():
        wanted = [
            (key, *found) for key in PULLING for found in loading.dependencies(unit.text, key)
        ]
        for key, entry, raw in wanted:
            target = _expanded(raw.text, name)
            if target in units and _lasts_longer(unit, units[target]):
                report.error(
                    unit,
                    entry,
                    f"{key}={target} would start {target} where its machine is cut off, and it must not run twice",
                    hint=f"give {name} WhenCutOff=stop and the same MoveAfter=, or write only After={target}",
                )
    return report.found()


def _lasts_longer(unit: Checked, single: Checked) -> bool:
    """Whether the unit may be started on a machine that has been cut off for so long that the single one may not."""
    ours, theirs = unit.requirements, single.requirements
    if theirs.when_cut_off is not WhenCutOff.STOP or theirs.is_global:
        return False
    usual = PresenceSettings().lost_after
    is_longer = (ours.move_after or usual) > (theirs.move_after or usual)
    return ours.when_cut_off is not WhenCutOff.STOP or ours.is_global or is_longer


def _expanded(text: str, name: UnitName) -> UnitName:
    """What a unit writes of another's name; as it stands where that is no name."""
    try:
        return names.parse(specifiers.expand(text, names.parse(name))).full
    except (BadValue, Invalid):
        return UnitName(text)


def find_missing(units: Units, *, known: _Known) -> tuple[Diagnostic, ...]:
    """References to units that are not there.

    MachineOf to an unknown unit is an error: nothing would ever be placed. The dependencies of [Unit] may name units of the
    machine, of which nothing is known here, so only what looks like a misspelling, or like an instance that one of the
    templates does not have, is reported, as a warning.
    """
    report = _Report()
    for name, unit in units.items():
        for peer in unit.requirements.machine_of:
            if peer not in known:
                near = known.near(peer, cutoff=0.8)
                report.error(
                    unit,
                    _entry_of(unit, "MachineOf", "X-ConditionMachineOf"),
                    f"MachineOf: there is no unit {peer}",
                    hint=f"did you mean '{near}'?" if near else "submit it too",
                )
        for key in loading.DEPENDENCIES:
            for entry, raw in loading.dependencies(unit.text, key):
                _check_reference(unit, name, key, entry, raw.text, known, report)
    return report.found()


def _check_reference(
    unit: Checked,
    name: UnitName,
    key: str,
    entry: Entry,
    raw: str,
    known: _Known,
    report: _Report,
) -> None:
    try:
        target = specifiers.expand(raw, names.parse(name))
        parts = names.parse(target)
    except (BadValue, Invalid):
        return
    if parts.full in known:
        return
    if parts.template is not None and parts.template in known:
        report.warning(
            unit, entry, f"{key}: there is no {target}", hint="raise Replicas= of its template"
        )
        return
    near = known.near(target, cutoff=0.85)
    if near is not None and names.parse(near).prefix != parts.prefix:
        report.warning(unit, entry, f"{key}: there is no {target}", hint=f"did you mean '{near}'?")


class _Report:
    """Gathers at most one diagnostic per place: a template's fault shows in each of its instances."""

    def __init__(self) -> None:
        self._by_place: dict[tuple[str, int, int], Diagnostic] = {}

    def error(self, unit: Checked, entry: Entry | None, message: str, *, hint: str = "") -> None:
        self._add(unit, entry, message, hint, is_error=True)

    def warning(self, unit: Checked, entry: Entry | None, message: str, *, hint: str = "") -> None:
        self._add(unit, entry, message, hint, is_error=False)

    def found(self) -> tuple[Diagnostic, ...]:
        return tuple(sorted(self._by_place.values()))

    def _add(
        self, unit: Checked, entry: Entry | None, message: str, hint: str, *, is_error: bool
    ) -> None:
        line, column = entry.position() if entry is not None else (1, 1)
        problems = Problems(unit.file)
        (problems.error if is_error else problems.warning)(line, column, message, hint=hint)
        for diagnostic in problems.sorted():
            self._by_place.setdefault((unit.file, line, column), diagnostic)


def _circles(units: Units) -> list[list[UnitName]]:
    """The circles in which MachineOf goes: for each unit that is in one, the first found, each once."""
    found: list[list[UnitName]] = []
    done: set[UnitName] = set()
    for start in sorted(units):
        path: list[UnitName] = []
        at: dict[UnitName, int] = {}
        stack = [(start, iter(_peers(units, start)))] if start not in done else []
        if stack:
            path.append(start)
            at[start] = 0
        while stack:
            name, peers = stack[-1]
            peer = next(peers, None)
            if peer is None:
                stack.pop()
                path.pop()
                del at[name]
                done.add(name)
            elif peer in at:
                found.append(path[at[peer] :])
            elif peer not in done:
                at[peer] = len(path)
                path.append(peer)
                stack.append((peer, iter(_peers(units, peer))))
    return found


def _peers(units: Units, name: UnitName) -> tuple[UnitName, ...]:
    return tuple(peer for peer in units[name].requirements.machine_of if peer in units)


def _tied(units: Units) -> list[list[UnitName]]:
    """Groups of two and more units that can only be placed on one machine."""
    group_of: dict[UnitName, list[UnitName]] = {name: [name] for name in units}

    def tie(one: UnitName, other: UnitName) -> None:
        larger, smaller = group_of[one], group_of[other]
        if larger is smaller:
            return
        if len(larger) < len(smaller):
            larger, smaller = smaller, larger
        larger += smaller
        for name in smaller:
            group_of[name] = larger

    pinned: dict[str, UnitName] = {}
    for name, unit in units.items():
        if unit.requirements.machine_id is not None:
            tie(pinned.setdefault(unit.requirements.machine_id[:8], name), name)
        for peer in _peers(units, name):
            # A global peer is on many machines: units that follow it need not meet each other.
            if not units[peer].requirements.is_global:
                tie(peer, name)
    groups = {id(group): sorted(group) for group in group_of.values() if len(group) > 1}
    return sorted(groups.values())


def _check_conditions(tied: Sequence[UnitName], units: Units, report: _Report) -> None:
    """Sets of allowed values of one key that have nothing in common."""
    allowed: dict[str, tuple[set[str], UnitName]] = {}
    for name in tied:
        for condition in units[name].requirements.metadata:
            if condition.operator not in (Operator.EQUAL, Operator.IN):
                continue
            before = allowed.get(condition.key)
            if before is None:
                allowed[condition.key] = (set(condition.values), name)
                continue
            common = before[0].intersection(condition.values)
            if not common:
                report.error(
                    units[name],
                    _entry_of_condition(units[name], condition),
                    f"{name} and {before[1]} must be on one machine, but no {condition.key} suits both",
                    hint="they can never both run",
                )
                return
            allowed[condition.key] = (common, name)


def _check_limits(tied: Sequence[UnitName], units: Units, report: _Report) -> None:
    counts: dict[str, int] = {}
    for name in tied:
        template = names.parse(name).template or name
        counts[template] = counts.get(template, 0) + 1
        limit = units[name].requirements.max_per_machine
        if limit is not None and counts[template] > limit:
            report.error(
                units[name],
                _entry_of(units[name], "MaxPerMachine"),
                f"MaxPerMachine={limit}, but {counts[template]} instances must be on one machine",
                hint="they can never all run",
            )


def _check_ports(meeting: Sequence[UnitName], units: Units, report: _Report, *, why: str) -> None:
    holder: dict[int, UnitName] = {}
    for name in meeting:
        for port in units[name].requirements.ports:
            other = holder.setdefault(port, name)
            if other != name:
                report.error(
                    units[name],
                    _entry_of(units[name], "Port"),
                    f"port {port} is taken twice: {other} and {name} {why}",
                    hint="give one another port, or Port=auto",
                )


def _replaces(unit: Checked, other: UnitName) -> bool:
    return any(globs.matches(pattern, other) for pattern in unit.requirements.replaces)


def _first_match(
    patterns: Sequence[str], group: Iterable[UnitName], *, without: UnitName
) -> UnitName | None:
    if not patterns:
        return None
    return next(
        (
            name
            for name in group
            if name != without and any(globs.matches(pattern, name) for pattern in patterns)
        ),
        None,
    )


def _entry_of(unit: Checked, *keys: str) -> Entry | None:
    """The first line of one of the keys, in whichever of our sections has it."""
    for title in (fleet.TITLE, placement.TITLE, service.TITLE):
        for key in keys:
            if entries := unit.text.assigned(title, key):
                return entries[0]
    return None


def _entry_of_condition(unit: Checked, condition: Condition) -> Entry | None:
    keys = ("MachineMetadata", "X-ConditionMachineMetadata", "Require")
    for title in (fleet.TITLE, placement.TITLE):
        for key in keys:
            for entry in unit.text.assigned(title, key):
                if condition.key in entry.value:
                    return entry
    return _entry_of(unit, *keys)
