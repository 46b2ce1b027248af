"""Units outlive the process that started them, and nothing outlives its unit: shown by killing what is in between."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from argosy.errors import RuntimeRefused
from argosy.model.ids import UnitName
from argosy.model.observed import ActiveState
from argosy.runtime.base import JobResult
from argosy.runtime.process import tree
from contract.runtime_kit import living, names, opened, process_runtime, texts_of, unit, until

HOLDER = """
import asyncio, sys
from pathlib import Path
from contract.runtime_kit import process_runtime, unit, names

async def main():
    runtime = process_runtime(Path(sys.argv[1]))
    await runtime.open()
    await runtime.install([unit(name, text, ARGOSY_CASE=sys.argv[2]) for name, text in UNITS.items()])
    print(dict(await runtime.start(names(*UNITS))), flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""

SLEEP = "[Service]\nExecStart=/bin/sleep 1000\n"


def hold(directory: Path, mark: str, units: dict[str, str]) -> subprocess.Popen[str]:
    """Another process that starts the units and holds the runtime until it is killed."""
    tests = Path(__file__).parent.parent
    process = subprocess.Popen(
        [sys.executable, "-c", f"UNITS = {units!r}\n{HOLDER}", str(directory), mark],
        env={**os.environ, "PYTHONPATH": str(tests)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert "done" in process.stdout.readline()
    return process


def kill(process: subprocess.Popen[str]) -> None:
    with process:
        process.kill()


def supervisor_of(directory: Path, name: str) -> int:
    state = json.loads((directory / "units" / "run" / f"{name}.json").read_text())
    return int(state["supervisor"][0])


async def test_units_run_on_when_their_runtime_is_killed_and_the_next_one_finds_them(
    tmp_path: Path,
) -> None:
    mark = uuid.uuid4().hex
    units = {
        "a.service": SLEEP,
        "again.service": "[Service]\nRestart=always\nRestartSec=50ms\nExecStart=/bin/sleep 1000\n",
        "done.service": "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/echo done\n",
    }
    kill(hold(tmp_path, mark, units))
    # Type=simple counts as started with its fork; the mark is there from its exec on.
    await until(lambda: len(living(f"ARGOSY_CASE={mark}")) == 2)
    before = sorted(living(f"ARGOSY_CASE={mark}"))
    async with opened(process_runtime(tmp_path)) as runtime:
        statuses = runtime.statuses()
        assert {name: status.active for name, status in statuses.items()} == dict.fromkeys(
            units, ActiveState.ACTIVE
        )
        assert sorted(living(f"ARGOSY_CASE={mark}")) == before
        # A start of what runs already changes nothing either.
        assert set((await runtime.start(names(*units))).values()) == {JobResult.DONE}
        assert sorted(living(f"ARGOSY_CASE={mark}")) == before
        assert await texts_of(runtime, "done.service") == ["done"]
        await runtime.stop(names(*units))
        assert living(f"ARGOSY_CASE={mark}") == []


async def test_restarts_and_failures_go_on_without_a_runtime_and_are_known_to_the_next(
    tmp_path: Path,
) -> None:
    mark = uuid.uuid4().hex
    units = {
        "again.service": "[Service]\nRestart=always\nRestartSec=20ms\nExecStart=/bin/sleep 1000\n",
        "fails.service": f"[Service]\nExecStart=/bin/sh -c 'while ! test -e {tmp_path}/go; do sleep 0.01; done; exit 5'\n",
    }
    kill(hold(tmp_path, mark, units))
    state = tmp_path / "units" / "run"

    def status(name: str) -> dict[str, object]:
        saved: dict[str, object] = json.loads((state / f"{name}.json").read_text())["status"]
        return saved

    first = status("again.service")["main_pid"]
    assert isinstance(first, int)
    os.kill(first, signal.SIGKILL)
    (tmp_path / "go").touch()
    await until(lambda: status("again.service")["main_pid"] not in (None, first))
    await until(lambda: status("fails.service")["over"] is True)
    async with opened(process_runtime(tmp_path)) as runtime:
        again = runtime.statuses()[UnitName("again.service")]
        assert (again.active, again.restarts) == (ActiveState.ACTIVE, 1)
        fails = runtime.statuses()[UnitName("fails.service")]
        assert (fails.active, fails.result, fails.exit_code) == (ActiveState.FAILED, "exit-code", 5)


async def test_a_bound_unit_goes_down_when_what_it_is_bound_to_ended_unseen(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    units = {
        "a.service": SLEEP,
        "bound.service": "[Unit]\nBindsTo=a.service\nAfter=a.service\n" + SLEEP,
    }
    kill(hold(tmp_path, mark, units))
    state = tmp_path / "units" / "run" / "a.service.json"
    os.kill(json.loads(state.read_text())["status"]["main_pid"], signal.SIGKILL)
    await until(lambda: json.loads(state.read_text())["status"]["over"])
    async with opened(process_runtime(tmp_path)) as runtime:
        await until(lambda: runtime.statuses()[UnitName("bound.service")].active == "inactive")


async def test_when_a_supervisor_is_killed_its_processes_are_ended_and_the_unit_has_failed(
    tmp_path: Path,
) -> None:
    mark = uuid.uuid4().hex
    text = "[Service]\nExecStart=/bin/sh -c 'setsid sleep 1000 & exec sleep 1000'\n"
    async with opened(process_runtime(tmp_path)) as runtime:
        await runtime.install([unit("a.service", text, ARGOSY_CASE=mark)])
        await runtime.start(names("a.service"))
        await until(lambda: len(living(f"ARGOSY_CASE={mark}")) == 2)
        os.kill(supervisor_of(tmp_path, "a.service"), signal.SIGKILL)
        await until(lambda: runtime.statuses()[UnitName("a.service")].active == "failed")
        assert living(f"ARGOSY_CASE={mark}") == []
        assert runtime.statuses()[UnitName("a.service")].result == "resources"
        assert await runtime.start(names("a.service")) == {"a.service": JobResult.DONE}


async def test_what_a_supervisor_left_that_died_with_its_runtime_is_ended_by_the_next(
    tmp_path: Path,
) -> None:
    mark = uuid.uuid4().hex
    holder = hold(tmp_path, mark, {"a.service": SLEEP})
    await until(lambda: len(living(f"ARGOSY_CASE={mark}")) == 1)
    os.kill(supervisor_of(tmp_path, "a.service"), signal.SIGSTOP)
    kill(holder)
    os.kill(supervisor_of(tmp_path, "a.service"), signal.SIGKILL)
    await until(lambda: tree.start_time(supervisor_of(tmp_path, "a.service")) is None)
    assert len(living(f"ARGOSY_CASE={mark}")) == 1
    async with opened(process_runtime(tmp_path)) as runtime:
        assert runtime.statuses()[UnitName("a.service")].active is ActiveState.FAILED
        assert living(f"ARGOSY_CASE={mark}") == []


async def test_a_spawner_that_was_killed_is_started_anew(tmp_path: Path) -> None:
    async with opened(process_runtime(tmp_path)) as runtime:
        await runtime.install([unit("a.service", SLEEP), unit("b.service", SLEEP)])
        await runtime.start(names("a.service"))
        spawner = tree.parent(supervisor_of(tmp_path, "a.service"))
        assert spawner
        os.kill(spawner, signal.SIGKILL)
        await until(lambda: tree.start_time(spawner) is None)
        assert await runtime.start(names("b.service")) == {"b.service": JobResult.DONE}
        assert runtime.statuses()[UnitName("a.service")].active is ActiveState.ACTIVE


async def test_a_supervisor_that_is_told_to_end_stops_its_unit_properly(tmp_path: Path) -> None:
    text = "[Service]\nExecStart=/bin/sleep 1000\nExecStop=/bin/echo stopping\n"
    async with opened(process_runtime(tmp_path)) as runtime:
        await runtime.install([unit("a.service", text)])
        await runtime.start(names("a.service"))
        os.kill(supervisor_of(tmp_path, "a.service"), signal.SIGTERM)
        await until(lambda: runtime.statuses()[UnitName("a.service")].active == "inactive")
        assert await texts_of(runtime, "a.service") == ["stopping"]


async def test_a_directory_is_one_runtimes_at_a_time(tmp_path: Path) -> None:
    async with opened(process_runtime(tmp_path)):
        with pytest.raises(RuntimeRefused, match="in use"):
            await process_runtime(tmp_path).open()


async def test_names_and_directories_may_be_as_long_as_the_file_system_allows(
    tmp_path: Path,
) -> None:
    deep = tmp_path.joinpath(*["d" * 200] * 3)
    deep.mkdir(parents=True)
    name = "n" * 247 + ".service"
    async with opened(process_runtime(deep)) as runtime:
        await runtime.install([unit(name, "[Service]\nType=oneshot\nExecStart=/bin/echo long\n")])
        assert await runtime.start(names(name)) == {name: JobResult.DONE}
        assert await texts_of(runtime, name) == ["long"]


async def test_output_is_turned_over_and_keeps_its_newest_lines(tmp_path: Path) -> None:
    text = "[Service]\nType=oneshot\nExecStart=/usr/bin/seq 1 20000\n"
    async with opened(process_runtime(tmp_path, log_bytes=100_000)) as runtime:
        await runtime.install([unit("a.service", text)])
        await runtime.start(names("a.service"))
        logs = tmp_path / "units" / "logs"
        assert all(file.stat().st_size <= 100_000 for file in logs.iterdir())
        assert len(list(logs.iterdir())) == 2
        lines = await texts_of(runtime, "a.service")
        last = 20000
        assert lines == [str(number) for number in range(last - len(lines) + 1, last + 1)]
        assert len(lines) > 2000


async def test_a_line_that_never_ends_is_cut(tmp_path: Path) -> None:
    text = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'head -c 300000 /dev/zero | tr \"\\\\0\" x'\n"
    async with opened(process_runtime(tmp_path)) as runtime:
        await runtime.install([unit("a.service", text)])
        await runtime.start(names("a.service"))
        lines = await texts_of(runtime, "a.service")
        assert "".join(lines) == "x" * 300_000
        assert max(map(len, lines)) <= 65536


async def test_a_unit_that_runs_costs_no_processor_time(tmp_path: Path) -> None:
    def ticks(pid: int) -> int:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        return int(fields[11]) + int(fields[12])

    async with opened(process_runtime(tmp_path)) as runtime:
        await runtime.install([unit("a.service", SLEEP)])
        await runtime.start(names("a.service"))
        supervisor = supervisor_of(tmp_path, "a.service")
        await until(lambda: Path(f"/proc/{supervisor}/wchan").read_text() != "0")
        before = ticks(supervisor)
        await asyncio.sleep(1)
        assert ticks(supervisor) == before
