"""One request and its answer, on a connection of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import urlencode

from argosy.client.connecting import Connector
from argosy.client.problems import decode, no_answer
from argosy.client.streams import Stream
from argosy.endpoint import Endpoint

Query = list[tuple[str, str]]
T = TypeVar("T")


class Calls:
    """Requests to one server. Every method raises the server's own errors, ServerUnreachable, Indeterminate."""

    def __init__(self, connector: Connector) -> None:
        self.connector = connector

    @property
    def endpoint(self) -> Endpoint:
        return self.connector.endpoint

    def call(self, method: str, path: str, *, query: Query | None = None, body: Any = None) -> Any:
        """The decoded answer."""
        return decode(self.endpoint, *self.exchange(method, path, query or [], body))

    def exchange(
        self, method: str, path: str, query: Query, body: Any
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """The answer as it came, also one that is an error."""
        connection = self.connector.connect()
        with contextlib.closing(connection):
            response = self._send(connection, method, path, query, body)
            try:
                return response, response.read()
            except (OSError, http.client.HTTPException) as problem:
                raise no_answer(self.endpoint, method, problem) from problem

    def stream(
        self,
        path: str,
        query: Query,
        parse: Callable[[Iterator[bytes]], Iterator[T]],
        timeout_seconds: float | None,
        *,
        method: str = "GET",
        body: Any = None,
    ) -> Stream[T]:
        """An answer that goes on, parsed as it comes."""
        connection = self.connector.connect()
        # The connection forgets its socket once it knows that the answer is the last; the stream still needs it.
        sock: socket.socket = connection.sock
        try:
            response = self._send(connection, method, path, query, body)
            if response.status != http.HTTPStatus.OK:
                decode(self.endpoint, response, response.read())
        except BaseException:
            connection.close()
            raise
        return Stream(sock, response, parse, timeout_seconds)

    def send_again(self, connection: http.client.HTTPConnection, path: str, body: Any) -> None:
        """POST on a connection that stays open."""
        response = self._send(connection, "POST", path, [], body, is_last=False)
        try:
            answer = response.read()
        except (OSError, http.client.HTTPException) as problem:
            raise no_answer(self.endpoint, "POST", problem) from problem
        if response.status != http.HTTPStatus.NO_CONTENT:
            decode(self.endpoint, response, answer)

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        query: Query,
        body: Any,
        *,
        is_last: bool = True,
    ) -> http.client.HTTPResponse:
        target = path + ("?" + urlencode(query) if query else "")
        headers = {"Accept": "*/*"}
        if is_last:
            headers["Connection"] = "close"
        if self.endpoint.is_tls and self.connector.token:
            headers["Authorization"] = f"Bearer {self.connector.token}"
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        try:
            # A server that refuses a request while it is still being sent has answered all the same.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, target, data, headers)
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as problem:
            raise no_answer(self.endpoint, method, problem) from problem
