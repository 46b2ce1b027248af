"""Specifiers: `%i`, `%n` and the others that systemd replaces in values.

Those that follow from the unit's name are resolved here. Those that need a machine (`%H`, `%m`, `%t` ...) come from a
mapping that the machine's runtime gives; where a decision is made no machine is known, and using one is an error. As in
systemd's specifier_printf(), a `%` before anything else stays as it is. Source: systemd.unit(5), "Specifiers".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from argosy.errors import Invalid
from argosy.units import names
from argosy.units.names import NameParts
from argosy.units.values import BadValue


def _filename(name: NameParts) -> str:
    return names.unescape_path(name.instance or name.prefix)


_FROM_NAME: dict[str, Callable[[NameParts], str]] = {
    "n": lambda name: name.full,
    "N": lambda name: name.without_type,
    "p": lambda name: name.prefix,
    "P": lambda name: names.unescape(name.prefix),
    "i": lambda name: name.instance or "",
    "I": lambda name: names.unescape(name.instance or ""),
    "j": lambda name: name.prefix.rpartition("-")[2],
    "J": lambda name: names.unescape(name.prefix.rpartition("-")[2]),
    "f": _filename,
}

MACHINE = {
    "a": "architecture",
    "A": "version of the machine's image",
    "b": "boot id",
    "B": "build id of the system",
    "C": "cache directory",
    "d": "credentials directory",
    "D": "shared data directory",
    "E": "configuration directory",
    "g": "group of the service manager",
    "G": "group id of the service manager",
    "h": "home directory",
    "H": "host name",
    "l": "short host name",
    "L": "log directory",
    "m": "machine id",
    "M": "id of the machine's image",
    "o": "id of the system",
    "q": "pretty host name",
    "s": "shell",
    "S": "state directory",
    "t": "runtime directory",
    "T": "directory of temporary files",
    "u": "user of the service manager",
    "U": "user id of the service manager",
    "v": "kernel release",
    "V": "directory of larger temporary files",
    "w": "version id of the system",
    "W": "variant id of the system",
    "y": "path of the unit file",
    "Y": "directory of the unit file",
}
"""Specifiers that only a machine can resolve, and what they are."""

_SPECIFIER = re.compile(r"%([A-Za-z%])")
_FLEET = re.compile(r"%([nNpi])")


def expand(text: str, name: NameParts, *, machine: Mapping[str, str] | None = None) -> str:
    """The text with its specifiers replaced; `%%` becomes `%`.

    machine: values for letters of MACHINE. Raises BadValue for one that is used and not given, and for an unescaping
    one (`%I`, `%P`, `%J`, `%f`) where the name is not properly escaped.
    """
    if "%" not in text:
        return text

    def replace(match: re.Match[str]) -> str:
        letter = match[1]
        if letter == "%":
            return "%"
        if letter in _FROM_NAME:
            try:
                return _FROM_NAME[letter](name)
            except Invalid as error:
                raise BadValue(f"%{letter}: {error}", offset=match.start()) from error
        if letter not in MACHINE:
            return match[0]
        if machine is None or letter not in machine:
            raise BadValue(
                f"%{letter} ({MACHINE[letter]}) is known on the machine only",
                offset=match.start(),
                hint="use %i, %n, %N or %p here, or write %% for a percent sign",
            )
        return machine[letter]

    return _SPECIFIER.sub(replace, text)


def expand_as_fleet(text: str, name: NameParts) -> str:
    """The text with fleet's specifiers replaced: %n, %N, %p and %i, nothing else, and no `%%`."""
    return _FLEET.sub(lambda match: _FROM_NAME[match[1]](name), text) if "%" in text else text


def depends_on_instance(text: str) -> bool:
    """Whether the expanded text is different for each instance of a template, so that the template's own is moot."""
    return any(letter in "inNIf" for letter in re.findall(r"%([A-Za-z%])", text))
