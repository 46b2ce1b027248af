"""`[X-Announce]`: how an instance is found by others while it is healthy."""

from __future__ import annotations

import re

from argosy.model.announce import AnnounceSpec
from argosy.units import names, values
from argosy.units.diagnostics import Problems
from argosy.units.names import NameParts
from argosy.units.sections import Section
from argosy.units.text import UnitText
from argosy.units.values import BadValue

TITLE = "X-Announce"

KEYS = frozenset({"Name", "Key", "Port", "TTL"})

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_KEY = re.compile(r"(/[A-Za-z0-9_.:@-]+)+")


def read(
    text: UnitText, name: NameParts, problems: Problems, *, has_port: bool
) -> AnnounceSpec | None:
    """Read the section; None without one. Faults go to `problems`.

    has_port: whether `[X-Service]` gives the unit a port.
    """
    section = Section(text, TITLE, name, keys=KEYS, problems=problems)
    if not section.is_present:
        return None
    if not has_port and not section.has("Port"):
        section.error_at_heading(
            "nothing says which port to announce", hint="add Port= to [X-Service] or here"
        )
    default = name.prefix.lower().replace("_", "-").replace(".", "-")
    if not section.has("Name") and not _LABEL.fullmatch(default):
        section.error_at_heading(
            f"{names.shown(name.prefix)} cannot be the name of a service in DNS", hint="add Name="
        )
    return AnnounceSpec(
        name=section.one("Name", _read_label, default),
        keys=section.each("Key", _read_keys),
        port=section.optional("Port", values.port),
        ttl=section.optional("TTL", values.positive_duration),
    )


def _read_label(value: str) -> str:
    if not _LABEL.fullmatch(value):
        raise BadValue(
            f"'{value}' is no DNS label",
            hint="lower-case letters, digits and '-' within, at most 63",
        )
    return value


def _read_keys(value: str) -> list[str]:
    if not _KEY.fullmatch(value) or "/../" in value + "/":
        raise BadValue(f"'{value}' is no key", hint="write /services/web/%i")
    return [value]
