"""Checking unit files without submitting them."""

from __future__ import annotations

from argosy.api import candidates
from argosy.api.access import Access
from argosy.api.routes.units import MAX_SUBMIT_BYTES
from argosy.api.routing import Route
from argosy.api.schemas import Diagnostics, VerifyRequest
from argosy.api.services import Api


async def verify(api: Api, body: VerifyRequest) -> Diagnostics:
    """All that is wrong with the units, each alone, together and with those of the cluster. Always 200."""
    picture = await api.feed.catch_up()
    return await candidates.verify(
        body,
        known=picture.units.keys(),
        find_unhonoured=api.services.find_unhonoured,
    )


ROUTES = (
    Route(
        method="POST",
        path="/v1/verify",
        handler=verify,
        max_body_bytes=MAX_SUBMIT_BYTES,
        access=Access.VIEWER,
    ),
)
