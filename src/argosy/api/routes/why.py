"""Why a unit is where it is, or nowhere."""

from __future__ import annotations

from argosy.api import history, views
from argosy.api.routing import Route
from argosy.api.schemas import Why
from argosy.api.services import Api
from argosy.errors import NotFound
from argosy.model.ids import UnitName

EVENTS = 20


async def why(api: Api, name: str) -> Why:
    """Everything that is known about a unit's place: reasons, refusals, states and the last events."""
    unit = UnitName(name)
    events = await history.read(api.services.store, lambda event: event.unit == name, limit=EVENTS)
    picture = await api.feed.catch_up()
    if unit not in picture.units:
        raise NotFound(f"there is no unit {name}", hint="argosy list-unit-files")
    pending = picture.pending.get(unit)
    return Why(
        unit=views.unit(picture, unit),
        placements=tuple(views.placements(picture, unit)),
        explanation=views.explanation(pending) if pending else None,
        statuses=tuple(views.states(picture, [unit], None)),
        events=events,
    )


ROUTES = (Route(method="GET", path="/v1/why/{name}", handler=why, errors=(404,)),)
