"""Every runtime tells the same stories: the cases of `runtime_cases/`, and what the contract says beside them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from argosy.errors import Invalid
from argosy.model.ids import UnitName
from argosy.model.observed import ActiveState, LoadState
from argosy.runtime.base import JobResult, Runtime
from argosy.runtime.process import tree
from contract.runtime_kit import (
    RUNTIME,
    Case,
    Story,
    lines_of,
    load_cases,
    make_runtime,
    names,
    opened,
    texts_of,
    texts_until,
    unit,
    until,
)

SLEEP = "[Service]\nExecStart=/bin/sleep 1000\n"


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[Runtime]:
    async with opened(make_runtime(tmp_path)) as runtime:
        yield runtime


@pytest.mark.parametrize("case", load_cases(), ids=lambda case: case.name)
async def test_case(case: Case, runtime: Runtime, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    await Story(case, runtime, scratch).play()


ENDS = {
    "clean": "ExecStart=/bin/true",
    "unclean": "ExecStart=/bin/false",
    "signal": "ExecStart=/bin/sh -c 'kill -USR1 $$$$'",
    "term": "ExecStart=/bin/sh -c 'kill -TERM $$$$'",
    "timeout": "Type=notify\nTimeoutStartSec=100ms\nExecStart=/bin/sleep 1000",
    "watchdog": "WatchdogSec=100ms\nExecStart=/bin/sleep 1000",
}
RESTARTED_AFTER = {
    "no": set[str](),
    "always": set(ENDS),
    "on-success": {"clean", "term"},
    "on-failure": {"unclean", "signal", "timeout", "watchdog"},
    "on-abnormal": {"signal", "timeout", "watchdog"},
    "on-abort": {"signal"},
    "on-watchdog": {"watchdog"},
}
"""The table of Restart= in systemd.service(5)."""


@pytest.mark.parametrize("restart", RESTARTED_AFTER)
async def test_restart_follows_the_table_of_systemd(restart: str, runtime: Runtime) -> None:
    units = [
        unit(f"{end}.service", f"[Service]\nRestart={restart}\nRestartSec=1000\n{text}\n")
        for end, text in ENDS.items()
    ]
    await runtime.install(units)
    await runtime.start([unit.name for unit in units])

    def is_over() -> bool:
        return all(
            status.sub in ("dead", "failed", "auto-restart")
            for status in runtime.statuses().values()
        )

    await until(is_over)
    restarted = {
        name.removesuffix(".service")
        for name, status in runtime.statuses().items()
        if status.sub == "auto-restart"
    }
    assert restarted == RESTARTED_AFTER[restart]


async def test_the_first_change_has_every_unit_and_later_ones_what_changed(
    runtime: Runtime,
) -> None:
    await runtime.install([unit("a.service", SLEEP), unit("b.service", SLEEP)])
    async with runtime.changes() as changes:
        assert await anext(changes) == {"a.service", "b.service"}
        await runtime.start(names("a.service"))
        assert await anext(changes) == {"a.service"}
        await runtime.remove(names("b.service"))
        seen = set[UnitName]()
        while "b.service" not in seen:
            seen |= await anext(changes)
        assert "b.service" not in runtime.statuses()


async def test_an_installed_text_holds_from_the_next_start_on(runtime: Runtime) -> None:
    await runtime.install(
        [unit("a.service", "[Service]\nExecStart=/bin/sh -c 'echo old; exec sleep 1000'\n")]
    )
    await runtime.start(names("a.service"))
    await texts_until(runtime, "a.service", ["old"])
    before = runtime.statuses()[UnitName("a.service")]
    newer = unit("a.service", "[Service]\nExecStart=/bin/sh -c 'echo new; exec sleep 1000'\n")
    await runtime.install([newer])
    after = runtime.statuses()[UnitName("a.service")]
    assert after.main_pid == before.main_pid and after.digest == newer.digest
    await runtime.restart(names("a.service"))
    await texts_until(runtime, "a.service", ["old", "new"])


async def test_what_cannot_be_installed_is_refused_and_keeps_nothing_else_out(
    runtime: Runtime,
) -> None:
    refused = await runtime.install(
        [unit("../evil.service", SLEEP), unit("a.service", SLEEP), unit("no-type", SLEEP)]
    )
    assert set(refused) == {"../evil.service", "no-type"}
    assert set(runtime.statuses()) == {"a.service"}


async def test_an_unloadable_text_is_shown_as_such_and_can_be_replaced(runtime: Runtime) -> None:
    await runtime.install([unit("a.service", "[Service]\nType=oneshot\n")])
    assert runtime.statuses()[UnitName("a.service")].load is LoadState.BAD_SETTING
    await runtime.install([unit("a.service", SLEEP)])
    assert runtime.statuses()[UnitName("a.service")].load is LoadState.LOADED
    assert await runtime.start(names("a.service")) == {"a.service": JobResult.DONE}


async def test_removing_a_running_unit_stops_it_and_keeps_its_lines(runtime: Runtime) -> None:
    await runtime.install(
        [unit("a.service", "[Service]\nExecStart=/bin/sh -c 'echo hello; exec sleep 1000'\n")]
    )
    await runtime.start(names("a.service"))
    await until(lambda: runtime.statuses()[UnitName("a.service")].main_pid is not None)
    pid = runtime.statuses()[UnitName("a.service")].main_pid
    await texts_until(runtime, "a.service", ["hello"])
    await runtime.remove(names("a.service", "never.service"))
    assert pid is not None and tree.start_time(pid) is None
    assert await texts_of(runtime, "a.service") == ["hello"]
    assert not runtime.statuses()


async def test_stopping_what_is_not_there_is_done(runtime: Runtime) -> None:
    assert await runtime.stop(names("never.service")) == {"never.service": JobResult.DONE}


async def test_lines_are_merged_by_time_and_go_on_after_a_cursor(runtime: Runtime) -> None:
    await runtime.install(
        [
            unit(
                f"{name}.service",
                f"[Service]\nType=oneshot\nExecStart=/bin/echo {name}-1\n"
                f"ExecStart=/bin/sh -c 'echo {name}-2 >&2'\n",
            )
            for name in ("a", "b")
        ]
    )
    for name in ("a.service", "b.service", "a.service"):
        await runtime.start(names(name))
    lines = await lines_of(runtime, "a.service", "b.service")
    assert [line.text for line in lines] == ["a-1", "a-2", "b-1", "b-2", "a-1", "a-2"]
    # journald has one stream for both.
    second = "stderr" if RUNTIME == "process" else "stdout"
    assert [line.stream for line in lines[:2]] == ["stdout", second]
    assert lines == sorted(lines, key=lambda line: line.at)
    for index, line in enumerate(lines):
        assert (
            await lines_of(runtime, "a.service", "b.service", after=line.cursor)
            == lines[index + 1 :]
        )
    assert await lines_of(runtime, "a.service", "b.service", lines=2) == lines[-2:]
    assert await lines_of(runtime, "b.service", lines=1) == [lines[3]]
    assert await lines_of(runtime, "never.service") == []
    with pytest.raises(Invalid):
        await lines_of(runtime, "a.service", after="no cursor")


async def test_following_shows_what_is_there_and_then_what_comes(runtime: Runtime) -> None:
    echo = "[Service]\nType=oneshot\nExecStart=/bin/echo %N\n"
    await runtime.install([unit("a.service", echo), unit("b.service", echo)])
    await runtime.start(names("a.service"))
    async with asyncio.timeout(10):
        following = runtime.logs(names("a.service", "b.service"), lines=5, follow=True)
        async with aclosing(following):
            assert (await anext(following)).text == "a"
            for name in ("b.service", "a.service", "b.service"):
                await runtime.start(names(name))
                assert (await anext(following)).text == name.removesuffix(".service")


async def test_bytes_that_are_no_text_and_lines_without_an_end_are_shown(runtime: Runtime) -> None:
    await runtime.install(
        [
            unit(
                "a.service",
                "[Service]\nType=oneshot\nExecStart=/usr/bin/printf 'a\\\\377b\\\\nno end'\n",
            )
        ]
    )
    await runtime.start(names("a.service"))
    assert await texts_of(runtime, "a.service") == ["a\\xffb", "no end"]


async def test_a_failed_unit_brings_its_last_lines(runtime: Runtime) -> None:
    await runtime.install(
        [unit("a.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'seq 1 30; exit 9'\n")]
    )
    await runtime.start(names("a.service"))
    status = runtime.statuses()[UnitName("a.service")]
    assert (status.active, status.exit_code) == (ActiveState.FAILED, 9)
    assert status.failed_command == "ExecStart=/bin/sh -c 'seq 1 30; exit 9'"
    assert status.last_lines == tuple(str(number) for number in range(11, 31))
