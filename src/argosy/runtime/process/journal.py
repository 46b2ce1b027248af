"""The logs of several units as one: merged by time, continued at a cursor, followed.

A cursor is the time and unit of a line, which is its place in every merge it can be part of. Following costs nothing
while nothing is written: inotify(7) tells.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import heapq
import os
from collections.abc import AsyncGenerator, Collection, Iterable, Iterator
from datetime import UTC, datetime, timedelta

from argosy.errors import Invalid
from argosy.model.ids import UnitName
from argosy.runtime.base import LogLine
from argosy.runtime.process.layout import Layout, key_of
from argosy.runtime.process.logfile import STREAMS, Line, last_lines, lines_after

KEPT_OF_REMOVED_BYTES = 64 * 1024 * 1024
"""How much the logs of units that were removed may take together; the oldest go first."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_IN_MODIFY = 0x2
_libc = ctypes.CDLL(None, use_errno=True)


async def read(
    layout: Layout, names: Collection[UnitName], *, lines: int, follow: bool, after: str
) -> AsyncGenerator[LogLine, None]:
    """See Runtime.logs. Raises Invalid for a cursor that is none of ours."""
    wanted = sorted(set(names))
    places = dict.fromkeys(wanted, -1)
    with contextlib.ExitStack() as stack:
        # Watched before the first look: what is written between the two is seen twice rather than never, and the
        # places see to it that it is shown once.
        watch = stack.enter_context(_Watch(layout)) if follow else None
        if after:
            at, unit = _parse_cursor(after)
            # A line of another unit at the same microsecond comes after the cursor when its name does.
            places = {name: at if name <= unit else at - 1 for name in wanted}
            found: Iterable[LogLine] = _merge(layout, places)
        else:
            found = _last(layout, wanted, lines)
        while True:
            for count, line in enumerate(found, start=1):
                places[line.unit] = _parse_cursor(line.cursor)[0]
                yield line
                if count % 1000 == 0:
                    await asyncio.sleep(0)  # a long log must not keep the whole process waiting
            if watch is None:
                return
            changed = await watch.wait()
            if not after:
                # Nothing was there of these; from now on everything is wanted.
                places = {name: max(at, 0) for name, at in places.items()}
            found = _merge(layout, {n: at for n, at in places.items() if key_of(n) in changed})


def _last(layout: Layout, names: list[UnitName], count: int) -> list[LogLine]:
    if count <= 0:
        return []
    each = ((name, line) for name in names for line in last_lines(layout.log(name), count))
    newest = heapq.nlargest(count, each, key=lambda pair: (pair[1].at, pair[0]))
    return [_shown(name, line) for name, line in reversed(newest)]


def _merge(layout: Layout, places: dict[UnitName, int]) -> Iterator[LogLine]:
    """All lines after each unit's place, by time."""

    def of(name: UnitName, at: int) -> Iterator[tuple[int, UnitName, Line]]:
        for line in lines_after(layout.log(name), at):
            yield line.at, name, line

    merged = heapq.merge(*(of(name, at) for name, at in places.items()))
    return (_shown(name, line) for _, name, line in merged)


def _shown(name: UnitName, line: Line) -> LogLine:
    return LogLine(
        at=_EPOCH + timedelta(microseconds=line.at),
        unit=name,
        text=line.text.decode("utf-8", "backslashreplace"),
        stream=STREAMS[line.letter],
        cursor=f"{line.at}:{name}",
    )


def _parse_cursor(cursor: str) -> tuple[int, str]:
    at, colon, unit = cursor.partition(":")
    if not colon or not at.isdigit():
        raise Invalid(f"'{cursor}' is no cursor", hint="use one that came with a line")
    return int(at), unit


def prune(layout: Layout, names: Collection[str]) -> None:
    """Make the logs of units other than these take no more than they may."""
    kept = {f"{key_of(name)}.log{end}" for name in names for end in ("", ".1")}
    others = []
    with contextlib.suppress(OSError), os.scandir(layout.logs) as entries:
        others = [
            (e.stat().st_mtime, e.stat().st_size, e.path) for e in entries if e.name not in kept
        ]
    room = KEPT_OF_REMOVED_BYTES
    for _, size, path in sorted(others, reverse=True):
        room -= size
        if room < 0:
            with contextlib.suppress(OSError):
                os.unlink(path)


class _Watch:
    """Which logs were written to."""

    def __init__(self, layout: Layout) -> None:
        self._descriptor = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        directory = os.fsencode(layout.logs)
        if self._descriptor < 0 or (
            _libc.inotify_add_watch(self._descriptor, directory, _IN_MODIFY) < 0
        ):
            problem = OSError(ctypes.get_errno(), "inotify", str(layout.logs))
            if self._descriptor >= 0:
                os.close(self._descriptor)
            raise problem

    def __enter__(self) -> _Watch:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    async def wait(self) -> set[str]:
        """The keys of the units whose logs were written to since the last call; waits for one."""
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(BlockingIOError):
                return _keys(os.read(self._descriptor, 1 << 16))
            ready: asyncio.Future[None] = loop.create_future()
            loop.add_reader(self._descriptor, lambda r=ready: r.done() or r.set_result(None))  # type: ignore[misc]
            try:
                await ready
            finally:
                loop.remove_reader(self._descriptor)


def _keys(events: bytes) -> set[str]:
    """The units of a buffer of struct inotify_event: wd, mask, cookie, len, name."""
    keys = set()
    at = 0
    while at + 16 <= len(events):
        length = int.from_bytes(events[at + 12 : at + 16], "little")
        name = events[at + 16 : at + 16 + length].rstrip(b"\0").decode("utf-8", "surrogateescape")
        keys.add(name.removesuffix(".log"))
        at += 16 + length
    return keys
