"""Destroying units: their records go, then the texts that nothing uses any more."""

from __future__ import annotations

from argosy.api import texts, writing
from argosy.api.schemas import DestroyRequest, Touched
from argosy.api.selection import resolve
from argosy.api.services import Api
from argosy.errors import StaleRevision
from argosy.model.event import Event

ATTEMPTS = 5
"""How often the request is carried out anew on what somebody else has just written."""


async def destroy(api: Api, request: DestroyRequest) -> Touched:
    """Destroy all units named, or none. Machines stop them when the engine has seen it.

    Raises NotFound, StaleRevision when others kept changing the same units.
    """
    for attempt in range(ATTEMPTS):
        picture = await api.feed.catch_up()
        names = resolve(picture, request.names)
        now = api.services.clock()
        writes = [
            writing.Write(
                name=name,
                seen_revision=picture.unit_revisions[name],
                unit=None,
                event=Event(at=now, kind="unit.destroyed", unit=name),
            )
            for name in names
        ]
        try:
            revision = await writing.commit(api, writes)
        except writing.PartlyWritten:
            raise
        except StaleRevision:
            if attempt + 1 == ATTEMPTS:
                raise
            continue
        await texts.tidy(api.services.store, api.feed)
        return Touched(revision=revision, units=tuple(names))
    raise AssertionError("the last attempt returns or raises")
