"""Answers that go on: sent as they come, ended when the client goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractContextManager, aclosing, contextmanager
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

SIGN_OF_LIFE_SECONDS = 15.0
"""How long a stream is silent at most: clients take longer silence for a broken connection."""


class Stream(Response):
    """Sends each chunk of the generator at once, and closes the generator when the client goes away.

    first: a chunk that goes before the generator's others; with it at hand, a handler can begin a generator and still
    answer with an error if that fails.
    """

    def __init__(self, chunks: AsyncGenerator[bytes, None], *, first: bytes = b"") -> None:
        super().__init__(headers={"cache-control": "no-store"})
        del self.headers["content-length"]
        self._chunks = chunks
        self._first = first
        self._has_begun = False
        self._opened: Callable[[], AbstractContextManager[asyncio.Event]] = _for_anybody

    def is_for(self, opened: Callable[[], AbstractContextManager[asyncio.Event]]) -> None:
        """Let it end when the event is set that is given while it is sent: whoever it is for is not known any more."""
        self._opened = opened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._chunks):
            with self._opened() as ended:
                await self._send_until(ended, receive, send)

    async def _send_until(self, ended: asyncio.Event, receive: Receive, send: Send) -> None:
        tasks = {
            asyncio.create_task(self._send_all(send), name="send a stream"),
            asyncio.create_task(_until_gone(receive), name="wait for a client to go"),
            asyncio.create_task(_until_ended(ended), name="wait for somebody to be turned out"),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()
        if ended.is_set() and self._has_begun:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_all(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status_code}
        self._has_begun = True
        await send({**start, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self._first, "more_body": True})
        async for chunk in self._chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class ServerSentEvents(Stream):
    """`text/event-stream` (HTML standard, 9.2)."""

    media_type = "text/event-stream"


class JsonLines(Stream):
    """`application/x-ndjson`: one JSON object a line; an empty line is a sign of life."""

    media_type = "application/x-ndjson"


async def in_time(
    chunks: AsyncGenerator[bytes, None], closing: asyncio.Event
) -> AsyncGenerator[bytes, None]:
    """The chunks; an empty line when none came for as long as a stream may be silent; the end when the server stops."""
    ending = asyncio.create_task(closing.wait(), name="wait for the server to stop")
    coming: asyncio.Future[bytes | None] | None = None
    try:
        while True:
            if coming is None:
                coming = asyncio.ensure_future(anext(chunks, None))
            waiting: set[asyncio.Future[Any]] = {ending, coming}
            await asyncio.wait(
                waiting,
                timeout=SIGN_OF_LIFE_SECONDS,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if coming.done():
                chunk = coming.result()
                if chunk is None:
                    return
                coming = None
                yield chunk
            elif ending.done():
                return
            else:
                yield b"\n"
    finally:
        tasks = [task for task in (ending, coming) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await chunks.aclose()


@contextmanager
def _for_anybody() -> Iterator[asyncio.Event]:
    yield asyncio.Event()


async def _until_ended(ended: asyncio.Event) -> None:
    await ended.wait()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
