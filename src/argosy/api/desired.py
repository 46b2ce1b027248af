"""Changing what is wanted of units: load, start, stop, restart, unload are all this.

"Start" and "restart" stay declarative: they raise the unit's generation, and an agent that last acted on a lower one
starts the unit anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from argosy.api import writing
from argosy.api.picture import Picture
from argosy.api.schemas import ChangeRequest, Touched
from argosy.api.selection import resolve
from argosy.api.services import Api
from argosy.errors import Invalid, StaleRevision
from argosy.model.event import Event
from argosy.model.ids import UnitName
from argosy.model.observed import ActiveState
from argosy.model.unit import DesiredState, Unit
from argosy.units import names as unit_names

ATTEMPTS = 5
"""How often a change is made anew on what somebody else has just written."""

_RUNNING = (ActiveState.ACTIVE, ActiveState.ACTIVATING, ActiveState.RELOADING)


async def change(api: Api, request: ChangeRequest) -> Touched:
    """Change all units named, or none.

    A restart passes over units that are not wanted launched: they are not in the answer.
    Raises Invalid, NotFound, StaleRevision when others kept changing the same units.
    """
    _check(request)
    for attempt in range(ATTEMPTS):
        picture = await api.feed.catch_up()
        found = resolve(picture, request.names)
        _refuse_templates(found, request)
        touched = [name for name in found if not request.restart or _is_launched(picture, name)]
        writes = list(_writes(api, picture, touched, request))
        if not writes:
            return Touched(revision=picture.revision, units=tuple(touched))
        try:
            revision = await writing.commit(api, writes)
        except writing.PartlyWritten:
            raise
        except StaleRevision:
            if attempt + 1 == ATTEMPTS:
                raise
            continue
        return Touched(revision=revision, units=tuple(touched))
    raise AssertionError("the last attempt returns or raises")


def _check(request: ChangeRequest) -> None:
    asked = [request.desired is not None, request.start, request.restart]
    if sum(asked) != 1:
        raise Invalid("say exactly one of desired, start and restart")


def _refuse_templates(names: Sequence[UnitName], request: ChangeRequest) -> None:
    """A template is no unit to run (fleet's rule): only its instances are."""
    if request.desired is DesiredState.INACTIVE:
        return
    problems = tuple(
        f"{name} is a template: start an instance of it, such as {name.replace('@.', '@1.')}"
        for name in names
        if unit_names.parse(name).is_template
    )
    if problems:
        raise Invalid("templates cannot be loaded or started", problems=problems)


def _is_launched(picture: Picture, name: UnitName) -> bool:
    return picture.units[name].desired is DesiredState.LAUNCHED


def _writes(
    api: Api, picture: Picture, names: Sequence[UnitName], request: ChangeRequest
) -> Iterator[writing.Write]:
    at = api.services.clock()
    for name in names:
        before = picture.units[name]
        after = _changed(before, request, is_running=_is_running(picture, name))
        if after == before:
            continue
        event = Event(at=at, kind="unit.desired", unit=name, message=_in_words(before, after))
        yield writing.Write(
            name=name,
            seen_revision=picture.unit_revisions[name],
            unit=after,
            event=event,
            beyond=picture.beyond.get(name),
        )


def _changed(unit: Unit, request: ChangeRequest, *, is_running: bool) -> Unit:
    if request.restart:
        return msgspec.structs.replace(unit, generation=unit.generation + 1)
    if request.start:
        generation = unit.generation if is_running else unit.generation + 1
        return msgspec.structs.replace(unit, desired=DesiredState.LAUNCHED, generation=generation)
    assert request.desired is not None
    return msgspec.structs.replace(unit, desired=request.desired)


def _is_running(picture: Picture, name: UnitName) -> bool:
    """Whether a start has nothing to do: it runs, or is about to, wherever it is placed; or is placed nowhere yet, and
    starts when it is.
    """
    statuses = picture.statuses.get(name, {})
    placed = [statuses.get(machine) for machine in picture.placements.get(name, ())]
    return all(status is None or status.active in _RUNNING for status in placed)


def _in_words(before: Unit, after: Unit) -> str:
    if after.desired is not before.desired:
        return f"{after.desired}, was {before.desired}"
    return f"start anew (generation {after.generation})"
