"""How a machine tells whether an instance is healthy. What `[X-Health]` says."""

from __future__ import annotations

import enum
from datetime import timedelta

import msgspec


class Probe(enum.StrEnum):
    """What is tried."""

    HTTP = "http"
    """A GET request is answered with one of the expected codes."""
    TCP = "tcp"
    """A connection is accepted."""
    COMMAND = "command"
    """A command exits with 0."""


class HealthSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One check of an instance, run by the agent of its machine."""

    probe: Probe
    path: str = ""
    """Of the HTTP request, beginning with `/`."""
    host: str = ""
    """The request's Host header; empty for the address that is asked."""
    status: tuple[tuple[int, int], ...] = ((200, 399),)
    """Ranges of codes that count as healthy, both ends included."""
    command: str = ""
    """The command line, as in ExecStart=; specifiers as written."""
    port: int | None = None
    """Of HTTP and TCP; None where only the machine knows it (Port=auto, or PORT in an environment file)."""
    interval: timedelta | None = None
    """None: every 2 s during a rollout, every 10 s otherwise."""
    timeout: timedelta = timedelta(seconds=2)
    rise: int = 2
    """Consecutive successes after which an instance counts as healthy."""
    fall: int = 3
    """Consecutive failures after which it counts as unhealthy."""
    deadline: timedelta = timedelta(minutes=5)
    """How long an instance may take from its start until it is healthy."""
