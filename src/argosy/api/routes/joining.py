"""Joining: the only routes that strangers have business with."""

from __future__ import annotations

from argosy.api import joining
from argosy.api.access import Access
from argosy.api.access_schemas import (
    CaView,
    Joined,
    JoinRequest,
    JoinServerRequest,
    ServerJoined,
)
from argosy.api.routing import Route
from argosy.api.services import Api
from argosy.errors import StoreUnavailable

MAX_JOIN_BYTES = 256 * 1024


async def ca(api: Api) -> CaView:
    """The certificate of the cluster's authority. Believe it only if a token vouches for it."""
    authority = joining.authority_of(api)
    cluster = api.feed.picture.cluster
    if cluster is None:
        raise StoreUnavailable("this server has not read its store yet", hint="try again")
    return CaView(certificate=authority.certificate.decode(), cluster=cluster.id)


async def join(api: Api, body: JoinRequest) -> Joined:
    """Let a machine join the cluster, with a machine token."""
    return await joining.join_machine(api, body)


async def join_server(api: Api, body: JoinServerRequest) -> ServerJoined:
    """Let a server join the cluster, with a server token: it gets the authority's key."""
    return await joining.join_server(api, body)


ROUTES = (
    Route(method="GET", path="/v1/ca", handler=ca, access=Access.ANYONE, errors=(501,)),
    Route(
        method="POST",
        path="/v1/join",
        handler=join,
        access=Access.ANYONE,
        errors=(401, 409, 501),
        max_body_bytes=MAX_JOIN_BYTES,
    ),
    Route(
        method="POST",
        path="/v1/join-server",
        handler=join_server,
        access=Access.ANYONE,
        errors=(401, 409, 501),
        max_body_bytes=MAX_JOIN_BYTES,
    ),
)
