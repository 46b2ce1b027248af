"""What the server tells Prometheus, on the API's own port, for whoever has a viewer's token."""

from __future__ import annotations

from argosy.api.routing import Route
from argosy.api.services import Api
from argosy.errors import NotFound


async def expose_metrics(api: Api) -> bytes:
    """Counts and states of this server and of the cluster as it knows it, in Prometheus' text format."""
    if api.services.metrics is None:
        raise NotFound("this server counts nothing: it is one of `argosy up`", hint="argosy status")
    return await api.services.metrics.exposed(api.feed.picture)


ROUTES = (
    Route(
        method="GET",
        path="/metrics",
        handler=expose_metrics,
        errors=(404,),
        media_type="text/plain; version=0.0.4; charset=utf-8",
    ),
)
