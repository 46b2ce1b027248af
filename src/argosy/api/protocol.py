"""HTTP/1.1 as uvicorn speaks it with h11, with bounds on how long a client may take.

A request, head and body, must have arrived within `REQUEST_SECONDS` of its first byte (of the connection's beginning,
for its first request). A client that does not read is given up after `STALLED_SECONDS`: its connection is cut, because
a polite close would wait for the same client to read what is buffered.
"""

from __future__ import annotations

import asyncio
import http
import resource
from typing import Any

import h11
import msgspec
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from argosy.api import problems
from argosy.api.access import STRANGER, Peer, peer_of
from argosy.api.heartbeats import ANSWER, Heartbeats
from argosy.errors import ArgosyError, StoreUnavailable

REQUEST_SECONDS = 20.0
STALLED_SECONDS = 30.0
MAX_HEAD_BYTES = 128 * 1024
OTHER_FILES = 500
"""Open files that are no connections: the store's, and pipes of units where they run in this process."""
FEWEST_CONNECTIONS = 100
STRANGERS_SHARE = 0.5
"""Part of the connections up to which one over TLS is taken that shows no certificate of a machine."""


class BoundedProtocol(H11Protocol):
    """One connection."""

    request_seconds = REQUEST_SECONDS
    stalled_seconds = STALLED_SECONDS
    max_connections: int | None = None
    """None: as many as open files allow."""

    def __init__(self, config: Config, state: ServerState, heartbeats: Heartbeats) -> None:
        super().__init__(config, state, {})
        self._heartbeats = heartbeats
        self._peer = STRANGER
        self._request_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._peer = peer_of(transport)
        self.app = _with_peer(self.app, self._peer)
        most = self.max_connections or connections_possible()
        if self._peer == STRANGER:
            # The rest is for machines: who knows nobody must not be able to keep them out.
            most = int(most * STRANGERS_SHARE)
        if len(self.connections) > most:
            self._refuse(StoreUnavailable("too many connections", hint="close some; try again"))
        else:
            self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._request_timer, self._stall_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_between_requests() and self._heartbeats.may_acknowledge(self._peer, data):
            self.transport.write(ANSWER)
            self._cease_to_expect_request()
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
            return
        self._expect_request()
        super().data_received(data)
        # IDLE with bytes at hand is half a head, SEND_BODY half a body; in all other states the request is here.
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._cease_to_expect_request()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall_timer = self.loop.call_later(self.stalled_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
        super().resume_writing()

    def shutdown(self) -> None:
        """Begin a graceful end. A request that has not arrived whole is not waited for."""
        if self.conn.their_state is h11.SEND_BODY:
            self._refuse(StoreUnavailable("the server stops"))
        elif not self.transport.is_closing():
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        self._refuse(problems.Refused(400, msg))

    def _is_between_requests(self) -> bool:
        """Whether nothing of a request is here, and nothing of an answer is to come."""
        return (
            self.conn.their_state is h11.IDLE
            and self.conn.our_state is h11.IDLE
            and not self.conn.trailing_data[0]
            and not self.transport.is_closing()
        )

    def _expect_request(self) -> None:
        if self._request_timer is None:
            self._request_timer = self.loop.call_later(self.request_seconds, self._refuse_slow)

    def _cease_to_expect_request(self) -> None:
        if self._request_timer is not None:
            self._request_timer.cancel()
            self._request_timer = None

    def _refuse_slow(self) -> None:
        if self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]:
            self.transport.close()  # it asked for nothing
        else:
            self._refuse(problems.Refused(408, "the request did not arrive in time"))

    def _refuse(self, problem: ArgosyError) -> None:
        """Answer for the application, if no answer has begun, and close."""
        if self.transport.is_closing():
            return
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            code = problems.code_of(problem)
            body = msgspec.json.encode(problems.body_of(problem))
            headers = [
                ("content-type", "application/json"),
                ("content-length", str(len(body))),
                ("connection", "close"),
            ]
            reason = http.HTTPStatus(code).phrase.encode()
            for event in (
                h11.Response(status_code=code, headers=headers, reason=reason),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


def connections_possible() -> int:
    """How many there may be: each is an open file, of which a process has 1024 unless its unit says otherwise."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        soft = 1_000_000
    return max(soft - OTHER_FILES, FEWEST_CONNECTIONS)


def _with_peer(app: Any, peer: Peer) -> Any:
    """The application (ASGI), told with each request who is at the other end of the connection."""

    async def told(scope: Any, receive: Any, send: Any) -> None:
        scope["extensions"] = {"argosy": {"peer": peer}}
        await app(scope, receive, send)

    return told
