"""Units: what people want to run."""

from __future__ import annotations

from bisect import bisect_right

from argosy.api import desired, destroy, submit, texts, views
from argosy.api.routing import Route
from argosy.api.schemas import (
    ChangeRequest,
    DestroyRequest,
    SubmitRequest,
    Submitted,
    Touched,
    UnitDetail,
    UnitsPage,
    UnitsQuery,
)
from argosy.api.selection import Selection
from argosy.api.services import Api
from argosy.errors import NotFound
from argosy.model.ids import UnitName

MAX_SUBMIT_BYTES = 64 * 1024 * 1024


async def list_units(api: Api, query: UnitsQuery) -> UnitsPage:
    """Units in order of name, all of them or those that match a glob and belong to the app."""
    picture = await api.feed.catch_up()
    selection = Selection(query.name)
    names = picture.sorted_units()
    start = 0 if query.after is None else bisect_right(names, query.after.partition(":")[2])
    page: list[UnitName] = []
    after = None
    for name in names[start:]:
        if not selection.includes(name):
            continue
        if query.app is not None and picture.units[name].app != query.app:
            continue
        if len(page) == query.limit:
            after = f"{picture.revision}:{page[-1]}"
            break
        page.append(name)
    return UnitsPage(
        revision=picture.revision,
        units=tuple(views.unit(picture, name) for name in page),
        after=after,
    )


async def get_unit(api: Api, name: str) -> UnitDetail:
    """One unit with its text."""
    picture = await api.feed.catch_up()
    unit = picture.units.get(UnitName(name))
    if unit is None:
        raise NotFound(f"there is no unit {name}", hint="argosy list-unit-files")
    text = await texts.read(api.services.store, unit.digest)
    # The picture may have moved on while the text was read; the record that the text belongs to is what counts.
    if picture.units.get(unit.name) != unit:
        return await get_unit(api, name)
    return views.unit_detail(picture, unit.name, text)


async def submit_units(api: Api, body: SubmitRequest) -> Submitted:
    """Create and change units, all of them or none."""
    return await submit.submit(api, body)


async def change_units(api: Api, body: ChangeRequest) -> Touched:
    """Change what is wanted of units, all of those named or none."""
    return await desired.change(api, body)


async def destroy_units(api: Api, body: DestroyRequest) -> Touched:
    """Take units out of the cluster, all of those named or none."""
    return await destroy.destroy(api, body)


ROUTES = (
    Route(method="GET", path="/v1/units", handler=list_units),
    Route(method="GET", path="/v1/units/{name}", handler=get_unit, errors=(404,)),
    Route(
        method="POST",
        path="/v1/units",
        handler=submit_units,
        errors=(409, 507),
        max_body_bytes=MAX_SUBMIT_BYTES,
    ),
    Route(method="PATCH", path="/v1/units", handler=change_units, errors=(404, 409, 507)),
    Route(method="DELETE", path="/v1/units", handler=destroy_units, errors=(404, 409)),
)
