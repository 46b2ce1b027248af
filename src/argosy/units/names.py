"""Names of units: which are valid, what their parts mean, and systemd's escaping of arbitrary text into them.

The rules are systemd's (unit-name.c, systemd.unit(5)), with three of our own because names become file names, keys of
the store and words on command lines: no leading `-` or `.`, so `-.mount` and `-.slice` stay the machine's own business;
templates only of the types that can have them, as in fleet; and 255 bytes, systemd's limit since version 243.

`web@1.service` is prefix `web`, instance `1`, type `service`; `web@.service` is a template: its instance is empty.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from argosy.errors import Invalid
from argosy.model.ids import UnitName
from argosy.units.diagnostics import did_you_mean

MAX_BYTES = 255

TYPES = frozenset(
    {
        "automount",
        "device",
        "mount",
        "path",
        "scope",
        "service",
        "slice",
        "socket",
        "swap",
        "target",
        "timer",
    }
)
TEMPLATE_TYPES = frozenset({"path", "service", "socket", "target", "timer"})

CONTAINER_SUFFIX = ".container"
"""A file of Podman Quadlet's format; the unit that it describes is a service."""

_NOT_ALLOWED = re.compile(r"[^0-9A-Za-z:_.\\@-]")
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class NameParts:
    """A valid name, taken apart."""

    full: UnitName
    prefix: str
    """Before the first `@`; of a name without one, all before the type."""
    instance: str | None
    """Between the first `@` and the type; empty for a template, None where there is no `@`."""
    type: str
    """`service`, `timer` ..."""

    @property
    def is_template(self) -> bool:
        return self.instance == ""

    @property
    def is_instance(self) -> bool:
        return bool(self.instance)

    @property
    def template(self) -> UnitName | None:
        """The template that an instance is made from, `web@.service`; None for what is no instance."""
        return UnitName(f"{self.prefix}@.{self.type}") if self.instance else None

    @property
    def without_type(self) -> str:
        """Systemd's `%N`: `web@1`."""
        return self.full[: -len(self.type) - 1]

    def with_instance(self, instance: str) -> UnitName:
        """The name of the template's instance, `web@1.service`. The name must have an `@`. Raises Invalid."""
        assert self.instance is not None, f"{self.full} is no template"
        return validate(f"{self.prefix}@{instance}.{self.type}")


def validate(name: str) -> UnitName:
    """The name itself, known to be valid. Raises Invalid, which says what is wrong with it."""
    return parse(name).full


def is_valid(name: str) -> bool:
    return find_fault(name) is None


def parse(name: str) -> NameParts:
    """Take a name apart. Raises Invalid, which says what is wrong with it."""
    fault = find_fault(name)
    if fault is not None:
        message, hint = fault
        raise Invalid(f"{shown(name)} is not a unit name: {message}", hint=hint)
    stem, _, unit_type = name.rpartition(".")
    prefix, at, instance = stem.partition("@")
    return NameParts(UnitName(name), prefix, instance if at else None, unit_type)


def unit_of_file(file: str) -> UnitName:
    """The unit that a file of this name holds: its own name, `web.service` for `web.container`. Raises Invalid."""
    if file.endswith(CONTAINER_SUFFIX):
        return validate(file.removesuffix(CONTAINER_SUFFIX) + ".service")
    return validate(file)


def find_fault(name: str) -> tuple[str, str] | None:
    """What is wrong with a name, and what to do: None when it is valid."""
    if not name:
        return "it is empty", "names look like web.service"
    if len(name) > MAX_BYTES:
        return f"it has {len(name)} characters, at most {MAX_BYTES} are allowed", "shorten it"
    if bad := _NOT_ALLOWED.search(name):
        return (
            f"character {bad[0]!a} is not allowed",
            "letters, digits and :-_.\\@ are; `systemd-escape` turns any text into a name",
        )
    if name[0] in "-.":
        return f"it begins with '{name[0]}'", "begin with a letter or digit"
    if name[0] == "@":
        return "nothing stands before the '@'", "names look like web@1.service"
    stem, dot, unit_type = name.rpartition(".")
    if not dot:
        return "it has no type", f"did you mean '{name}.service'?"
    if unit_type not in TYPES:
        near = did_you_mean(unit_type, TYPES)
        return f"'{unit_type}' is no unit type", near or "types are " + ", ".join(sorted(TYPES))
    if "@" in stem and unit_type not in TEMPLATE_TYPES:
        return f"a {unit_type} unit can have no '@'", "templates are " + ", ".join(
            sorted(TEMPLATE_TYPES)
        )
    return None


def escape(text: str) -> str:
    r"""Arbitrary text as part of a unit name: what `systemd-escape TEXT` prints.

    `/` becomes `-`, a leading dot and every byte outside letters, digits and `:_.` become `\xHH`.
    """
    data = text.encode("utf-8", "surrogateescape")
    return "".join(_escape_byte(byte, is_first=index == 0) for index, byte in enumerate(data))


def escape_path(path: str) -> str:
    """A path as part of a unit name: what `systemd-escape --path PATH` prints. Raises Invalid for `..` in it."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Invalid(f"{shown(path)} has '..' in it and names no single path")
    return escape("/".join(parts)) if parts else "-"


def unescape(text: str) -> str:
    r"""The text that `escape` made this of. Bytes that are no UTF-8 come back as surrogate escapes.

    Raises Invalid for a `\` that is not followed by `x` and two lower-case hex digits.
    """
    plain = text.replace("-", "/")
    rest = _ESCAPED.sub("", plain)
    if "\\" in rest:
        raise Invalid(f"{shown(text)} is not an escaped text: '\\' must be followed by xHH")
    data = _ESCAPED.sub(lambda m: chr(int(m[1], 16)), plain)
    return data.encode("latin-1").decode("utf-8", "surrogateescape") if "\\" in plain else plain


def unescape_path(text: str) -> str:
    """The absolute path that `escape_path` made this of. Raises Invalid, as `unescape`."""
    return "/" if text == "-" else "/" + unescape(text)


def _escape_byte(byte: int, *, is_first: bool) -> str:
    char = chr(byte)
    if char == "/":
        return "-"
    if (char == "." and is_first) or not (byte < 128 and (char.isalnum() or char in ":_.")):
        return f"\\x{byte:02x}"
    return char


def shown(text: str) -> str:
    """The text in quotes, control characters escaped and cut to a length that fits a message."""
    shown = ascii(text[:60])
    return shown[:-1] + "..." + shown[-1] if len(text) > 60 else shown
