"""Output of units from several machines as one stream of JSON lines.

What has been written is merged by time. What is still to come is passed on as it arrives: to hold lines back until every
machine has spoken would be to hold back everybody for the quietest. One machine that cannot be read says so in the
stream and ends nobody else's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import msgspec

from argosy.api.questions import Questions
from argosy.api.schemas import LogLineView
from argosy.api.streams import SIGN_OF_LIFE_SECONDS
from argosy.errors import ArgosyError
from argosy.model.ids import MachineId, UnitName
from argosy.model.question import Line, Question, ReadLogs

Item = tuple[MachineId, Line]
WAITING_LINES = 1000
"""How many lines are read ahead of a slow client."""
CHUNK_LINES = 500
AGAIN_SECONDS = 2.0
"""Pause before a machine that went away while it was followed is asked again."""


class Source(Protocol):
    """Lines of one machine: the last `lines`, or all behind the cursor `after`; with `follow` it goes on with new ones."""

    def __call__(
        self, machine: MachineId, *, lines: int, follow: bool, after: str
    ) -> AsyncGenerator[Line, None]: ...


def asking(
    questions: Questions, *, names: Sequence[UnitName], patterns: Sequence[str], by: str
) -> Source:
    """Lines of the named units, and of those that the machine has and that match one of the globs."""

    async def source(
        machine: MachineId, *, lines: int, follow: bool, after: str
    ) -> AsyncGenerator[Line, None]:
        asked = ReadLogs(
            names=tuple(names), patterns=tuple(patterns), lines=lines, follow=follow, after=after
        )
        async with aclosing(questions.ask(machine, Question(id="", by=by, logs=asked))) as parts:
            async for part in parts:
                for line in part.lines:
                    yield line

    return source


@dataclass(slots=True, kw_only=True)
class Reader:
    """One request for lines.

    lines: how many of those already written, at most.
    after: cursor of the only machine, instead of `lines`; empty for none.
    """

    source: Source
    machines: Collection[MachineId]
    lines: int
    after: str
    clock: Callable[[], datetime]
    _last: dict[MachineId, str] = field(default_factory=dict)
    """Cursor of the last line read of each machine."""

    async def read(self) -> AsyncGenerator[bytes, None]:
        """What has been written: the last `lines` of all machines together, or all behind `after`."""
        for chunk in _chunks(await self._written()):
            yield chunk

    async def follow(
        self, closing: asyncio.Event, coming: AsyncGenerator[set[MachineId], None] | None = None
    ) -> AsyncGenerator[bytes, None]:
        """The same, then new lines as they come, until `closing` is set.

        coming: the machines to follow, whenever there may be others.
        """
        for chunk in _chunks(await self._written()):
            yield chunk
        # None wakes the reader of the queue to look whether the server stops.
        queue: asyncio.Queue[Item | None] = asyncio.Queue(WAITING_LINES)
        pumps: dict[MachineId, asyncio.Task[None]] = {}

        async def pump(machine: MachineId) -> None:
            # A machine without a line yet has no cursor to go on from: whatever it has by now is new.
            self._last.setdefault(machine, self.after)
            while True:
                after = self._last[machine]
                async for item in self._of(machine, lines=self.lines, follow=True, after=after):
                    self._last[machine] = item[1].cursor or self._last[machine]
                    await queue.put(item)
                await asyncio.sleep(AGAIN_SECONDS)

        def start(machines: Collection[MachineId]) -> None:
            for machine in machines:
                if machine not in pumps:
                    pumps[machine] = asyncio.create_task(pump(machine), name=f"logs of {machine}")

        async def start_new() -> None:
            if coming is not None:
                async with aclosing(coming) as sets:
                    async for machines in sets:
                        start(machines)

        async def announce_close() -> None:
            await closing.wait()
            await queue.put(None)

        others = [
            asyncio.create_task(announce_close(), name="logs: wait for the server to stop"),
            asyncio.create_task(start_new(), name="logs: notice more machines"),
        ]
        try:
            start(self.machines)
            while not closing.is_set():
                yield b"".join(map(_encode, await _take(queue))) or b"\n"
        finally:
            tasks = (*pumps.values(), *others)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _written(self) -> list[Item]:
        """Merged by time, of all machines, which are asked side by side."""
        found = [
            item
            for items in await asyncio.gather(*map(self._written_on, sorted(self.machines)))
            for item in items
        ]
        self._last = {machine: line.cursor for machine, line in found if line.cursor}
        found.sort(key=lambda item: item[1].at)
        return found if self.after else found[max(0, len(found) - self.lines) :]

    async def _written_on(self, machine: MachineId) -> deque[Item]:
        # A machine is not trusted to send no more than it was asked for.
        found: deque[Item] = deque(maxlen=None if self.after else self.lines + 1)
        async for item in self._of(machine, lines=self.lines, follow=False, after=self.after):
            found.append(item)
        return found

    async def _of(
        self, machine: MachineId, *, lines: int, follow: bool, after: str
    ) -> AsyncIterator[Item]:
        try:
            source = self.source(machine, lines=lines, follow=follow, after=after)
            async with aclosing(source) as found:
                async for line in found:
                    yield machine, line
        except ArgosyError as problem:
            text = f"the output on machine {machine} cannot be read: {problem}"
            yield machine, Line(at=self.clock(), unit=UnitName(""), text=text, stream="argosy")


async def _take(queue: asyncio.Queue[Item | None]) -> list[Item]:
    """What waits, up to a chunk; empty when nothing came for as long as a stream may be silent, or to look up."""
    try:
        async with asyncio.timeout(SIGN_OF_LIFE_SECONDS):
            items = [await queue.get()]
    except TimeoutError:
        return []
    while len(items) < CHUNK_LINES and not queue.empty():
        items.append(queue.get_nowait())
    return [item for item in items if item is not None]


def _chunks(items: Sequence[Item]) -> list[bytes]:
    return [
        b"".join(map(_encode, items[start : start + CHUNK_LINES]))
        for start in range(0, len(items), CHUNK_LINES)
    ]


def _encode(item: Item) -> bytes:
    machine, line = item
    view = LogLineView(
        at=line.at,
        unit=line.unit,
        machine=machine,
        stream=line.stream,
        text=line.text,
        cursor=f"{machine}/{line.cursor}" if line.cursor else "",
    )
    return msgspec.json.encode(view) + b"\n"
