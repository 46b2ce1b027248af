"""`[X-Service]`: how many instances of a template the cluster keeps, and on which ports they listen."""

from __future__ import annotations

from argosy.model.service import PortMode, ServiceSpec
from argosy.units import quoting, values
from argosy.units.diagnostics import Problems
from argosy.units.names import NameParts
from argosy.units.sections import Section
from argosy.units.text import UnitText
from argosy.units.values import BadValue

TITLE = "X-Service"

KEYS = frozenset({"Replicas", "Port"})

MAX_REPLICAS = 10_000


def read(
    text: UnitText, name: NameParts, problems: Problems, *, is_global: bool
) -> ServiceSpec | None:
    """Read the section; None without one. Faults go to `problems`.

    is_global: whether the unit has Global=yes, so that the machines decide how many there are.
    """
    section = Section(text, TITLE, name, keys=KEYS, problems=problems)
    if not section.is_present:
        return None
    if section.has("Replicas") and name.instance is None:
        section.error_at_key(
            "Replicas",
            "only a template has instances",
            hint=f"rename the file to {name.prefix}@.{name.type}",
        )
    if section.has("Replicas") and is_global:
        section.error_at_key(
            "Replicas",
            "a unit with Global=yes runs once on every machine",
            hint="remove one of them",
        )
    mode, ports = section.optional("Port", _read_ports) or (PortMode.NONE, ())
    return ServiceSpec(
        replicas=section.optional("Replicas", values.integer(at_least=0, at_most=MAX_REPLICAS)),
        port_mode=mode,
        ports=ports,
    )


def _read_ports(value: str) -> tuple[PortMode, tuple[int, ...]]:
    found = quoting.words(value)
    if [word.text for word in found] == ["auto"]:
        return PortMode.AUTO, ()
    ports: list[int] = []
    for word in found:
        try:
            ports.append(values.port(word.text))
        except BadValue as bad:
            raise BadValue(
                bad.message,
                offset=word.start,
                hint="write a port, `auto`, or a blue and a green port",
            ) from bad
    if len(ports) > 2:
        raise BadValue(
            "at most two ports: a blue and a green one",
            offset=found[2].start,
            hint="remove the rest",
        )
    if len(set(ports)) < len(ports):
        raise BadValue("the blue and the green port must differ", offset=found[1].start)
    return (PortMode.COLOURS if len(ports) == 2 else PortMode.FIXED), tuple(ports)
