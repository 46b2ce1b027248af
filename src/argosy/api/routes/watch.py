"""Changes as they happen, as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import msgspec

from argosy.api.routing import Route
from argosy.api.schemas import End, Ready, WatchQuery
from argosy.api.selection import Selection
from argosy.api.services import Api
from argosy.api.streams import SIGN_OF_LIFE_SECONDS, ServerSentEvents
from argosy.api.views import Message


async def watch(api: Api, query: WatchQuery) -> ServerSentEvents:
    """Changes of units, states, machines, and events, as they happen.

    First `ready` with the revision after which nothing is missed, then what changed after `since`, as it is now, then
    each change with its revision as id. The last event, `end`, says why the server ends the stream. A comment every
    15 s shows that it lives.
    """
    chunks = _chunks(api, query)
    return ServerSentEvents(chunks, first=await anext(chunks))


async def _chunks(api: Api, query: WatchQuery) -> AsyncGenerator[bytes, None]:
    async with api.feed.subscribe(Selection(query.name), since=query.since) as (
        revision,
        replay,
        later,
    ):
        nothing_missed_after = revision if query.since is None else query.since
        ready = msgspec.json.encode(Ready(revision=nothing_missed_after))
        yield _encode([Message("ready", "", nothing_missed_after, ready), *replay])
        while True:
            messages = await later.take(SIGN_OF_LIFE_SECONDS)
            if messages:
                revision = messages[-1].revision
                yield _encode(messages)
            elif later.ended is None:
                yield b":\n\n"
            else:
                end = msgspec.json.encode(End(reason=later.ended))
                yield _encode([Message("end", "", revision, end)])
                return


def _encode(messages: list[Message]) -> bytes:
    return b"".join(
        b"event: %b\nid: %d\ndata: %b\n\n" % (one.kind.encode(), one.revision, one.data)
        for one in messages
    )


ROUTES = (Route(method="GET", path="/v1/watch", handler=watch, errors=(409,)),)
