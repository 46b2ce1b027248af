"""A client of RabbitMQ in two screens: as much of AMQP 0-9-1 as one queue needs.

Frames, methods and their numbers are those of the specification (https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf).
"""

from __future__ import annotations

import socket
import struct

METHOD, HEADER, BODY, END = 1, 2, 3, b"\xce"
CONNECTION_START, CONNECTION_START_OK = (10, 10), (10, 11)
CONNECTION_TUNE, CONNECTION_TUNE_OK = (10, 30), (10, 31)
CONNECTION_OPEN, CONNECTION_OPEN_OK = (10, 40), (10, 41)
CHANNEL_OPEN, CHANNEL_OPEN_OK = (20, 10), (20, 11)
QUEUE_DECLARE, QUEUE_DECLARE_OK = (50, 10), (50, 11)
BASIC_PUBLISH, BASIC_GET, BASIC_GET_OK, BASIC_GET_EMPTY, BASIC_ACK = (
    (60, 40),
    (60, 70),
    (60, 71),
    (60, 72),
    (60, 80),
)
CONFIRM_SELECT, CONFIRM_SELECT_OK = (85, 10), (85, 11)


class AmqpError(Exception):
    """The broker said something else than expected."""


def short(text: str) -> bytes:
    data = text.encode()
    return bytes([len(data)]) + data


def long(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


class Queue:
    """One durable queue over one connection; not for several threads at once."""

    def __init__(self, name: str, port: int = 15673) -> None:
        self._name = name
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._stream = self._socket.makefile("rb")
        self._socket.sendall(b"AMQP\x00\x00\x09\x01")
        self._expect(CONNECTION_START)
        login = long(b"") + short("PLAIN") + long(b"\0guest\0guest") + short("en_US")
        self._send(0, CONNECTION_START_OK, login)
        tune = self._expect(CONNECTION_TUNE)
        # Channels and frame size as the broker offers, and no heartbeats: a broken connection is noticed on use.
        self._send(0, CONNECTION_TUNE_OK, tune[:6] + b"\0\0")
        self._send(0, CONNECTION_OPEN, short("/") + b"\0\0")
        self._expect(CONNECTION_OPEN_OK)
        self._send(1, CHANNEL_OPEN, b"\0")
        self._expect(CHANNEL_OPEN_OK)
        self._send(1, CONFIRM_SELECT, b"\0")
        self._expect(CONFIRM_SELECT_OK)
        durable = b"\x02"
        self._send(1, QUEUE_DECLARE, b"\0\0" + short(name) + durable + long(b""))
        self._expect(QUEUE_DECLARE_OK)

    def __enter__(self) -> Queue:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._socket.close()

    def publish(self, message: bytes) -> None:
        """Put a message into the queue; returns when the broker has it on disk."""
        self._send(1, BASIC_PUBLISH, b"\0\0" + short("") + short(self._name) + b"\0")
        persistent = struct.pack(">HHQHB", 60, 0, len(message), 1 << 12, 2)
        self._frame(HEADER, 1, persistent)
        self._frame(BODY, 1, message)
        self._expect(BASIC_ACK)

    def get(self) -> tuple[int, bytes] | None:
        """The next message with its tag, or None. It comes again after a crash until `done(tag)`."""
        self._send(1, BASIC_GET, b"\0\0" + short(self._name) + b"\0")
        method, arguments = self._method()
        if method == BASIC_GET_EMPTY:
            return None
        if method != BASIC_GET_OK:
            raise AmqpError(f"expected a message, got method {method}")
        (tag,) = struct.unpack(">Q", arguments[:8])
        _, header = self._read_frame()
        (size,) = struct.unpack(">Q", header[4:12])
        body = b""
        while len(body) < size:
            body += self._read_frame()[1]
        return tag, body

    def done(self, tag: int) -> None:
        self._send(1, BASIC_ACK, struct.pack(">Q", tag) + b"\0")

    def _send(self, channel: int, method: tuple[int, int], arguments: bytes) -> None:
        self._frame(METHOD, channel, struct.pack(">HH", *method) + arguments)

    def _frame(self, kind: int, channel: int, payload: bytes) -> None:
        self._socket.sendall(struct.pack(">BHI", kind, channel, len(payload)) + payload + END)

    def _expect(self, wanted: tuple[int, int]) -> bytes:
        method, arguments = self._method()
        if method != wanted:
            raise AmqpError(f"expected method {wanted}, got {method}: {arguments!r}")
        return arguments

    def _method(self) -> tuple[tuple[int, int], bytes]:
        kind, payload = self._read_frame()
        if kind != METHOD:
            raise AmqpError(f"expected a method, got a frame of type {kind}")
        group, number = struct.unpack(">HH", payload[:4])
        return (group, number), payload[4:]

    def _read_frame(self) -> tuple[int, bytes]:
        start = self._stream.read(7)
        if len(start) < 7:
            raise ConnectionError("the broker closed the connection")
        kind, _, size = struct.unpack(">BHI", start)
        payload = self._stream.read(size)
        if self._stream.read(1) != END:
            raise AmqpError("a frame does not end where it should")
        return kind, payload
