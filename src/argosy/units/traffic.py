"""`[X-Traffic]`: which balancer sends a service its traffic."""

from __future__ import annotations

import re
from datetime import timedelta

from argosy.model.traffic import Protocol, TrafficSpec
from argosy.units import quoting, values
from argosy.units.diagnostics import Problems
from argosy.units.names import NameParts
from argosy.units.sections import Section
from argosy.units.text import UnitText
from argosy.units.values import BadValue

TITLE = "X-Traffic"

KEYS = frozenset({"Balancer", "Listen", "Protocol", "Host", "Path", "Drain"})

_BALANCER = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_HOST = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")


def read(
    text: UnitText, name: NameParts, problems: Problems, *, has_port: bool
) -> TrafficSpec | None:
    """Read the section; None without one, or when Balancer= or Listen= is missing. Faults go to `problems`.

    has_port: whether `[X-Service]` gives the unit a port.
    """
    section = Section(text, TITLE, name, keys=KEYS, problems=problems)
    if not section.is_present:
        return None
    if not has_port:
        section.error_at_heading(
            "nothing says which port takes the traffic", hint="add Port= to [X-Service]"
        )
    for key, example in (("Balancer", "edge"), ("Listen", "80")):
        if not section.has(key):
            section.error_at_heading(f"{key}= is missing", hint=f"add {key}={example}")
    protocol = section.one("Protocol", values.one_of(Protocol), Protocol.HTTP)
    for key in ("Host", "Path") if protocol is Protocol.TCP else ():
        if section.has(key):
            section.error_at_key(
                key, f"{key} has no effect with Protocol=tcp", hint=f"remove {key}="
            )
    balancer = section.optional("Balancer", _read_balancer)
    listen = section.optional("Listen", values.port)
    hosts = section.each("Host", _read_hosts)
    path = section.one("Path", _read_path, "/")
    drain = section.one("Drain", values.finite_duration, timedelta(seconds=30))
    if balancer is None or listen is None:
        return None
    return TrafficSpec(
        balancer=balancer, listen=listen, protocol=protocol, hosts=hosts, path=path, drain=drain
    )


def _read_balancer(value: str) -> str:
    if not _BALANCER.fullmatch(value):
        raise BadValue(f"'{value}' is no name of a balancer", hint="write a name such as edge")
    return value


def _read_hosts(value: str) -> list[str]:
    found = quoting.words(value)
    for word in found:
        if len(word.text) > 253 or not _HOST.fullmatch(word.text):
            raise BadValue(
                f"'{word.text}' is no host name", offset=word.start, hint="write shop.example.com"
            )
    return [word.text for word in found]


def _read_path(value: str) -> str:
    if not re.fullmatch(r"/[A-Za-z0-9_.~/-]*", value):
        raise BadValue(f"'{value}' is no beginning of a path", hint="write /shop/")
    return value
