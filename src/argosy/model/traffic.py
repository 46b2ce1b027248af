"""Which balancer sends a service its traffic. What `[X-Traffic]` says."""

from __future__ import annotations

import enum
from datetime import timedelta

import msgspec


class Protocol(enum.StrEnum):
    HTTP = "http"
    TCP = "tcp"


class TrafficSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One service behind one balancer."""

    balancer: str
    """Name of the balancer in the cluster's settings."""
    listen: int
    """Port on which the balancer takes the service's traffic."""
    protocol: Protocol = Protocol.HTTP
    hosts: tuple[str, ...] = ()
    """Host names that are this service's; none means all that no other service claims."""
    path: str = "/"
    """Beginning of the paths that are this service's."""
    drain: timedelta = timedelta(seconds=30)
    """How long requests under way may take when an instance leaves."""
