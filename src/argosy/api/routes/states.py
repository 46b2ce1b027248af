"""Observed states: what machines report about units."""

from __future__ import annotations

from argosy.api import views
from argosy.api.routing import Route
from argosy.api.schemas import States, StatesQuery
from argosy.api.selection import Selection
from argosy.api.services import Api
from argosy.model.ids import MachineId


async def list_states(api: Api, query: StatesQuery) -> States:
    """One row per unit and machine that has it, in order of name, then machine."""
    picture = await api.feed.catch_up()
    only = None if query.machine is None else MachineId(query.machine)
    selection = Selection(query.name)
    names = [name for name in sorted(picture.statuses) if selection.includes(name)]
    return States(revision=picture.revision, states=tuple(views.states(picture, names, only)))


ROUTES = (Route(method="GET", path="/v1/states", handler=list_states),)
