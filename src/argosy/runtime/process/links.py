"""The runtime's ends of its processes: the spawner, and a connection to each supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import argosy
from argosy.errors import RuntimeRefused
from argosy.runtime.process.layout import Layout, socket_of

_SOURCE = Path(argosy.__file__).parent.parent


class SupervisorLink(asyncio.Protocol):
    """One supervisor. on_status: called with each status; on_lost: once, when nothing more will come."""

    def __init__(
        self,
        on_status: Callable[[dict[str, Any]], None],
        on_lost: Callable[[SupervisorLink], None],
    ) -> None:
        self._on_status = on_status
        self._on_lost = on_lost
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self.is_lost = False

    def send(self, message: dict[str, Any]) -> None:
        """Tell it something; a supervisor that is gone hears nothing, and `on_lost` says so."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(json.dumps(message).encode() + b"\n")

    def close(self) -> None:
        """Let go without `on_lost`."""
        self._on_lost = lambda _: None
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Asyncio's."""
        *lines, self._received = (self._received + data).split(b"\n")
        if lines:
            self._on_status(json.loads(lines[-1])["status"])  # each is absolute

    def connection_lost(self, exc: Exception | None) -> None:
        """Asyncio's."""
        self._transport = None
        self.is_lost = True
        self._on_lost(self)


async def connect(
    layout: Layout, name: str, make: Callable[[], SupervisorLink]
) -> SupervisorLink | None:
    """The living supervisor of a unit; None when there is none."""
    directory = os.open(layout.run, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        # A blocking connect would be no slower: on a unix socket it waits only for a full backlog.
        connection.connect(f"/proc/self/fd/{directory}/{socket_of(name)}")
    except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
        connection.close()
        return None
    finally:
        os.close(directory)
    loop = asyncio.get_running_loop()
    _, link = await loop.create_connection(make, sock=connection)
    return link


class Spawner:
    """The process that forks supervisors. Started when it is first needed, and anew when somebody killed it."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._lock = asyncio.Lock()

    def start(self) -> None:
        """Start it, if it does not run. Raises RuntimeRefused when no process can be started."""
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [
            # No site packages: they would be most of what it imports. No current directory in the path, ever.
            *(sys.executable, "-S", "-P", "-m", "argosy.runtime.process.spawner"),
            str(theirs.fileno()),
        ]
        # What goes wrong in there is not for the terminal: supervisors would keep it open long after us.
        log = os.open(
            self._layout.run / "spawner.log",
            os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC,
            0o600,
        )
        try:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, "PYTHONPATH": str(_SOURCE)},
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        except OSError as problem:
            ours.close()
            raise RuntimeRefused(f"no process can be started: {problem.strerror}") from problem
        finally:
            os.close(log)
            theirs.close()
        ours.setblocking(False)
        self._channel = ours

    def close(self) -> None:
        """End it. Supervisors live on."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is not None:
            self._process.wait()
            self._process = None

    async def spawn(
        self, launch: dict[str, Any], make: Callable[[], SupervisorLink]
    ) -> SupervisorLink:
        """A new supervisor for what the launch says (see supervisor.main)."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                await self._pass(theirs)
            ours.setblocking(False)
            _, link = await asyncio.get_running_loop().create_connection(make, sock=ours)
        except BaseException:
            ours.close()
            raise
        link.send(launch)
        return link

    async def _pass(self, connection: socket.socket) -> None:
        async with self._lock:
            for is_last in (False, True):
                self.start()
                assert self._channel is not None
                try:
                    await _send_descriptor(self._channel, connection.fileno())
                    return
                except OSError as problem:
                    if is_last:
                        raise RuntimeRefused(
                            f"no supervisor can be started: {problem}"
                        ) from problem
                    self.close()


async def _send_descriptor(channel: socket.socket, descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    while True:
        try:
            socket.send_fds(channel, [b"+"], [descriptor])
            return
        except BlockingIOError:
            pass
        room: asyncio.Future[None] = loop.create_future()
        loop.add_writer(channel, lambda room=room: room.done() or room.set_result(None))  # type: ignore[misc]
        try:
            await room
        finally:
            with contextlib.suppress(ValueError, OSError):
                loop.remove_writer(channel)
