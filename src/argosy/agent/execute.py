"""Runs a command that somebody asked for through a server, and lets go of nothing that it started when nobody listens.

The command is an argument list, never a line for a shell. It runs as the agent's user in a session of its own, in that
user's home, with a small clean environment: what the agent got from systemd is not for it. Its output is read in pieces
and no faster than it is taken, so a command that prints without end waits in write(2).

When the asker goes away, the command's process group gets SIGHUP and SIGTERM, and SIGKILL after `END_SECONDS`. A command
that ends by itself may leave a daemon behind, as over ssh.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pwd
import signal
import struct
import termios
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from argosy.errors import Invalid, NotFound, RuntimeRefused, Temporary
from argosy.model.question import Exec, Input, Part

CHUNK_BYTES = 64 * 1024
END_SECONDS = 5.0
LAST_WORDS_SECONDS = 0.5
"""How long output is waited for after the command has ended, when something that it started keeps its output open."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

Inputs = AbstractAsyncContextManager[AsyncIterator[Input]]


async def run(command: Exec, inputs: Inputs) -> AsyncGenerator[Part, None]:
    """Run it: parts of its output, and as the last one how it ended. Closing the generator ends the command.

    Raises Invalid, NotFound or RuntimeRefused when it cannot be started.
    """
    if not command.argv or any("\0" in word for word in command.argv):
        raise Invalid("a command is a program and its arguments, without NUL bytes")
    start = _start_on_terminal if command.has_terminal else _start_on_pipes
    try:
        running = await start(command)
    except FileNotFoundError:
        raise NotFound(
            f"there is no program {command.argv[0]!r} on the machine",
            hint="give its path; what a shell knows runs in one: sh -c '...'",
        ) from None
    except OSError as problem:
        raise RuntimeRefused(f"{command.argv[0]} cannot be run: {problem.strerror}") from problem
    try:
        async for part in running.parts(inputs):
            yield part
    finally:
        await running.end()


@dataclass(frozen=True, slots=True)
class _Terminal:
    """Our end of a command's terminal."""

    master: int
    reading: asyncio.ReadTransport

    def close(self) -> None:
        """With all our descriptors gone whatever still has the terminal open is hung up on (pty(7))."""
        self.reading.close()
        os.close(self.master)


class _Running:
    """A command under way."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        outputs: dict[str, asyncio.StreamReader],
        stdin: asyncio.StreamWriter,
        *,
        terminal: _Terminal | None = None,
    ) -> None:
        self._process = process
        self._outputs = outputs
        self._stdin = stdin
        self._terminal = terminal
        """None when it runs on pipes."""
        self._has_ended = False

    async def parts(self, inputs: Inputs) -> AsyncGenerator[Part, None]:
        queue: asyncio.Queue[Part | None] = asyncio.Queue(1)
        readers = [
            asyncio.create_task(self._read(reader, name, queue), name=f"read a command's {name}")
            for name, reader in self._outputs.items()
        ]
        feeder = asyncio.create_task(self._feed(inputs), name="feed a command")
        ender = asyncio.create_task(self._tell_end(readers, queue), name="wait for a command")
        try:
            while (part := await queue.get()) is not None:
                yield part
            await ender
        finally:
            for task in (*readers, feeder, ender):
                task.cancel()
            await asyncio.gather(*readers, feeder, ender, return_exceptions=True)
        self._has_ended = True
        code = self._process.returncode
        assert code is not None
        if code < 0:
            yield Part(exit_code=128 - code, signal=signal.Signals(-code).name)
        else:
            yield Part(exit_code=code)

    async def end(self) -> None:
        """End what still runs, and let go of the descriptors."""
        try:
            if not self._has_ended:
                await self._kill()
        finally:
            transport = self._stdin.transport
            # What was let go of before may not be aborted; what still has something to write has not been.
            if not transport.is_closing() or transport.get_write_buffer_size():
                transport.abort()
            if self._terminal is not None:
                self._terminal.close()

    async def _read(
        self, reader: asyncio.StreamReader, name: str, queue: asyncio.Queue[Part | None]
    ) -> None:
        while data := await reader.read(CHUNK_BYTES):
            await queue.put(Part(err=data) if name == "err" else Part(out=data))

    async def _tell_end(
        self, readers: list[asyncio.Task[None]], queue: asyncio.Queue[Part | None]
    ) -> None:
        await self._process.wait()
        await asyncio.wait(readers, timeout=LAST_WORDS_SECONDS)
        while any(not reader.done() for reader in readers) and not queue.empty():
            # There is output that waits for its reader, not for its writer.
            await asyncio.wait(readers, timeout=LAST_WORDS_SECONDS)
        await queue.put(None)

    async def _feed(self, inputs: Inputs) -> None:
        # A command that does not read its input, or that has ended, is no problem of ours.
        with contextlib.suppress(OSError, NotFound, Temporary):
            async with inputs as given:
                async for one in given:
                    if one.rows and one.columns and self._terminal is not None:
                        _resize(self._terminal.master, one.rows, one.columns)
                    if one.data:
                        self._stdin.write(one.data)
                        await self._stdin.drain()
                    if one.is_end:
                        self._stdin.close()

    async def _kill(self) -> None:
        for number in (signal.SIGHUP, signal.SIGCONT, signal.SIGTERM):
            self._signal(number)
        try:
            async with asyncio.timeout(END_SECONDS):
                await self._process.wait()
        except TimeoutError:
            pass
        finally:
            self._signal(signal.SIGKILL)
        await self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        # The group may be larger than the process, and outlive it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


async def _start_on_pipes(command: Exec) -> _Running:
    process = await asyncio.create_subprocess_exec(
        *command.argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=CHUNK_BYTES,
        start_new_session=True,
        env=_environment(),
        cwd=_home(),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    return _Running(process, {"out": process.stdout, "err": process.stderr}, process.stdin)


async def _start_on_terminal(command: Exec) -> _Running:
    master, slave = os.openpty()
    loop = asyncio.get_running_loop()
    try:
        _resize(master, command.rows, command.columns)
        process = await asyncio.create_subprocess_exec(
            *command.argv,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            # In the child, as leader of its session: its input becomes its controlling terminal (tty_ioctl(2)).
            preexec_fn=_take_terminal,
            env={**_environment(), "TERM": command.term or "dumb"},
            cwd=_home(),
        )
    except BaseException:
        os.close(master)
        raise
    finally:
        os.close(slave)
    reader = asyncio.StreamReader(limit=CHUNK_BYTES)
    reading, _ = await loop.connect_read_pipe(
        lambda: _TerminalReading(reader), os.fdopen(os.dup(master), "rb", 0)
    )
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, os.fdopen(os.dup(master), "wb", 0)
    )
    stdin = asyncio.StreamWriter(transport, protocol, None, loop)
    return _Running(process, {"out": reader}, stdin, terminal=_Terminal(master, reading))


class _TerminalReading(asyncio.StreamReaderProtocol):
    def connection_lost(self, exc: Exception | None) -> None:
        """A terminal whose last user has gone reads as an error (EIO), which is its end; a StreamReader that knows of an
        error forgets what it had read before.
        """
        super().connection_lost(None)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _resize(terminal: int, rows: int, columns: int) -> None:
    """A command that has the terminal hears of it by SIGWINCH, from the kernel."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def _environment() -> dict[str, str]:
    user = pwd.getpwuid(os.geteuid())
    return {
        "PATH": PATH,
        "HOME": user.pw_dir,
        "USER": user.pw_name,
        "LOGNAME": user.pw_name,
        "SHELL": user.pw_shell or "/bin/sh",
        "LANG": os.environ.get("LANG", "C.UTF-8"),
    }


def _home() -> str:
    home = pwd.getpwuid(os.geteuid()).pw_dir
    return home if os.access(home, os.X_OK) else "/"
