"""Output of units from several machines as one stream of JSON lines.

What has been written is merged by time. What is still to come is passed on as it arrives: to hold lines back until every
machine has spoken would be to hold back everybody for the quietest. One machine that cannot be read says so in the
stream and ends nobody else's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from argosy.api.schemas import LogLineView
from argosy.api.services import LogSource
from argosy.api.streams import SIGN_OF_LIFE_SECONDS
from argosy.errors import ArgosyError
from argosy.model.ids import MachineId, UnitName
from argosy.runtime.base import LogLine

Item = tuple[MachineId, LogLine]
WAITING_LINES = 1000
"""How many lines are read ahead of a slow client."""
CHUNK_LINES = 500


@dataclass(slots=True, kw_only=True)
class Reader:
    """One request for lines.

    lines: how many of those already written, at most.
    after: cursor of the only machine in `sources`, instead of `lines`; empty for none.
    """

    sources: Mapping[MachineId, LogSource]
    names: Sequence[UnitName]
    lines: int
    after: str
    clock: Callable[[], datetime]
    _last: dict[MachineId, str] = field(default_factory=dict)
    """Cursor of the last line read of each machine."""

    async def read(self) -> AsyncGenerator[bytes, None]:
        """What has been written: the last `lines` of all machines together, or all behind `after`."""
        for chunk in _chunks(await self._written()):
            yield chunk

    async def follow(self, closing: asyncio.Event) -> AsyncGenerator[bytes, None]:
        """The same, then new lines as they come, until `closing` is set or no machine has more to say."""
        for chunk in _chunks(await self._written()):
            yield chunk
        # None wakes the reader of the queue to look whether all has ended.
        queue: asyncio.Queue[Item | None] = asyncio.Queue(WAITING_LINES)

        async def pump(machine: MachineId) -> None:
            # A machine without a line yet has no cursor to go on from: whatever it has by now is new.
            after = self._last.get(machine, self.after)
            async for item in self._of(machine, follow=True, after=after):
                await queue.put(item)
            await queue.put(None)

        async def announce_close() -> None:
            await closing.wait()
            await queue.put(None)

        pumps = [asyncio.create_task(pump(m), name=f"logs of {m}") for m in self.sources]
        closer = asyncio.create_task(announce_close(), name="logs: wait for the server to stop")
        try:
            while not closing.is_set() and not (queue.empty() and all(p.done() for p in pumps)):
                yield b"".join(map(_encode, await _take(queue))) or b"\n"
        finally:
            for task in (*pumps, closer):
                task.cancel()
            await asyncio.gather(*pumps, closer, return_exceptions=True)

    async def _written(self) -> list[Item]:
        found: list[Item] = []
        for machine in self.sources:
            found += [item async for item in self._of(machine, follow=False, after=self.after)]
        self._last = {machine: line.cursor for machine, line in found if line.cursor}
        found.sort(key=lambda item: item[1].at)
        return found if self.after else found[max(0, len(found) - self.lines) :]

    async def _of(self, machine: MachineId, *, follow: bool, after: str) -> AsyncIterator[Item]:
        try:
            source = self.sources[machine]
            async for line in source(self.names, lines=self.lines, follow=follow, after=after):
                yield machine, line
        except ArgosyError as problem:
            text = f"the output on machine {machine} cannot be read: {problem}"
            yield machine, LogLine(at=self.clock(), unit=UnitName(""), text=text, stream="argosy")


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
