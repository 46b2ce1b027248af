"""How an instance is found by others. What `[X-Announce]` says."""

from __future__ import annotations

from datetime import timedelta

import msgspec


class AnnounceSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The entry in discovery that a healthy instance gets."""

    name: str
    """Under which it is found: a DNS label."""
    keys: tuple[str, ...] = ()
    """Further keys under which apps that read etcd themselves find `host:port`; absolute paths."""
    port: int | None = None
    """None: the service's port."""
    ttl: timedelta | None = None
    """How long the entry outlives its machine; None: three times the interval of the health check."""
