"""Output of units of this machine, as people asked for it: by name, or by globs that later units may match, too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Protocol

from argosy.errors import ArgosyError
from argosy.model.ids import UnitName
from argosy.model.observed import UnitStatus
from argosy.model.question import Line, Part, ReadLogs
from argosy.runtime.base import LogLine
from argosy.units import globs

LINES_AT_ONCE = 500
LINES_OF_NEW = 10_000
"""What a unit that came while its output is followed may have written before it was noticed, at most."""


class Output(Protocol):
    """What of a runtime is needed: see `runtime.base.Runtime`."""

    def statuses(self) -> Mapping[UnitName, UnitStatus]: ...
    def changes(self) -> AbstractAsyncContextManager[AsyncIterator[frozenset[UnitName]]]: ...
    def logs(
        self,
        names: Collection[UnitName],
        *,
        lines: int = 100,
        follow: bool = False,
        after: str = "",
    ) -> AsyncGenerator[LogLine, None]: ...


async def read(runtime: Output, asked: ReadLogs) -> AsyncGenerator[Part, None]:
    """Lines of the units, merged by time as far as they are written; see `Runtime.logs`."""
    if asked.follow and asked.patterns:
        following = _Following(runtime, asked)
        try:
            while True:
                yield await following.next()
        finally:
            await following.close()
    names = _wanted(asked, runtime.statuses())
    found = runtime.logs(sorted(names), lines=asked.lines, follow=asked.follow, after=asked.after)
    async with aclosing(found):
        async for line in found:
            yield Part(lines=(_line(line),))


class _Following:
    """The output of the units that are there, and of each that comes, each group read by a task of its own."""

    def __init__(self, runtime: Output, asked: ReadLogs) -> None:
        self._runtime = runtime
        self._asked = asked
        self._queue: asyncio.Queue[Part | Exception] = asyncio.Queue(LINES_AT_ONCE)
        self._tasks = [asyncio.create_task(self._notice(), name="notice units to follow")]

    async def next(self) -> Part:
        """Raises what ended one of the tasks."""
        found = await self._queue.get()
        if isinstance(found, Exception):
            raise found
        return found

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _notice(self) -> None:
        asked = self._asked
        async with self._runtime.changes() as changes:
            known = _wanted(asked, self._runtime.statuses())
            self._follow(known, lines=asked.lines, after=asked.after)
            async for _ in changes:
                new = _wanted(asked, self._runtime.statuses()) - known
                if new:
                    known |= new
                    self._follow(new, lines=LINES_OF_NEW, after="")

    def _follow(self, names: Iterable[UnitName], *, lines: int, after: str) -> None:
        pump = self._pump(sorted(names), lines=lines, after=after)
        self._tasks.append(asyncio.create_task(pump, name="follow units"))

    async def _pump(self, names: list[UnitName], *, lines: int, after: str) -> None:
        try:
            found = self._runtime.logs(names, lines=lines, follow=True, after=after)
            async with aclosing(found):
                async for line in found:
                    await self._queue.put(Part(lines=(_line(line),)))
        except (ArgosyError, OSError) as problem:
            await self._queue.put(problem)


def _wanted(asked: ReadLogs, there: Iterable[UnitName]) -> set[UnitName]:
    return set(asked.names) | {
        name for name in there if any(globs.matches(pattern, name) for pattern in asked.patterns)
    }


def _line(line: LogLine) -> Line:
    return Line(at=line.at, unit=line.unit, text=line.text, stream=line.stream, cursor=line.cursor)
