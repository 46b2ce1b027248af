"""The service's side of sd_notify(3): a datagram socket with credentials, and what its messages say.

The socket's name is abstract: a service of any user in the same network namespace reaches it, and no path can be too
long. Nobody is believed for knowing the name: the kernel tells who sent each message.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from typing import NamedTuple

_CREDENTIALS = struct.Struct("iII")
_MAX_DESCRIPTORS = 253
"""SCM_MAX_FD of the kernel."""


class Message(NamedTuple):
    """One notification and the process that the kernel says sent it."""

    pid: int
    fields: dict[str, str]


class NotifySocket:
    """Open from the first start of a service to its supervisor's end."""

    def __init__(self, token: str) -> None:
        self.name = f"@argosy/notify/{token}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind("\0" + self.name[1:])

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> tuple[list[Message], list[int]]:
        """All messages that wait, and the descriptors that came along, for the caller to close when the messages have
        been acted on: a closed one is the answer to sd_notify_barrier(3).
        """
        messages: list[Message] = []
        descriptors: list[int] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                messages += self._receive_one(descriptors)
        return messages, descriptors

    def _receive_one(self, descriptors: list[int]) -> list[Message]:
        room = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(4 * _MAX_DESCRIPTORS)
        data, ancillary, flags, _ = self._socket.recvmsg(65536, room, socket.MSG_CMSG_CLOEXEC)
        pid = 0
        for level, kind, content in ancillary:
            if level != socket.SOL_SOCKET:
                continue
            if kind == socket.SCM_CREDENTIALS:
                pid = _CREDENTIALS.unpack(content[: _CREDENTIALS.size])[0]
            elif kind == socket.SCM_RIGHTS:
                descriptors += [
                    fd for (fd,) in struct.iter_unpack("i", content[: len(content) // 4 * 4])
                ]
        if flags & socket.MSG_TRUNC or not pid:
            return []
        return [Message(pid, parse(data))]


def parse(data: bytes) -> dict[str, str]:
    r"""`READY=1\nSTATUS=...` into its fields; of a field given twice the last counts."""
    lines = data.decode("utf-8", "replace").split("\n")
    return dict(line.split("=", 1) for line in lines if "=" in line)


def close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
