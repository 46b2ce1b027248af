"""A service's shape: how many instances, on which port. What `[X-Service]` says."""

from __future__ import annotations

import enum

import msgspec


class PortMode(enum.StrEnum):
    """Where an instance's port comes from."""

    NONE = "none"
    """It has none that Argosy knows of."""
    FIXED = "fixed"
    """`Port=8080`: the same on every machine, so one instance a machine."""
    COLOURS = "colours"
    """`Port=8001 8002`: the first for blue and for instances without colour, the second for green."""
    AUTO = "auto"
    """`Port=auto`: chosen free on the machine."""


BLUE = "blue"
GREEN = "green"


class ServiceSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the cluster keeps running of a template, or which port a single unit has."""

    replicas: int | None = None
    """How many instances the cluster keeps; None for a unit that is no service's template, and where none is said."""
    port_mode: PortMode = PortMode.NONE
    ports: tuple[int, ...] = ()
    """One when FIXED, two when COLOURS, else none."""

    def port(self, instance: str | None) -> int | None:
        """The port of an instance, None where it has none or one that only its machine knows."""
        if not self.ports:
            return None
        return self.ports[1] if len(self.ports) > 1 and colour(instance) == GREEN else self.ports[0]


def colour(instance: str | None) -> str | None:
    """`blue` or `green` of an instance `blue-1` or `green-1`; None for one without colour."""
    prefix, dash, _ = (instance or "").partition("-")
    return prefix if dash and prefix in (BLUE, GREEN) else None
