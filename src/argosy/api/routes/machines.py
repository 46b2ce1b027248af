"""Machines, as their agents registered them."""

from __future__ import annotations

from argosy.api import views
from argosy.api.routing import Route
from argosy.api.schemas import Machines
from argosy.api.services import Api


async def list_machines(api: Api) -> Machines:
    """Every machine that ever registered, in order of id, whether it is there or not."""
    picture = await api.feed.catch_up()
    return Machines(
        revision=picture.revision,
        machines=tuple(views.machine(picture, machine) for machine in sorted(picture.machines)),
    )


ROUTES = (Route(method="GET", path="/v1/machines", handler=list_machines),)
