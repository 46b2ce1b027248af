"""A client of redis in one screen: the RESP2 protocol (https://redis.io/docs/reference/protocol-spec/)."""

from __future__ import annotations

import socket
from typing import Union

Reply = Union[None, int, bytes, "list[Reply]"]


class RedisError(Exception):
    """The server refused a command."""


class Redis:
    """One connection; not for several threads at once."""

    def __init__(self, port: int = 16379) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self._stream = self._socket.makefile("rb")

    def __enter__(self) -> Redis:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._socket.close()

    def call(self, *words: object) -> Reply:
        """Send one command and return its reply. Raises RedisError, OSError."""
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            data = str(word).encode()
            parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
        self._socket.sendall(b"".join(parts))
        return self._reply()

    def _reply(self) -> Reply:
        line = self._stream.readline()
        if not line:
            raise ConnectionError("redis closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RedisError(rest.decode())
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if kind == b"*":
            return [self._reply() for _ in range(int(rest))]
        length = int(rest)
        return None if length < 0 else self._stream.read(length + 2)[:-2]
