"""What units print, out of systemd's journal, by `journalctl`: it knows the files' format, and reads them as whoever may.

What systemd itself says of a unit is shown from notices up (how its process ended), under the stream `argosy`; that it was
started and stopped is known otherwise. The journal does not tell stdout from stderr.

What surprises: journald looks up whose a line is when it reads it, by the sender's control group, and for units of a
user's manager a sender that has ended meanwhile has none: its lines belong to no unit. So those units have their name as
SyslogIdentifier= (see `unit_files.py`), which comes with the line, and are found by that, too.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from argosy.errors import Invalid, RuntimeRefused
from argosy.model.ids import UnitName
from argosy.runtime.base import LogLine

NOTICE = 5
"""Of syslog(3); systemd tells of starts and stops at 6."""
LINE_BYTES = 16 * 1024 * 1024
"""An entry as JSON: journald keeps lines of 48 KiB, but other fields and escapes make it longer."""
FIELDS = "MESSAGE,PRIORITY,_SYSTEMD_UNIT,UNIT,_SYSTEMD_USER_UNIT,USER_UNIT,SYSLOG_IDENTIFIER"
LAST_LINES = 20
SYNC_SECONDS = 2.0


class Journal:
    """The journal as one manager's units fill it.

    journalctl: the words of the command, so that another machine's journal can be read through `nsenter`.
    """

    def __init__(self, journalctl: Sequence[str], *, is_user: bool) -> None:
        self._command = [*journalctl, "--quiet", "--output=json", f"--output-fields={FIELDS}"]
        self._sync_command = [*journalctl, "--sync"]
        self._is_user = is_user

    async def lines(
        self, names: Collection[UnitName], *, lines: int, follow: bool, after: str
    ) -> AsyncGenerator[LogLine, None]:
        """See `Runtime.logs`."""
        if not names:
            return
        start = after
        if follow and not after:
            # Of what comes while the older lines are read, nothing is to be missed.
            start = await self._end()
        shown: deque[str] = deque(maxlen=10_000)
        if after:
            older = self._read(names, ["--after-cursor", after], takes_newest=0)
        else:
            older = self._read(names, ["--reverse"], takes_newest=lines)
        async with aclosing(older):
            async for line in older:
                shown.append(line.cursor)
                yield line
        if not follow:
            return
        if after and shown:
            start = shown[-1]
        new = self._read(
            names, ["--follow", "--no-tail", *(["--after-cursor", start] if start else [])]
        )
        async with aclosing(new):
            async for line in new:
                if line.cursor not in shown:
                    yield line

    async def last_lines(self, name: UnitName, invocation: str) -> tuple[str, ...]:
        """The last lines of the unit's present or last run (of a user's unit: of all its runs); empty where they cannot
        be had.
        """
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(SYNC_SECONDS):
                await self._sync()
        is_of_run = invocation and not self._is_user
        extra = ["--reverse", *([f"_SYSTEMD_INVOCATION_ID={invocation}"] if is_of_run else [])]
        try:
            reading = self._read([name], extra, takes_newest=LAST_LINES, is_own=True)
            async with aclosing(reading):
                return tuple([line.text async for line in reading])
        except (RuntimeRefused, Invalid, OSError):
            return ()

    async def _read(
        self,
        names: Collection[UnitName],
        options: Sequence[str],
        *,
        takes_newest: int = -1,
        is_own: bool = False,
    ) -> AsyncGenerator[LogLine, None]:
        """takes_newest: how many lines of a reversed reading are wanted; they come in their right order.
        is_own: without what systemd says of the units.
        """
        newest: list[LogLine] = []
        async with _running([*self._command, *options, *self._chosen(names)]) as process:
            assert process.stdout is not None
            while True:
                if 0 < takes_newest <= len(newest):
                    break
                raw = await process.stdout.readline()
                if not raw:
                    await _check_end(process)
                    break
                line = self._line(raw)
                if line is None or (is_own and line.stream == "argosy"):
                    continue
                if takes_newest > 0:
                    newest.append(line)
                else:
                    yield line
        for line in reversed(newest):
            yield line

    def _chosen(self, names: Collection[UnitName]) -> list[str]:
        """The words that choose these units' lines: of one field any value, between `+` any term (journalctl(1))."""
        if not self._is_user:
            return [f"--unit={name}" for name in sorted(names)]
        terms: list[str] = []
        for field in ("_SYSTEMD_USER_UNIT", "USER_UNIT", "SYSLOG_IDENTIFIER"):
            matches = [f"{field}={name}" for name in sorted(names)]
            terms += [*(["+"] if terms else []), f"_UID={os.geteuid()}", *matches]
        return terms

    async def _end(self) -> str:
        """The cursor of the newest entry of all; empty in an empty journal."""
        async with _running([*self._command, "--lines=1"]) as process:
            assert process.stdout is not None
            raw = await process.stdout.readline()
        return str(json.loads(raw)["__CURSOR"]) if raw else ""

    async def _sync(self) -> None:
        async with _running(self._sync_command) as process:
            await process.wait()

    def _line(self, raw: bytes) -> LogLine | None:
        try:
            entry: dict[str, Any] = json.loads(raw)
            about, of = (
                ("USER_UNIT", "_SYSTEMD_USER_UNIT") if self._is_user else ("UNIT", "_SYSTEMD_UNIT")
            )
            is_systemd = about in entry
            unit = entry.get(about) or entry.get(of) or entry.get("SYSLOG_IDENTIFIER", "")
            if is_systemd and int(entry.get("PRIORITY", NOTICE)) > NOTICE:
                return None
            return LogLine(
                at=datetime.fromtimestamp(int(entry["__REALTIME_TIMESTAMP"]) / 1e6, UTC),
                unit=UnitName(unit),
                text=_text(entry.get("MESSAGE")),
                stream="argosy" if is_systemd else "stdout",
                cursor=entry["__CURSOR"],
            )
        except (ValueError, KeyError, TypeError):
            return None


def _text(message: object) -> str:
    """What is no text comes as a list of bytes, and what is too long as null (journalctl(1), --output=json)."""
    if isinstance(message, list):
        return bytes(message).decode(errors="backslashreplace")
    return message if isinstance(message, str) else ""


@asynccontextmanager
async def _running(command: Sequence[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    creating = asyncio.create_task(
        asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_BYTES,
        )
    )
    try:
        yield await asyncio.shield(creating)
    finally:
        # Whoever is cancelled in here still waits: a process half made or half read keeps its pipes open.
        ending = asyncio.create_task(_end(creating))
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            await asyncio.wait([ending])
            raise


async def _end(creating: asyncio.Task[asyncio.subprocess.Process]) -> None:
    process = await creating
    if process.returncode is None:
        with suppress(ProcessLookupError):
            # Not process.kill(), which may take the exit status away from asyncio's watcher.
            os.kill(process.pid, signal.SIGKILL)
    # Reading to the end lets go of the pipes, too.
    await process.communicate()


async def _check_end(process: asyncio.subprocess.Process) -> None:
    assert process.stderr is not None
    said = (await process.stderr.read()).decode(errors="replace").strip()
    if await process.wait() == 0:
        return
    if "cursor" in said:
        raise Invalid("the cursor is not one of this machine's journal", hint="leave it out")
    raise RuntimeRefused(f"the journal cannot be read: {said}", hint="journalctl --verify")
