"""What systemd would refuse or ignore when it loads a unit, found before the unit is sent to any machine.

Errors are what makes systemd refuse a unit (`Bad unit file setting`); what it only ignores is a warning. The checks are of
what everybody gets wrong once, not all of systemd: `systemd-analyze verify` on a machine remains the last word.
"""

from __future__ import annotations

import re

from argosy.units import commands, directives, names, quoting
from argosy.units.diagnostics import Problems, did_you_mean, nearest_spelling
from argosy.units.names import NameParts
from argosy.units.quoting import Word
from argosy.units.text import Entry, UnitText
from argosy.units.values import BadValue

COMMANDS = (
    "ExecCondition",
    "ExecStartPre",
    "ExecStart",
    "ExecStartPost",
    "ExecReload",
    "ExecStop",
    "ExecStopPost",
)
"""The keys of [Service] that take command lines, in the order in which they are run."""

DEPENDENCIES = (
    "Requires",
    "Requisite",
    "Wants",
    "BindsTo",
    "PartOf",
    "Upholds",
    "Conflicts",
    "Before",
    "After",
    "OnFailure",
    "OnSuccess",
    "PropagatesReloadTo",
    "ReloadPropagatedFrom",
    "PropagatesStopTo",
    "StopPropagatedFrom",
    "JoinsNamespaceOf",
)
"""The keys of [Unit] that take unit names."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check(text: UnitText, name: NameParts, problems: Problems) -> None:
    """Report to `problems` what systemd would refuse or ignore of this text under this name."""
    if not text.headings:
        what = "the file has no section, so it describes no unit"
        problems.error(1, 1, what, hint="begin with [Unit]")
        return
    _check_sections(text, name, problems)
    _check_keys(text, problems)
    _check_dependencies(text, problems)
    if name.type == "service" and not text.has_section("Container"):
        _check_service(text, problems)
    elif name.type == "scope":
        problems.error(1, 1, "a scope cannot be made from a file", hint="write a .service")


def dependencies(text: UnitText, key: str) -> tuple[tuple[Entry, Word], ...]:
    """The unit names that a key of [Unit] lists, specifiers as written, each with the entry it stands in.

    Values that cannot be split are left out.
    """
    found: list[tuple[Entry, Word]] = []
    for entry in text.assigned("Unit", key):
        try:
            listed = quoting.words(entry.value, escapes=quoting.Escapes.VERBATIM)
        except BadValue:
            continue
        found.extend((entry, word) for word in listed)
    return tuple(found)


def _check_sections(text: UnitText, name: NameParts, problems: Problems) -> None:
    known = directives.sections_of(name.type)
    for heading in text.headings:
        # [Container] is Quadlet's, and has its own module.
        if heading.name in known or heading.name.startswith("X-") or heading.name == "Container":
            continue
        if heading.name in directives.SECTIONS:
            what = f"a {name.type} unit has no section [{heading.name}]; systemd would ignore it"
            problems.warning(heading.line, heading.column, what)
        else:
            what = f"unknown section [{heading.name}]; systemd would ignore it"
            hint = did_you_mean(heading.name, known)
            problems.warning(heading.line, heading.column, what, hint=hint)


def _check_keys(text: UnitText, problems: Problems) -> None:
    for entry in text.entries:
        keys = directives.SECTIONS.get(entry.section)
        if keys is None or entry.key in keys or entry.key.startswith("X-"):
            continue
        if entry.section == "Unit" and entry.key in directives.OBSOLETE:
            problems.warning(
                entry.line,
                entry.column,
                f"'{entry.key}' is an obsolete spelling, which Argosy does not read",
                hint=f"write {directives.OBSOLETE[entry.key]}=",
            )
            continue
        hint = did_you_mean(entry.key, keys, cutoff=0.75)
        if not hint:
            owners = [title for title, others in directives.SECTIONS.items() if entry.key in others]
            hint = f"it belongs in [{owners[0]}]" if owners else ""
        problems.warning(
            entry.line,
            entry.column,
            f"unknown key '{entry.key}' in [{entry.section}]; systemd would ignore it",
            hint=hint,
        )


def _check_dependencies(text: UnitText, problems: Problems) -> None:
    for key in DEPENDENCIES:
        for entry, (unit, start, _) in dependencies(text, key):
            # What specifiers make of a name is known for instances only; a machine's own units are anything goes.
            if "%" in unit or unit.startswith(("-.", "dev-")):
                continue
            fault = names.find_fault(unit)
            if fault is not None:
                problems.warning(
                    *entry.position(start),
                    f"{key}: '{unit}' is no unit name: {fault[0]}; systemd would ignore it",
                    hint=fault[1],
                )


def _check_service(text: UnitText, problems: Problems) -> None:
    starts: list[Entry] = []
    for key in COMMANDS:
        for entry in text.assigned("Service", key):
            try:
                found = commands.read(entry.value)
            except BadValue as bad:
                problems.error(*entry.position(bad.offset), f"{key}: {bad.message}", hint=bad.hint)
            else:
                starts += [entry] * len(found) if key == "ExecStart" else []
    for entry in text.assigned("Service", "Environment"):
        _check_environment(entry, problems)
    kind = text.last("Service", "Type") or ("dbus" if text.last("Service", "BusName") else "simple")
    heading = text.heading("Service")
    line, column = (heading.line, heading.column) if heading else (1, 1)
    if not text.assigned("Service", "ExecStart") and not text.last("Unit", "SuccessAction"):
        if not text.assigned("Service", "ExecStop"):
            problems.error(
                line, column, "the service runs nothing", hint="add ExecStart=/path/to/program"
            )
        elif kind != "oneshot" and text.last("Service", "RemainAfterExit") is None:
            problems.error(
                line, column, "the service has ExecStop= only", hint="add RemainAfterExit=yes"
            )
    if len(starts) > 1 and kind != "oneshot":
        problems.error(
            starts[1].line,
            starts[1].column,
            "a second command in ExecStart, which only Type=oneshot may have",
            hint="an empty ExecStart= takes back the first",
        )
    _check_type(text, problems)


_TYPES = ("simple", "exec", "forking", "oneshot", "dbus", "notify", "notify-reload", "idle")
_RESTARTS = (
    "no",
    "on-success",
    "on-failure",
    "on-abnormal",
    "on-watchdog",
    "on-abort",
    "always",
)


def _check_type(text: UnitText, problems: Problems) -> None:
    for key, words in (("Type", _TYPES), ("Restart", _RESTARTS)):
        for entry in text.assigned("Service", key):
            if entry.value not in words:
                near = nearest_spelling(entry.value, words)
                problems.warning(
                    *entry.position(),
                    f"{key}: '{entry.value}' is none of {', '.join(words)}; systemd would ignore it",
                    hint=f"did you mean '{near}'?" if near else "",
                )


def _check_environment(entry: Entry, problems: Problems) -> None:
    try:
        assignments = quoting.words(entry.value)
    except BadValue as bad:
        problems.error(*entry.position(bad.offset), f"Environment: {bad.message}", hint=bad.hint)
        return
    for word in assignments:
        variable, equals, _ = word.text.partition("=")
        if "%" not in variable and (not equals or not _VARIABLE.fullmatch(variable)):
            problems.warning(
                *entry.position(word.start),
                f"Environment: '{word.text}' is no NAME=value; systemd would ignore it",
                hint='quote a value with blanks: "NAME=two words"',
            )
