"""Events: what was decided and what happened."""

from __future__ import annotations

from argosy.api import history
from argosy.api.routing import Route
from argosy.api.schemas import Events, EventsQuery
from argosy.api.selection import Selection
from argosy.api.services import Api
from argosy.model.event import Event


async def list_events(api: Api, query: EventsQuery) -> Events:
    """The newest events, oldest first; or with `after` the first ones behind that."""
    selection = Selection(() if query.unit is None else (query.unit,))

    def wanted(event: Event) -> bool:
        return (
            (query.unit is None or (bool(event.unit) and selection.includes(event.unit)))
            and (query.machine is None or event.machine == query.machine)
            and (query.kind is None or event.kind == query.kind)
        )

    found = await history.read(api.services.store, wanted, limit=query.limit, after=query.after)
    return Events(events=found)


ROUTES = (Route(method="GET", path="/v1/events", handler=list_events),)
