"""A command that runs on a machine, seen from here: its output as it comes, its input, its end."""

from __future__ import annotations

import base64
import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple, Self

from argosy.client.calls import Calls
from argosy.client.streams import Stream
from argosy.errors import NotFound


class Output(NamedTuple):
    """What a command wrote, or how it ended: then `exit_code` is not None."""

    out: bytes = b""
    err: bytes = b""
    exit_code: int | None = None
    signal: str = ""


class Execution:
    """A command that runs on a machine. Iterate over its output; close it, or use it as a context, to end the command.

    Input is sent on a connection that stays open, since each key that is pressed is a request.
    """

    def __init__(self, calls: Calls, path: str, lines: Stream[dict[str, Any]]) -> None:
        """path: of the machine's commands, `/v1/machines/ID/exec`."""
        self._calls = calls
        self._lines = lines
        self._connection: http.client.HTTPConnection | None = None
        self._is_closed = False
        self._sending = threading.Lock()
        """Held while input is sent: http.client does not bear to have its connection closed under its hands."""
        try:
            self._path = f"{path}/{next(lines)['id']}/input"
        except BaseException:
            lines.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Output]:
        """Raises what the machine says is wrong, and ServerUnreachable when the stream breaks."""
        for line in self._lines:
            yield Output(
                base64.b64decode(line.get("out", "")),
                base64.b64decode(line.get("err", "")),
                line.get("exit_code"),
                line.get("signal", ""),
            )

    def send(self, data: bytes = b"", *, is_end: bool = False) -> None:
        """Send input; waits while the command does not read. Raises NotFound when it has ended. One thread at a time."""
        self._send({"data": base64.b64encode(data).decode(), "end": is_end})

    def resize(self, rows: int, columns: int) -> None:
        self._send({"rows": rows, "columns": columns})

    def close(self) -> None:
        """End the command if it still runs; also from another thread."""
        self._is_closed = True
        self._lines.close()
        if (connection := self._connection) is not None:
            # Wakes a thread that waits for the answer.
            with suppress(OSError, AttributeError):  # the connection may have let go of its socket
                connection.sock.shutdown(socket.SHUT_RDWR)
            with self._sending:
                connection.close()

    def _send(self, body: Any) -> None:
        with self._sending:
            if self._is_closed:
                raise NotFound("the command has ended")
            if self._connection is None:
                self._connection = self._calls.connector.connect()
                self._connection.sock.settimeout(None)  # a command may take its time to read
            self._calls.send_again(self._connection, self._path, body)
