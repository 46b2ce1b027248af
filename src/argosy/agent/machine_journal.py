"""The machine's own journal, read with journalctl(1): its JSON output is a documented interface, the files are not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from argosy.errors import Invalid, RuntimeRefused, Unsupported
from argosy.model.question import Line, ReadJournal

ENTRY_BYTES = 1024 * 1024
"""Entries longer than this are passed over: they are core dumps and the like."""
FIELDS = "MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,_COMM,_PID,_SYSTEMD_UNIT,UNIT"
PRIORITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def read(asked: ReadJournal) -> AsyncGenerator[Line, None]:
    """Entries, oldest first: the last `lines`, or all behind a cursor; with `follow` it goes on for ever.

    A line's stream is the severity of its entry, its text begins with who wrote it, as journalctl's do.
    Raises Invalid for a wrong question, Unsupported on a machine without journalctl, RuntimeRefused when it refuses.
    """
    arguments = _arguments(asked)
    try:
        process = await asyncio.create_subprocess_exec(
            "journalctl",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=ENTRY_BYTES,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise Unsupported(
            "the machine has no journal: it has no journalctl", hint="argosy logs UNIT"
        ) from None
    assert process.stdout is not None
    assert process.stderr is not None
    complaint = asyncio.create_task(process.stderr.read(4096), name="journalctl's complaint")
    count = 0
    try:
        while True:
            try:
                entry = await process.stdout.readline()
            except ValueError:
                continue  # longer than the limit; the reader has thrown it away
            if not entry:
                break
            line = _line(entry)
            if line is not None:
                count += 1
                yield line
        code = await process.wait()
        said = (await complaint).decode(errors="replace").strip()
        # With no journal at all it says so and calls that a success.
        if code != 0 or (count == 0 and "No journal files" in said):
            reason = said.splitlines()[0] if said else f"exit code {code}"
            raise RuntimeRefused(f"journalctl: {reason}", hint="argosy logs UNIT")
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        complaint.cancel()
        await asyncio.gather(complaint, return_exceptions=True)


def _arguments(asked: ReadJournal) -> list[str]:
    arguments = ["--output=json", f"--output-fields={FIELDS}", "--all", "--no-pager", "--utc"]
    if asked.unit:
        arguments.append(f"--unit={asked.unit}")
    if asked.priority:
        if asked.priority not in (*PRIORITIES, *"01234567"):
            raise Invalid(
                f"there is no priority {asked.priority!r}", hint="one of " + ", ".join(PRIORITIES)
            )
        arguments.append(f"--priority={asked.priority}")
    if asked.since is not None:
        arguments.append(f"--since=@{asked.since.timestamp():.6f}")
    if asked.after:
        arguments.append(f"--after-cursor={asked.after}")
    else:
        arguments.append(f"--lines={asked.lines}")
    if asked.follow:
        arguments.append("--follow")
    return arguments


def _line(entry: bytes) -> Line | None:
    """None for what is no entry."""
    try:
        fields: dict[str, Any] = msgspec.json.decode(entry, type=dict[str, Any])
        at = _EPOCH + timedelta(microseconds=int(fields["__REALTIME_TIMESTAMP"]))
    except (msgspec.MsgspecError, KeyError, ValueError, OverflowError):
        return None
    writer = _text(fields.get("SYSLOG_IDENTIFIER")) or _text(fields.get("_COMM")) or "?"
    pid = _text(fields.get("_PID"))
    priority = _text(fields.get("PRIORITY"))
    return Line(
        at=at,
        unit=_text(fields.get("UNIT")) or _text(fields.get("_SYSTEMD_UNIT")),
        text=f"{writer}{f'[{pid}]' if pid else ''}: {_text(fields.get('MESSAGE'))}",
        stream=PRIORITIES[int(priority)] if priority in list("01234567") else "info",
        cursor=_text(fields.get("__CURSOR")),
    )


def _text(value: Any) -> str:
    """A field: text; numbers of bytes where it is not UTF-8; several of these when it stands there several times."""
    if isinstance(value, list):
        if value and all(isinstance(one, int) and 0 <= one < 256 for one in value):
            return bytes(value).decode(errors="backslashreplace")
        return _text(value[0]) if value else ""
    return "" if value is None else str(value)
