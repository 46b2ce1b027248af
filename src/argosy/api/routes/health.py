"""How the server is, for `argosy doctor`: what can be told only by asking now."""

from __future__ import annotations

import time

from argosy import __version__
from argosy.api.health_schemas import Health, Inspected, ServerView, StoreHealth
from argosy.api.routing import Route
from argosy.api.services import Api
from argosy.store import keys

_NOTHING = Inspected(store="", certificates={}, members=(), disks=())


async def look(api: Api) -> Health:
    """This server's clock, certificates, store and disks, and which servers are there. Asks every member of an etcd."""
    picture = await api.feed.catch_up()
    inspect = api.services.inspect
    found = await inspect() if inspect else _NOTHING
    began = time.monotonic()
    await api.services.store.range(keys.CLUSTER)
    read_seconds = time.monotonic() - began
    return Health(
        at=api.services.clock(),
        version=__version__,
        certificates=found.certificates,
        servers=tuple(
            ServerView(name=one.name, endpoints=one.endpoints, version=one.version, since=one.since)
            for _, one in sorted(picture.servers.items())
        ),
        store=StoreHealth(kind=found.store, read_seconds=read_seconds, members=found.members),
        disks=found.disks,
    )


ROUTES = (Route(method="GET", path="/v1/health", handler=look),)
