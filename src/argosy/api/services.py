"""What the API is given by whoever runs it, and what every route is given.

The API finds no singleton and reads no setting by itself.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from argosy.api.access import Principal, Streams
from argosy.api.agents import Agents
from argosy.api.buckets import Bucket
from argosy.api.feed import Feed
from argosy.api.health_schemas import Inspected
from argosy.api.journal import Journal
from argosy.api.picture import Picture
from argosy.api.questions import Questions
from argosy.api.sessions import Sessions
from argosy.errors import Unsupported
from argosy.pki.authority import Authority
from argosy.store import base


class EngineReport(Protocol):
    """What an engine says of itself: the shape of `engine.EngineStatus`."""

    @property
    def name(self) -> str: ...
    @property
    def is_leading(self) -> bool: ...
    @property
    def sentence(self) -> str: ...


class Metrics(Protocol):
    """Counts what happens here, and tells it to Prometheus."""

    def request(self, method: str, route: str, code: int, seconds: float) -> None:
        """A request was answered, or its answer has begun. route: with its parameters' names, `/v1/units/{name}`."""
        ...

    async def exposed(self, picture: Picture) -> bytes:
        """All of it in Prometheus' text format."""
        ...


class Unhonoured(Protocol):
    """An assignment of a unit file that has no effect where the unit would run."""

    @property
    def section(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def value(self) -> str: ...
    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


FindUnhonoured = Callable[[bytes], Sequence[Unhonoured]]


def all_honoured(text: bytes) -> Sequence[Unhonoured]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The parts of a server that the API speaks to."""

    store: base.Store
    clock: Callable[[], datetime]
    """Wall-clock time, aware, for records that people read."""
    writer: str = "api"
    """Short name of this server, part of the keys of its events."""
    questions: Questions = field(default_factory=Questions)
    """What people ask machines through this server, and who is there to be asked."""
    find_unhonoured: FindUnhonoured = all_honoured
    """What of a text the machines' runtime would pass over: said as warnings, so that nobody relies on it."""
    engine: Callable[[], EngineReport] | None = None
    on_stop: Callable[[], None] | None = None
    """Asks the owner of the process to stop the cluster and exit; None where nobody may ask that."""
    sessions: Sessions | None = None
    """Of the machines that speak to this server over the network; None where there are none."""
    authority: Authority | None = None
    """Signs the certificates of machines that join; None where none can."""
    metrics: Metrics | None = None
    """None where nothing is counted."""
    inspect: Callable[[], Awaitable[Inspected]] | None = None
    """Looks at what this server stands on; None where whoever runs it has nothing to tell."""
    store_for_servers: Mapping[str, Any] | None = None
    """Where the cluster's store is, for a server that joins, without secrets; None where no other server can reach it."""


@dataclass(frozen=True, slots=True)
class Api:
    """What every route works with."""

    services: Services
    feed: Feed
    journal: Journal
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the server stops: streams end."""
    streams: Streams = field(default_factory=Streams)
    agents: Agents | None = None
    """None where no machine speaks to this server over the network."""
    doubts: Bucket = field(default_factory=lambda: Bucket(per_second=20, burst=100))
    """How often the store is asked about tokens that nobody has heard of."""
    principal: Principal | None = None
    """Who makes the request at hand; None where nobody has to be known, or there is no request."""

    @property
    def by(self) -> str:
        """Whom records and events name as who did it."""
        return self.principal.name if self.principal else "api"

    @property
    def sessions(self) -> Sessions:
        """Raises Unsupported where no machine speaks to this server over the network."""
        if self.services.sessions is None:
            raise Unsupported("this server is one of `argosy up`: it has no other machines")
        return self.services.sessions

    def on_behalf_of(self, principal: Principal | None) -> Api:
        return dataclasses.replace(self, principal=principal)
