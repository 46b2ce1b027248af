"""Answers that go on: lines of JSON, and the server-sent events of a watch."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Generic, Self, TypeVar

from argosy import errors
from argosy.client.problems import error_of, reason
from argosy.client.shapes import LogLine, WatchItem

SILENCE_SECONDS = 50.0
"""How long a stream may say nothing before it counts as broken: three of the server's signs of life, one each 15 s."""

T = TypeVar("T", covariant=True)


class Stream(Generic[T]):
    """Items as the server sends them, until it or `close` ends the stream. Close it, or use it as a context.

    Iterating raises ServerUnreachable when the connection breaks or stays silent, and ends quietly after the
    `timeout_seconds` that were asked for.
    """

    def __init__(
        self,
        sock: socket.socket,
        response: http.client.HTTPResponse,
        parse: Callable[[Iterator[bytes]], Iterator[T]],
        timeout_seconds: float | None,
    ) -> None:
        self._socket = sock
        self._response = response
        self._deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        self._closed = False
        self._reading = threading.Lock()
        """Held while bytes are waited for: http.client does not bear to have its file closed under its hands."""
        self._items = parse(self._lines())

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        return next(self._items)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the stream; also from another thread, whose iteration then ends."""
        self._closed = True
        # Wakes a thread that waits in recv; close alone would leave it there.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with self._reading:
            self._response.close()
            self._socket.close()

    def _lines(self) -> Iterator[bytes]:
        rest = b""
        while True:
            try:
                data = self._read()
            except (OSError, ValueError, http.client.HTTPException) as problem:
                if self._closed or self._is_over():
                    return
                raise errors.ServerUnreachable(
                    f"the server's stream broke off: {reason(problem)}", hint="try again"
                ) from problem
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            yield from lines

    def _read(self) -> bytes:
        wait = SILENCE_SECONDS
        if self._deadline is not None:
            wait = min(wait, max(self._deadline - time.monotonic(), 0.001))
        with self._reading:
            if self._closed:
                return b""
            self._socket.settimeout(wait)
            return self._response.read1(65536)

    def _is_over(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline


def told_lines(lines: Iterator[bytes]) -> Iterator[Any]:
    """Lines of JSON; one that has a problem is raised."""
    for line in lines:
        if not line:
            continue
        item = json.loads(line)
        if problem := item.get("problem"):
            raise error_of(0, problem)
        yield item


def json_lines(lines: Iterator[bytes]) -> Iterator[LogLine]:
    return (json.loads(line) for line in lines if line)


def server_sent_events(lines: Iterator[bytes]) -> Iterator[WatchItem]:
    """Source: the HTML standard, 9.2.6; of it what our server sends: one `data` line, `id`, `event`, comments."""
    fields: dict[bytes, bytes] = {}
    for line in lines:
        name, _, value = line.partition(b": ")
        if name:
            fields[name] = value
            continue
        if b"data" in fields:
            data = json.loads(fields[b"data"])
            kind = fields[b"event"].decode()
            if kind == "end":
                raise errors.ServerUnreachable(
                    f"the server ended the stream: {data['reason']}", hint="try again"
                )
            yield WatchItem(kind, int(fields.get(b"id", b"0")), data)
        fields = {}
