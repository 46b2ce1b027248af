"""Changes as they happen, as server-sent events (HTML standard, 9.2)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

import msgspec

from argosy.api.feed import Subscription
from argosy.api.routing import Route
from argosy.api.schemas import End, Ready, WatchQuery
from argosy.api.services import Api
from argosy.api.streams import SIGN_OF_LIFE_SECONDS, ServerSentEvents
from argosy.api.views import Message


async def watch(api: Api, query: WatchQuery) -> ServerSentEvents:
    """Changes of units, states, machines, and events.

    First what changed since `since`, as it is now, then `ready`, then each change with its revision as id. The last
    event, `end`, says why the server ends the stream. A comment every 15 s shows that it lives.
    """
    async with AsyncExitStack() as stack:
        revision, replay, subscription = await stack.enter_async_context(
            api.feed.subscribe(query.name, since=query.since)
        )
        # From here on the stream owns the subscription; before, an error was an answer of its own.
        return ServerSentEvents(_chunks(stack.pop_all(), revision, replay, subscription))
    raise AssertionError("unreachable")


async def _chunks(
    stack: AsyncExitStack, revision: int, replay: list[Message], subscription: Subscription
) -> AsyncGenerator[bytes, None]:
    async with stack:
        ready = Message("ready", "", revision, msgspec.json.encode(Ready(revision=revision)))
        yield _encode([*replay, ready])
        while True:
            messages = await subscription.take(SIGN_OF_LIFE_SECONDS)
            if messages:
                revision = messages[-1].revision
                yield _encode(messages)
            elif subscription.ended is None:
                yield b":\n\n"
            else:
                end = msgspec.json.encode(End(reason=subscription.ended))
                yield _encode([Message("end", "", revision, end)])
                return


def _encode(messages: list[Message]) -> bytes:
    return b"".join(
        b"event: %b\nid: %d\ndata: %b\n\n" % (one.kind.encode(), one.revision, one.data)
        for one in messages
    )


ROUTES = (Route(method="GET", path="/v1/watch", handler=watch, errors=(409,)),)
