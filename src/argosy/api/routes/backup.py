"""The cluster's records as a file, for `argosy restore`."""

from __future__ import annotations

from argosy.api.access import Access
from argosy.api.routing import Route
from argosy.api.services import Api
from argosy.store.backup import backup_bytes


async def backup(api: Api) -> bytes:
    """All records of the cluster at one revision, as lines of JSON with digests.

    Neither the key of the cluster's authority nor what machines report anew by themselves is in it.
    """
    return await backup_bytes(api.services.store)


ROUTES = (Route(method="GET", path="/v1/backup", handler=backup, access=Access.ADMIN),)
