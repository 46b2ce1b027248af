"""Lines of several machines as one stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import timedelta

import pytest

from argosy.api import logs as logs_module
from argosy.api.logs import Reader
from argosy.errors import RuntimeBusy
from argosy.model.ids import MachineId, UnitName
from argosy.model.question import Line
from unit.api.conftest import NOW, clock

FIRST, SECOND = MachineId("1" * 32), MachineId("2" * 32)
WEB = UnitName("web.service")


class Machine:
    """Output of one machine, in memory, as a source of lines."""

    def __init__(self, *seconds: int) -> None:
        self.lines = [self._line(at) for at in seconds]
        self._more = asyncio.Condition()

    async def write(self, second: int) -> None:
        async with self._more:
            self.lines.append(self._line(second))
            self._more.notify_all()

    async def logs(
        self,
        *,
        lines: int,
        follow: bool,
        after: str,
    ) -> AsyncIterator[Line]:
        next_ = int(after) + 1 if after else max(0, len(self.lines) - lines)
        while True:
            while next_ < len(self.lines):
                line = self.lines[next_]
                cursor = str(next_)
                next_ += 1
                yield Line(at=line.at, unit=line.unit, text=line.text, cursor=cursor)
            if not follow:
                return
            async with self._more:
                while next_ >= len(self.lines):
                    await self._more.wait()

    def _line(self, second: int) -> Line:
        return Line(at=NOW + timedelta(seconds=second), unit=WEB, text=f"at {second}")


class Broken:
    async def logs(
        self,
        *,
        lines: int,
        follow: bool,
        after: str,
    ) -> AsyncIterator[Line]:
        for _ in range(0):
            yield Line(at=NOW, unit=WEB, text="never")
        raise RuntimeBusy("the journal is being rotated")


def reader(*machines: Machine | Broken, lines: int = 100, after: str = "") -> Reader:
    by_id = dict(zip((FIRST, SECOND), machines, strict=False))

    async def source(
        machine: MachineId, *, lines: int, follow: bool, after: str
    ) -> AsyncGenerator[Line, None]:
        async for line in by_id[machine].logs(lines=lines, follow=follow, after=after):
            yield line

    return Reader(source=source, machines=by_id.keys(), lines=lines, after=after, clock=clock)


def texts(chunk: bytes) -> list[str]:
    return [json.loads(line)["text"] for line in chunk.splitlines() if line]


async def read(one: Reader) -> list[str]:
    return [text async for chunk in one.read() for text in texts(chunk)]


async def test_lines_of_all_machines_are_merged_by_time() -> None:
    assert await read(reader(Machine(1, 4, 5), Machine(2, 3, 6))) == [
        f"at {second}" for second in range(1, 7)
    ]


async def test_the_last_lines_are_those_of_all_machines_together() -> None:
    assert await read(reader(Machine(1, 4, 5), Machine(2, 3, 6), lines=2)) == ["at 5", "at 6"]
    assert await read(reader(Machine(1, 2), lines=0)) == []


async def test_a_cursor_goes_on_behind_its_line() -> None:
    assert await read(reader(Machine(1, 2, 3), lines=1, after="0")) == ["at 2", "at 3"]


async def test_following_goes_on_with_new_lines_and_repeats_none() -> None:
    first, second = Machine(1, 5), Machine()
    closing = asyncio.Event()
    followed = reader(first, second, lines=1).follow(closing)
    heard = texts(await anext(followed))
    await first.write(7)
    await second.write(6)
    async with asyncio.timeout(5):
        while len(heard) < 3:
            heard += texts(await anext(followed))
    await followed.aclose()
    assert heard[0] == "at 5"
    assert sorted(heard[1:]) == ["at 6", "at 7"]


async def test_following_picks_up_machines_that_come_later() -> None:
    first, second = Machine(1), Machine(2)
    one = reader(first, second)
    one.machines = [FIRST]

    async def coming() -> AsyncGenerator[set[MachineId], None]:
        yield {FIRST, SECOND}

    followed = one.follow(asyncio.Event(), coming())
    heard: list[str] = []
    async with asyncio.timeout(5):
        while len(heard) < 2:
            heard += texts(await anext(followed))
    await followed.aclose()
    assert heard == ["at 1", "at 2"]


async def test_following_asks_a_machine_again_that_went_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs_module, "AGAIN_SECONDS", 0.01)
    output = Machine(1)
    lost = 0

    async def source(
        machine: MachineId, *, lines: int, follow: bool, after: str
    ) -> AsyncGenerator[Line, None]:
        nonlocal lost
        lost += follow
        if follow and lost == 1:
            raise RuntimeBusy("away")
        async for line in output.logs(lines=lines, follow=follow, after=after):
            yield line

    one = Reader(source=source, machines=[FIRST], lines=100, after="", clock=clock)
    followed = one.follow(asyncio.Event())
    heard = texts(await anext(followed))
    await output.write(2)
    async with asyncio.timeout(5):
        while "at 2" not in heard:
            heard += texts(await anext(followed))
    await followed.aclose()
    assert [text for text in heard if text.startswith("at")] == ["at 1", "at 2"]


async def test_following_ends_when_the_server_stops() -> None:
    closing = asyncio.Event()
    followed = reader(Machine()).follow(closing)
    waiting = asyncio.ensure_future(anext(followed, None))
    await asyncio.sleep(0)
    closing.set()
    async with asyncio.timeout(5):
        while await waiting is not None:
            waiting = asyncio.ensure_future(anext(followed, None))


async def test_silence_is_broken_by_a_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs_module, "SIGN_OF_LIFE_SECONDS", 0.02)
    followed = reader(Machine()).follow(asyncio.Event())
    async with asyncio.timeout(5):
        assert await anext(followed) == b"\n"
    await followed.aclose()


async def test_a_machine_that_cannot_be_read_says_so_among_the_lines_of_the_others() -> None:
    lines = await read(reader(Machine(1), Broken()))
    assert "at 1" in lines
    assert any("the journal is being rotated" in line for line in lines)
