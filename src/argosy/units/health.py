"""`[X-Health]`: how a machine tells whether an instance is healthy."""

from __future__ import annotations

import re
from datetime import timedelta

from argosy.model.health import HealthSpec, Probe
from argosy.units import commands, quoting, values
from argosy.units.diagnostics import Problems
from argosy.units.names import NameParts
from argosy.units.sections import Section
from argosy.units.text import UnitText
from argosy.units.values import BadValue

TITLE = "X-Health"

KEYS = frozenset(
    {
        "HTTP",
        "TCP",
        "Command",
        "Port",
        "Host",
        "Status",
        "Interval",
        "Timeout",
        "Rise",
        "Fall",
        "Deadline",
    }
)

_PROBES = {"HTTP": Probe.HTTP, "TCP": Probe.TCP, "Command": Probe.COMMAND}
_MEANT_FOR_HTTP = ("Host", "Status")
_HOST = re.compile(r"[A-Za-z0-9_.-]{1,253}(:[0-9]{1,5})?")


def read(
    text: UnitText, name: NameParts, problems: Problems, *, service_port: int | None
) -> HealthSpec | None:
    """Read the section; None without one, or when it says not what to try. Faults go to `problems`.

    service_port: what `[X-Service] Port=` gives the unit, None where that is absent or only its machine knows.
    """
    section = Section(text, TITLE, name, keys=KEYS, problems=problems)
    if not section.is_present:
        return None
    tried = [key for key in _PROBES if section.has(key)]
    if not tried:
        section.error_at_heading(
            "nothing says what to check", hint="add HTTP=/healthz, TCP=yes or Command="
        )
        return None
    if len(tried) > 1:
        section.error_at_key(
            tried[-1], f"{' and '.join(tried)} exclude each other", hint="keep one of them"
        )
    probe = _PROBES[tried[0]]
    for key in _MEANT_FOR_HTTP if probe is not Probe.HTTP else ():
        if section.has(key):
            section.error_at_key(key, f"{key} has no effect without HTTP=", hint=f"remove {key}=")
    if probe is Probe.COMMAND and section.has("Port"):
        section.error_at_key("Port", "Port has no effect with Command=", hint="remove Port=")
    if probe is Probe.TCP and not section.one("TCP", values.boolean, True):
        section.error_at_key("TCP", "TCP=no checks nothing", hint="remove the section")
    interval = section.optional("Interval", values.positive_duration)
    timeout = section.one("Timeout", values.positive_duration, timedelta(seconds=2))
    if interval is not None and section.has("Timeout") and timeout > interval:
        section.error_at_key("Timeout", "Timeout is longer than Interval", hint="shorten it")
    count = values.integer(at_least=1, at_most=1000)
    return HealthSpec(
        probe=probe,
        path=section.one("HTTP", _read_path, ""),
        host=section.one("Host", _read_host, ""),
        status=section.each("Status", _read_status) or ((200, 399),),
        command=_command(section),
        port=None if probe is Probe.COMMAND else _port(section, text, service_port),
        interval=interval,
        timeout=timeout if interval is None else min(timeout, interval),
        rise=section.one("Rise", count, 2),
        fall=section.one("Fall", count, 3),
        deadline=section.one("Deadline", values.positive_duration, timedelta(minutes=5)),
    )


def _port(section: Section, text: UnitText, service_port: int | None) -> int | None:
    """The first that is known: Port= here, the service's port, PORT in Environment=."""
    if section.has("Port"):
        return section.optional("Port", values.port)
    if service_port is not None:
        return service_port
    for entry in reversed(text.assigned("Service", "Environment")):
        try:
            for assignment in reversed(quoting.split(entry.value)):
                variable, _, value = assignment.partition("=")
                if variable == "PORT":
                    return values.port(section.expand(value))
        except BadValue:
            return None
    return None


def _command(section: Section) -> str:
    """The command line as written: its specifiers are expanded word by word, on the machine."""
    entries = section.entries("Command")
    if not entries:
        return ""
    try:
        found = commands.read(entries[-1].value)
        if len(found) != 1:
            raise BadValue("must be one command", hint="use /bin/sh -c for more")
    except BadValue as bad:
        section.error(entries[-1], bad.message, offset=bad.offset, hint=bad.hint)
    return entries[-1].value


def _read_path(value: str) -> str:
    if not re.fullmatch(r"/[!-~]*", value):
        hint = f"write /{value}" if re.fullmatch(r"[!-~]+", value) else "write HTTP=/healthz"
        raise BadValue(f"'{value}' is no path of a URL", hint=hint)
    return value


def _read_host(value: str) -> str:
    if not _HOST.fullmatch(value):
        raise BadValue(f"'{value}' is no host name")
    return value


def _read_status(value: str) -> list[tuple[int, int]]:
    found = []
    for word in quoting.words(value):
        match = re.fullmatch(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?", word.text)
        if match is None or (match[2] and match[2] < match[1]):
            raise BadValue(
                f"'{word.text}' is no HTTP status",
                offset=word.start,
                hint="write 200 204 or 200-399",
            )
        found.append((int(match[1]), int(match[2] or match[1])))
    return found
