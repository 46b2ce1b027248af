"""`[X-Fleet]`: fleet's own options, with its legacy spellings, its quoting, its specifiers and its combination rules.

Valid files mean exactly what they meant to fleet. Files that fleet misread in silence are errors here: it dropped a
malformed `MachineMetadata` pair, so that the unit could run anywhere; it never placed a unit whose MachineOf was no
name; it took any unknown word for `Global=no`. Source: fleet's job.go and unit.go at its last commit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

import msgspec

from argosy.model.ids import UnitName
from argosy.model.unit import Condition, Operator
from argosy.units import globs, names, specifiers, values
from argosy.units.diagnostics import Problems
from argosy.units.names import NameParts
from argosy.units.sections import MOST_ITEMS, Section
from argosy.units.text import UnitText
from argosy.units.values import BadValue

TITLE = "X-Fleet"

LEGACY = {
    "X-ConditionMachineID": "MachineID",
    "X-ConditionMachineBootID": "MachineID",
    "X-ConditionMachineOf": "MachineOf",
    "X-ConditionMachineMetadata": "MachineMetadata",
    "X-Conflicts": "Conflicts",
}
"""fleet's older spellings and what they became. Both may stand in one file."""

KEYS = frozenset(
    {"MachineID", "MachineOf", "MachineMetadata", "Conflicts", "Global", "Replaces", *LEGACY}
)

_EXCLUSIVE = (
    ("MachineID", ("MachineOf", "Conflicts", "Global", "Replaces")),
    ("Global", ("MachineOf", "Replaces")),
    ("Conflicts", ("Replaces",)),
)

_MACHINE_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}")
_PAIR = re.compile(r"([^=\s\"]+)=([^=\s\"]+)")


class FleetOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the section says, specifiers expanded."""

    machine_id: str | None = None
    machine_of: tuple[UnitName, ...] = ()
    metadata: tuple[Condition, ...] = ()
    """Sorted by key; one IN condition per key, its values in the order of the file."""
    conflicts: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()
    is_global: bool = False


def read(text: UnitText, name: NameParts, problems: Problems) -> FleetOptions:
    """Read the section; without one, everything is at its default. Faults go to `problems`."""
    section = _FleetSection(text, TITLE, name, keys=KEYS, problems=problems)
    options = FleetOptions(
        machine_id=_machine_id(section),
        machine_of=tuple(map(UnitName, _both(section, "MachineOf", _read_peers))),
        metadata=_metadata(section),
        conflicts=_both(section, "Conflicts", _read_conflicts),
        replaces=section.each("Replaces", _read_replaces),
        is_global=section.one("Global", values.boolean, False),
    )
    _check_combinations(section, options)
    return options


def multiple(line: str) -> list[str]:
    """The values on one line: fleet splits it only when it begins and ends with a double quote.

    `"a b" "c"` is two values, `a b` is one. Raises BadValue where fleet would have read something that nobody can have
    meant: a quote that is not closed, or an empty value.
    """
    if '"' not in line:
        return [line]
    if not (line.startswith('"') and line.endswith('"')):
        raise BadValue("quotes must enclose every value of the line", hint='write "one" "two"')
    if line.count('"') % 2:
        raise BadValue("a quote is not closed", offset=line.rfind('"'), hint='write "one" "two"')
    if "\\" in line:
        raise BadValue("fleet knows no escapes", offset=line.find("\\"))
    if line.count('"') > 2 * MOST_ITEMS:
        raise BadValue(f"at most {MOST_ITEMS} values are allowed")
    found = [quoted or bare for quoted, bare in re.findall(r'"([^"]*)"|([^"\s]+)', line)]
    if "" in found:
        raise BadValue("a value is empty", offset=line.find('""'))
    return found


class _FleetSection(Section):
    def expand(self, value: str) -> str:
        return specifiers.expand_as_fleet(value, self.name)


def _spellings(key: str) -> tuple[str, ...]:
    return (key, *(old for old, new in LEGACY.items() if new == key))


def _both(section: Section, key: str, read: Callable[[str], Collection[str]]) -> tuple[str, ...]:
    """The values under the key's present and older spellings, each once, in the order of the file."""
    entries = sorted(
        (entry for spelling in _spellings(key) for entry in section.entries(spelling)),
        key=lambda entry: (entry.line, entry.column),
    )
    return section.gather(entries, read)


def _machine_id(section: Section) -> str | None:
    """The first value wins; MachineID before X-ConditionMachineID before X-ConditionMachineBootID, as in fleet."""
    for spelling in ("MachineID", "X-ConditionMachineID", "X-ConditionMachineBootID"):
        entries = section.entries(spelling)
        if not entries:
            continue
        for ignored in entries[1:]:
            section.warning(ignored, f"ignored, the first one (line {entries[0].line}) counts")
        if spelling == "X-ConditionMachineBootID":
            section.warning(
                entries[0],
                "boot ids are no longer known, so the unit runs nowhere",
                hint="use MachineID=",
            )
            return section.read(entries[0], str)
        return section.read(entries[0], _read_machine_id)
    return None


def _metadata(section: Section) -> tuple[Condition, ...]:
    """Values of one key are alternatives, different keys must all hold, lines and spellings do not matter."""
    allowed: dict[str, list[str]] = {}
    for pair in _both(section, "MachineMetadata", _read_pairs):
        key, _, value = pair.partition("=")
        allowed.setdefault(key, []).append(value)
    return tuple(
        Condition(key, Operator.IN, tuple(found)) for key, found in sorted(allowed.items())
    )


def _read_machine_id(value: str) -> str:
    if not _MACHINE_ID.fullmatch(value):
        raise BadValue(
            f"'{value}' is no machine id",
            hint="`argosy list-machines --full` shows them: 32 lower-case hex digits, or the first 8",
        )
    return value


def _read_peers(line: str) -> list[str]:
    found = multiple(line)
    for peer in found:
        if globs.is_pattern(peer) and "\\" not in peer:
            raise BadValue(f"'{peer}' is a pattern; MachineOf takes exact names")
        fault = names.find_fault(peer)
        if fault is not None:
            hint = 'write "one.service" "two.service"' if " " in peer else fault[1]
            raise BadValue(f"'{peer}' is no unit name: {fault[0]}", hint=hint)
        if names.parse(peer).is_template:
            raise BadValue(f"'{peer}' is a template, which runs nowhere", hint="name an instance")
    return found


def _read_pairs(line: str) -> list[str]:
    found = multiple(line)
    for pair in found:
        if not _PAIR.fullmatch(pair):
            several = len(re.findall("=", pair)) > 1
            raise BadValue(
                f"'{pair}' is not key=value",
                hint='write "one=1" "two=2", or one pair a line' if several else "write disk=ssd",
            )
    return found


def _read_conflicts(line: str) -> list[str]:
    found = [word for value in multiple(line) for word in value.split(maxsplit=MOST_ITEMS)]
    if len(found) > MOST_ITEMS:
        raise BadValue(f"at most {MOST_ITEMS} values are allowed")
    for pattern in found:
        globs.check(pattern)
    return found


def _read_replaces(line: str) -> list[str]:
    found = multiple(line)
    for pattern in found:
        globs.check(pattern)
    return found


def _check_combinations(section: Section, options: FleetOptions) -> None:
    used = {
        "MachineID": options.machine_id is not None,
        "MachineOf": bool(options.machine_of),
        "Conflicts": bool(options.conflicts),
        "Replaces": bool(options.replaces),
        "Global": options.is_global,
    }
    # A template's values may be left unread; that they are set counts all the same.
    for key in used:
        if key != "Global" and any(section.has(spelling) for spelling in _spellings(key)):
            used[key] = True
    for key, others in _EXCLUSIVE:
        for other in others:
            if used[key] and used[other]:
                spelling = next(s for s in _spellings(other) if section.has(s))
                section.error_at_key(
                    spelling, f"{key} and {other} cannot be combined", hint="remove one of them"
                )
    for peer in options.machine_of:
        for key, patterns in (("Conflicts", options.conflicts), ("Replaces", options.replaces)):
            for pattern in patterns:
                if globs.matches(pattern, peer):
                    spelling = next(s for s in _spellings(key) if section.has(s))
                    section.error_at_key(
                        spelling,
                        f"{key}={pattern} matches {peer}, which MachineOf wants on the same machine",
                        hint="remove one of them",
                    )
