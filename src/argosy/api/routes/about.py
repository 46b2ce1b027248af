"""The server about itself."""

from __future__ import annotations

from argosy import __version__
from argosy.api.access import Access
from argosy.api.routing import Route
from argosy.api.schemas import EngineView, Status, Stopping, StopRequest, StoreView, Version
from argosy.api.services import Api
from argosy.errors import StoreUnavailable, Unsupported

API_VERSION = 1


async def version(api: Api) -> Version:
    """Which program answers, for which cluster, at which revision."""
    picture = await api.feed.catch_up()
    if picture.cluster is None:
        raise StoreUnavailable("the store belongs to no cluster yet", hint="try again")
    return Version(
        version=__version__,
        cluster=picture.cluster.id,
        epoch=picture.cluster.epoch,
        revision=picture.revision,
        api=API_VERSION,
    )


async def status(api: Api) -> Status:
    """How this server and its store are."""
    picture = await api.feed.catch_up()
    store = await api.services.store.status()
    engine = api.services.engine() if api.services.engine else None
    return Status(
        leader=picture.leader,
        engine=EngineView(name=engine.name, is_leading=engine.is_leading, sentence=engine.sentence)
        if engine
        else None,
        store=StoreView(
            revision=store.revision,
            compacted_revision=store.compacted_revision,
            keys=store.keys,
            bytes_used=store.bytes_used,
        ),
        machines=len(picture.machines),
        units=len(picture.units),
    )


async def stop_cluster(api: Api, body: StopRequest) -> Stopping:
    """Stop everything and exit; only a server of `argosy up` does that."""
    if api.services.on_stop is None:
        raise Unsupported(
            "this server is not one of `argosy up`",
            hint="stop it where it was started",
        )
    api.services.on_stop()
    return Stopping(message="stopping")


ROUTES = (
    Route(method="GET", path="/v1/version", handler=version, access=Access.ANYONE),
    Route(method="GET", path="/v1/status", handler=status),
    Route(
        method="POST",
        path="/v1/stop-cluster",
        handler=stop_cluster,
        status=202,
        errors=(501,),
        access=Access.ADMIN,
    ),
)
