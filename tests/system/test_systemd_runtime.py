"""The systemd runtime beside people, faults and other units of a real machine; what every runtime promises is tested by its
contract (`test_systemd_contract.py`)."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from argosy.errors import RuntimeBusy
from argosy.model.ids import UnitName
from argosy.model.observed import ActiveState, LoadState, UnitStatus
from argosy.runtime.base import JobResult, RunnableUnit, Runtime
from argosy.runtime.systemd.runtime import SystemdRuntime
from contract.runtime_kit import names, opened, texts_of, texts_until, unit, until
from machines.fixtures import machine, on_machines
from machines.machine import Machine
from system.systemd_place import place_of

__all__ = ["machine"]
pytestmark = on_machines

TESTS = Path(__file__).parents[1]
UNITS = "/run/systemd/system"
SLEEP = "[Service]\nExecStart=/bin/sleep 1000\n"
DONE, FAILED = JobResult.DONE, JobResult.FAILED


@pytest.fixture
async def runtime(machine: Machine) -> AsyncIterator[Runtime]:
    async with opened(SystemdRuntime(place_of(machine))) as runtime:
        yield runtime


def status(runtime: Runtime, name: str) -> UnitStatus:
    return runtime.statuses()[UnitName(name)]


async def eventually(look: Callable[[], Awaitable[bool]], what: str) -> None:
    async with asyncio.timeout(10):
        while not await look():
            await asyncio.sleep(0.02)
    assert await look(), what


async def shown(machine: Machine, name: str, *properties: str) -> dict[str, str]:
    """What systemd says of a unit."""
    asked = ["systemctl", "show", f"--property={','.join(properties)}", name]
    lines = (await machine.run(asked)).stdout.splitlines()
    return dict(line.split("=", 1) for line in lines)


async def starts(machine: Machine, name: str) -> list[str]:
    """The invocations that the journal knows of a unit: one for each time that it was started."""
    entries = await machine.journal(name)
    found = [entry.get("INVOCATION_ID") or entry.get("_SYSTEMD_INVOCATION_ID") for entry in entries]
    return list(dict.fromkeys(word for word in found if word))


# --- what people do on the machine ------------------------------------------------------------------------------------


async def test_a_unit_that_was_edited_by_hand_is_shown_and_not_overwritten(
    machine: Machine, runtime: Runtime
) -> None:
    await runtime.install([unit("a.service", SLEEP), unit("b.service", SLEEP)])
    await runtime.start(names("a.service", "b.service"))
    edited = "[Service]\nExecStart=/bin/sleep 2000\n"
    await machine.put_file(f"{UNITS}/a.service", edited)
    await machine.run(["systemctl", "daemon-reload"])
    await until(lambda: "changed by hand" in status(runtime, "a.service").altered)
    assert status(runtime, "b.service").altered == ""
    newer = SLEEP + "Nice=1\n"
    refused = await runtime.install([unit("a.service", newer), unit("b.service", newer)])
    assert set(refused) == {"a.service"}
    assert await machine.read_file(f"{UNITS}/a.service") == edited
    _, _, way_out = refused[UnitName("a.service")].hint.partition("on the machine: ")
    await machine.run(["sh", "-c", way_out])
    await until(lambda: status(runtime, "a.service").digest is None)
    assert await runtime.install([unit("a.service", newer)]) == {}
    assert status(runtime, "a.service").altered == ""
    assert await machine.read_file(f"{UNITS}/a.service") == newer


async def test_variables_that_were_edited_by_hand_are_shown_and_not_overwritten(
    machine: Machine, runtime: Runtime
) -> None:
    await runtime.install([unit("a.service", SLEEP, GIVEN="1")])
    drop_in = f"{UNITS}/a.service.d/10-argosy.conf"
    edited = (await machine.read_file(drop_in)).replace("GIVEN=1", "GIVEN=2")
    await machine.put_file(drop_in, edited)
    await machine.run(["systemctl", "daemon-reload"])
    await until(lambda: f"{drop_in} was changed by hand" in status(runtime, "a.service").altered)
    [problem] = (await runtime.install([unit("a.service", SLEEP, GIVEN="3")])).values()
    assert await machine.read_file(drop_in) == edited
    await machine.run(["sh", "-c", problem.hint.partition("on the machine: ")[2]])
    assert await runtime.install([unit("a.service", SLEEP, GIVEN="3")]) == {}
    assert "GIVEN=3" in await machine.read_file(drop_in)


async def test_an_edit_that_systemd_was_not_told_of_is_shown_at_the_next_start(
    machine: Machine, runtime: Runtime
) -> None:
    await runtime.install([unit("a.service", SLEEP)])
    await machine.put_file(f"{UNITS}/a.service", "[Service]\nExecStart=/bin/sleep 2000\n")
    await runtime.start(names("a.service"))
    assert "changed by hand" in status(runtime, "a.service").altered


async def test_drop_ins_and_masks_of_people_are_shown_and_hold(
    machine: Machine, runtime: Runtime
) -> None:
    await runtime.install([unit("a.service", SLEEP), unit("b.service", SLEEP)])
    drop_in = "/etc/systemd/system/a.service.d/override.conf"
    await machine.put_file(drop_in, "[Service]\nEnvironment=BY=people\n")
    await machine.run(["systemctl", "mask", "b.service"])
    await machine.run(["systemctl", "set-property", "a.service", "CPUWeight=50"])
    await machine.run(["systemctl", "daemon-reload"])
    await until(lambda: status(runtime, "b.service").load is LoadState.MASKED)
    assert "/etc/systemd/system/b.service masks it" in status(runtime, "b.service").altered
    await until(lambda: "CPUWeight.conf adds to it" in status(runtime, "a.service").altered)
    assert f"{drop_in} adds to it" in status(runtime, "a.service").altered
    started = await runtime.start(names("a.service", "b.service"))
    assert started == {"a.service": DONE, "b.service": FAILED}
    found = await shown(machine, "a.service", "Environment", "CPUWeight")
    assert found == {"Environment": "BY=people", "CPUWeight": "50"}
    await machine.run(["systemctl", "unmask", "b.service"])
    places = [f"/etc/systemd/{place}/a.service.d" for place in ("system", "system.control")]
    await machine.run(["rm", "-r", *places])
    await machine.run(["systemctl", "daemon-reload"])
    await until(lambda: not any(one.altered for one in runtime.statuses().values()))
    assert await runtime.start(names("b.service")) == {"b.service": DONE}


async def test_units_of_the_machine_are_refused_under_every_name(
    machine: Machine, runtime: Runtime
) -> None:
    await machine.put_file("/etc/systemd/system/theirs@.service", SLEEP)
    foreign = [
        "ssh.service",  # not running
        "systemd-journald.service",
        "dbus-org.freedesktop.login1.service",  # an alias
        "theirs@1.service",
        "apt-daily.timer",  # masked
        "multi-user.target",
    ]
    before = await machine.read_file("/usr/lib/systemd/system/ssh.service")
    units = [unit(name, SLEEP) for name in (*foreign, "theirs@.service", "mine.service")]
    refused = await runtime.install(units)
    assert set(refused) == {*foreign, "theirs@.service"}
    assert "/lib/systemd/system/ssh.service" in str(refused[UnitName("ssh.service")])
    assert set(runtime.statuses()) == {"mine.service"}
    await runtime.stop(names(*foreign))
    await runtime.remove(names(*foreign))
    assert await machine.read_file("/usr/lib/systemd/system/ssh.service") == before
    found = await shown(machine, "systemd-journald.service", "ActiveState", "DropInPaths")
    assert found == {"ActiveState": "active", "DropInPaths": ""}


async def test_a_mark_that_is_no_longer_there_makes_a_unit_somebody_elses(machine: Machine) -> None:
    async with opened(SystemdRuntime(place_of(machine))) as first:
        await first.install([unit("a.service", SLEEP)])
        await first.start(names("a.service"))
        await machine.run(["rm", "-r", f"{UNITS}/a.service.d"])
        second = SystemdRuntime(place_of(machine))
        await second.open()
        try:
            assert second.statuses() == {}
            assert set(await second.install([unit("a.service", SLEEP)])) == {"a.service"}
        finally:
            await second.close()
    assert (await shown(machine, "a.service", "LoadState"))["LoadState"] == "not-found"


# --- faults of what it speaks to --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ["systemctl", "daemon-reload"],
        ["systemctl", "daemon-reexec"],
        ["systemctl", "restart", "dbus.service"],
    ],
    ids=" ".join,
)
async def test_units_and_their_news_survive(
    machine: Machine, runtime: Runtime, command: list[str]
) -> None:
    await runtime.install([unit("a.service", SLEEP), unit("b.service", SLEEP)])
    await runtime.start(names("a.service", "b.service"))
    before = status(runtime, "a.service")
    b = status(runtime, "b.service").main_pid
    await machine.run(command)
    await machine.run(["systemctl", "kill", "--signal=SIGKILL", "b.service"])
    await until(lambda: status(runtime, "b.service").active is ActiveState.FAILED)
    assert status(runtime, "b.service").exit_signal == "SIGKILL"
    assert await done_in_the_end(runtime, "b.service") is DONE
    assert status(runtime, "b.service").main_pid not in (None, b)
    assert status(runtime, "a.service") == before


async def done_in_the_end(runtime: Runtime, name: str) -> JobResult:
    """Start it; while the connection is being made anew, calls are refused as busy."""
    async with asyncio.timeout(10):
        while True:
            try:
                return (await runtime.start(names(name)))[UnitName(name)]
            except RuntimeBusy:
                await asyncio.sleep(0.05)


HOLDER = """
import asyncio, json, sys
from argosy.runtime.systemd.place import Place
from argosy.runtime.systemd.runtime import SystemdRuntime
from contract.runtime_kit import names, unit
from pathlib import Path

async def main():
    wanted = json.loads(sys.argv[3])
    place = Place(address=sys.argv[1], root=Path(sys.argv[2]), journalctl=("false",))
    runtime = SystemdRuntime(place)
    await runtime.open()
    await runtime.install([unit(name, text) for name, text in wanted["units"].items()])
    if wanted["armed"]:
        await runtime.start(names(*wanted["armed"]))
        await runtime.arm(names(*wanted["armed"]), within=wanted["within"])
    print("installed", flush=True)
    await runtime.start(names(*wanted["started"]))
    print("started", flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""


async def hold(
    machine: Machine,
    units: dict[str, str],
    *,
    started: list[str],
    armed: list[str] | None = None,
    within: float = 0.0,
) -> asyncio.subprocess.Process:
    """Another process with a runtime, for the test to kill; it says `installed`, then `started`."""
    place = place_of(machine)
    wanted = {"units": units, "started": started, "armed": armed or [], "within": within}
    words = [place.address, str(place.root), json.dumps(wanted)]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", HOLDER, *words),
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"installed\n"
    return process


async def kill(process: asyncio.subprocess.Process) -> None:
    process.kill()
    await process.communicate()


async def test_who_dies_in_the_middle_of_starting_bounces_nothing(machine: Machine) -> None:
    text = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sleep 0.3\n"
    units = {f"u{number}.service": text for number in range(100)}
    process = await hold(machine, units, started=list(units))
    place = place_of(machine)

    async def is_half_done() -> bool:
        asked = ["systemctl", "list-units", "--no-legend", "--state=active,activating", "u*"]
        return len((await machine.run(asked)).stdout.splitlines()) >= 50

    await eventually(is_half_done, "fifty of a hundred units begun")
    await kill(process)
    async with opened(SystemdRuntime(place)) as runtime:
        assert set(runtime.statuses()) == set(units)
        installed = [unit(name, text) for name, text in units.items()]
        assert await runtime.install(installed) == {}
        results = await runtime.start(names(*units))
        assert set(results.values()) == {DONE}
        assert all(one.sub == "exited" for one in runtime.statuses().values())
        for name in ("u0.service", "u50.service", "u99.service"):
            assert len(await starts(machine, name)) == 1


async def test_a_new_runtime_knows_how_its_units_stand(machine: Machine) -> None:
    texts = {
        "runs.service": SLEEP,
        "failed.service": "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo why; exit 4'\n",
        "over.service": "[Service]\nType=oneshot\nExecStart=/bin/true\n",
        "never.service": SLEEP,
    }
    async with opened(SystemdRuntime(place_of(machine))) as first:
        await first.install([unit(name, text) for name, text in texts.items()])
        await first.start(names("runs.service", "failed.service", "over.service"))
        second = SystemdRuntime(place_of(machine))
        await second.open()
        try:
            await until(lambda: status(second, "failed.service").last_lines == ("why",))
            forgotten = {
                "over.service"
            }  # systemd keeps no exit codes of units that are not in memory
            for name in texts.keys() - forgotten:
                assert status(second, name) == status(first, name)
            over = status(second, "over.service")
            assert (over.active, over.has_run) == (ActiveState.INACTIVE, True)
            assert not status(second, "never.service").has_run
        finally:
            await second.close()


# --- the dead man's switch --------------------------------------------------------------------------------------------


async def test_armed_units_are_stopped_though_whoever_armed_them_is_dead(machine: Machine) -> None:
    stubborn = (
        "[Service]\nType=exec\nTimeoutStopSec=1000\n"
        "ExecStart=/bin/sh -c 'trap \"\" TERM; while :; do sleep 0.1; done'\n"
    )
    polite = "[Service]\nExecStart=/bin/sleep 1000\nExecStopPost=/bin/echo stopped properly\n"
    bounded = RunnableUnit(
        name=UnitName("stubborn.service"),
        digest=unit("stubborn.service", stubborn).digest,
        text=stubborn.encode(),
        stop_within=0.5,
    )
    process = await hold(
        machine,
        {"polite.service": polite, "free.service": SLEEP},
        started=["free.service"],
        armed=["polite.service"],
        within=1.5,
    )
    assert process.stdout is not None and await process.stdout.readline() == b"started\n"
    await kill(process)
    async with opened(SystemdRuntime(place_of(machine))) as runtime:
        await runtime.install([bounded])
        await runtime.start(names("stubborn.service"))
        await runtime.arm(names("stubborn.service"), within=0.3)
        await until(lambda: status(runtime, "stubborn.service").active is ActiveState.FAILED)
        await until(lambda: status(runtime, "polite.service").active is ActiveState.INACTIVE)
        assert status(runtime, "polite.service").cut_off
        later = SystemdRuntime(place_of(machine))
        await later.open()
        assert status(later, "polite.service").cut_off
        assert not status(later, "free.service").cut_off
        await later.close()
        assert status(runtime, "stubborn.service").cut_off
        assert status(runtime, "stubborn.service").exit_signal == "SIGKILL"
        assert status(runtime, "free.service").active is ActiveState.ACTIVE
        assert await texts_of(runtime, "polite.service") == ["stopped properly"]
        await runtime.start(names("polite.service"))
        assert not status(runtime, "polite.service").cut_off


async def test_what_is_started_again_is_not_killed_by_what_had_stopped_it(runtime: Runtime) -> None:
    bounded = RunnableUnit(
        name=UnitName("a.service"),
        digest=unit("a.service", SLEEP).digest,
        text=SLEEP.encode(),
        stop_within=1.0,
    )
    await runtime.install([bounded])
    await runtime.start(names("a.service"))
    await runtime.arm(names("a.service"), within=0.1)
    await until(lambda: status(runtime, "a.service").cut_off)
    # It has ended at once; what would kill it after a second still waits.
    await runtime.arm(names("a.service"), within=1000)
    await runtime.start(names("a.service"))
    pid = status(runtime, "a.service").main_pid
    await asyncio.sleep(1.5)
    assert status(runtime, "a.service").active is ActiveState.ACTIVE
    assert status(runtime, "a.service").main_pid == pid


async def test_arming_again_puts_the_stop_off_and_a_new_text_takes_it_back(
    machine: Machine, runtime: Runtime
) -> None:
    await runtime.install([unit("a.service", SLEEP), unit("b.service", SLEEP)])
    await runtime.start(names("a.service", "b.service"))
    await runtime.arm(names("a.service", "b.service"), within=0.8)
    began = asyncio.get_running_loop().time()
    await runtime.arm(names("a.service"), within=1000)
    await until(lambda: status(runtime, "b.service").cut_off)
    assert asyncio.get_running_loop().time() - began > 0.5
    assert status(runtime, "a.service").active is ActiveState.ACTIVE
    await runtime.install([unit("a.service", SLEEP + "Nice=1\n")])
    timers = (await machine.run(["systemctl", "list-timers", "argosy-*", "--all"])).stdout
    assert "0 timers listed" in timers


# --- what units are given, and what they leave ------------------------------------------------------------------------


async def test_variables_are_given_as_they_are_whatever_is_in_them(
    machine: Machine, runtime: Runtime
) -> None:
    variables = {
        "NEWLINE": "one\nExecStartPre=/bin/touch /root/injected\n[Service]",
        "PERCENT": "%n %h 100%",
        "QUOTES": "\"'\\ $HOME ${HOME} `id` ; #",
        "SPACES": "  two  ",
        "EMPTY": "",
        "WORDS": "schön 🐟",
        "MINE": "by argosy",
    }
    text = (
        "[Service]\nType=oneshot\nEnvironment=MINE=by-the-text\nStandardOutput=file:/root/variables\n"
        "ExecStart=/usr/bin/env -0\n"
    )
    await runtime.install([unit("a.service", text, **variables)])
    assert await runtime.start(names("a.service")) == {"a.service": DONE}
    printed = (await machine.run(["cat", "/root/variables"])).stdout
    found = dict(word.split("=", 1) for word in printed.split("\0") if word)
    wanted = variables | {"MINE": "by-the-text"}
    assert {name: found.get(name) for name in wanted} == wanted
    assert (await machine.run(["ls", "/root"])).stdout.split() == ["variables"]
    refused = await runtime.install([unit("b.service", text, NUL="a\0b")])
    assert "NUL" in str(refused[UnitName("b.service")])
    assert set(runtime.statuses()) == {"a.service"}
    mode = await machine.run(["stat", "-c", "%a", f"{UNITS}/a.service.d/10-argosy.conf"])
    assert mode.stdout == "600\n"


async def test_what_stops_a_unit_runs_to_its_end_before_the_unit_is_gone(
    machine: Machine, runtime: Runtime
) -> None:
    text = (
        "[Service]\nExecStart=/bin/sleep 1000\n"
        "ExecStop=/bin/sh -c 'sleep 0.4; echo stop >>/root/ends'\n"
        "ExecStopPost=/bin/sh -c 'sleep 0.4; echo stop-post >>/root/ends'\n"
    )
    await runtime.install([unit("a.service", text)])
    await runtime.start(names("a.service"))
    await runtime.remove(names("a.service"))
    assert await machine.read_file("/root/ends") == "stop\nstop-post\n"
    assert (await machine.run(["ls", UNITS])).stdout == ""
    await machine.run(["rm", "/root/ends"])


async def test_a_failed_unit_tells_how_and_what_it_said_last(runtime: Runtime) -> None:
    pre = "[Service]\nExecStartPre=/bin/sh -c 'echo not today; sleep 0.2; exit 3'\nExecStart=/bin/sleep 1\n"
    oom = "[Service]\nType=exec\nExecStart=/bin/sh -c 'echo here; kill -SEGV $$$$'\n"
    missing = "[Service]\nType=exec\nExecStart=/no/such/program\n"
    await runtime.install(
        [unit("pre.service", pre), unit("crash.service", oom), unit("missing.service", missing)]
    )
    await runtime.start(names("pre.service", "crash.service", "missing.service"))
    failed = status(runtime, "pre.service")
    assert (failed.active, failed.result) == (ActiveState.FAILED, "exit-code")
    assert failed.failed_command == "ExecStartPre=/bin/sh -c 'echo not today; sleep 0.2; exit 3'"
    assert failed.last_lines == ("not today",)
    await until(lambda: bool(status(runtime, "crash.service").failed_command))
    crashed = status(runtime, "crash.service")
    assert (crashed.result, crashed.exit_signal) in (
        ("signal", "SIGSEGV"),
        ("core-dump", "SIGSEGV"),
    )
    assert crashed.last_lines == ("here",)
    assert status(runtime, "missing.service").exit_code == 203


async def test_units_of_every_type_run(machine: Machine, runtime: Runtime) -> None:
    echo = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/echo ran\n"
    texts = {
        "a.socket": "[Socket]\nListenStream=127.0.0.1:7411\n",
        "a.service": "[Service]\nExecStart=/bin/sleep 1000\n",
        "b.timer": "[Timer]\nOnActiveSec=100ms\nAccuracySec=10ms\n",
        "b.service": echo,
        "c.path": "[Path]\nPathExists=/root/wake\n",
        "c.service": echo,
        "srv-data.mount": "[Mount]\nWhat=tmpfs\nWhere=/srv/data\nType=tmpfs\n",
        "all.target": "[Unit]\nWants=d.service\n",
        "d.service": "[Service]\nSlice=small.slice\nExecStart=/bin/sleep 1000\n",
        "small.slice": "[Slice]\nTasksMax=7\n",
    }
    assert (
        await runtime.install([unit(name, text, ADDED="1") for name, text in texts.items()]) == {}
    )
    wanted = names("a.socket", "b.timer", "c.path", "srv-data.mount", "all.target", "small.slice")
    assert await runtime.start(wanted) == dict.fromkeys(wanted, DONE)
    active = {name for name, one in runtime.statuses().items() if one.active is ActiveState.ACTIVE}
    assert active >= {*wanted, "d.service"} - {"b.timer"}
    assert status(runtime, "a.socket").sub == "listening"
    assert status(runtime, "srv-data.mount").sub == "mounted"
    await texts_until(runtime, "b.service", ["ran"])
    assert status(runtime, "c.service").active is ActiveState.INACTIVE
    await machine.put_file("/root/wake", "")
    await until(lambda: status(runtime, "c.service").active is ActiveState.ACTIVE)
    await machine.run(["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/7411"])
    await until(lambda: status(runtime, "a.service").active is ActiveState.ACTIVE)
    group = (await shown(machine, "d.service", "ControlGroup"))["ControlGroup"]
    assert group == "/small.slice/d.service"
    await runtime.remove(names(*texts))
    assert (await machine.run(["ls", UNITS])).stdout == ""
    assert (await machine.run(["mountpoint", "/srv/data"], check=False)).returncode != 0
    await machine.run(["rm", "/root/wake"])


async def test_install_sections_hold_between_units_that_are_here(
    machine: Machine, runtime: Runtime
) -> None:
    wanted = SLEEP + "[Install]\nWantedBy=shop.target multi-user.target absent.target\n"
    required = SLEEP + "[Install]\nRequiredBy=%p.target\nAlias=other-name.service\n"
    await runtime.install([unit("web.service", wanted), unit("shop@1.service", required)])
    assert (await machine.run(["ls", UNITS])).stdout.split() == [
        "shop@1.service",
        "shop@1.service.d",
        "web.service",
        "web.service.d",
    ]
    await runtime.install([unit("shop.target", "[Unit]\n")])
    assert await runtime.start(names("shop.target")) == {"shop.target": DONE}
    await until(
        lambda: all(one.sub in ("running", "active") for one in runtime.statuses().values())
    )
    found = await shown(machine, "shop.target", "Wants", "Requires")
    assert found == {"Wants": "web.service", "Requires": "shop@1.service"}
    await runtime.install([unit("web.service", SLEEP)])
    assert (await shown(machine, "shop.target", "Wants")) == {"Wants": ""}
    await runtime.remove(names("shop.target"))
    assert status(runtime, "shop@1.service").active is ActiveState.ACTIVE
    assert not [
        name for name in (await machine.run(["ls", UNITS])).stdout.split() if "target" in name
    ]


async def test_two_runtimes_of_one_manager_leave_each_other_alone(machine: Machine) -> None:
    place = place_of(machine)
    async with (
        opened(SystemdRuntime(place, owner="one")) as one,
        opened(SystemdRuntime(place, owner="two")) as two,
    ):
        assert await one.install([unit("a.service", SLEEP)]) == {}
        await one.start(names("a.service"))
        assert set(await two.install([unit("a.service", SLEEP)])) == {"a.service"}
        await two.stop(names("a.service"))
        await two.remove(names("a.service"))
        third = SystemdRuntime(place, owner="two")
        await third.open()
        assert third.statuses() == {}
        await third.close()
        assert status(one, "a.service").active is ActiveState.ACTIVE


# --- many at once -----------------------------------------------------------------------------------------------------


async def test_five_hundred_units_start_at_once_and_go_at_once(
    machine: Machine, runtime: Runtime
) -> None:
    units = [unit(f"u{number}.service", SLEEP) for number in range(500)]
    wanted = [one.name for one in units]
    assert await runtime.install(units) == {}
    assert set((await runtime.start(wanted)).values()) == {DONE}
    assert all(one.active is ActiveState.ACTIVE for one in runtime.statuses().values())
    found = await machine.run(["systemctl", "list-units", "--no-legend", "--state=running", "u*"])
    assert len(found.stdout.splitlines()) == 500
    await runtime.remove(wanted)
    assert runtime.statuses() == {}
    assert (await machine.run(["ls", UNITS])).stdout == ""


async def test_many_that_hang_hold_up_nobody_and_can_be_stopped(
    runtime: Runtime,
) -> None:
    hanging = {
        f"hangs{number}.service": "[Service]\nType=notify\nExecStart=/bin/sleep 1000\n"
        for number in range(150)
    }
    good = {f"good{number}.service": SLEEP for number in range(20)}
    await runtime.install([unit(name, text) for name, text in (hanging | good).items()])
    starting = asyncio.create_task(runtime.start(names(*hanging, *good)))
    await until(
        lambda: all(status(runtime, name).active is ActiveState.ACTIVE for name in good),
        what="twenty good units behind 150 that hang",
    )
    async with asyncio.timeout(10):
        assert set((await runtime.stop(names(*hanging))).values()) == {DONE}
        results = await starting
    assert {results[UnitName(name)] for name in hanging} == {JobResult.CANCELED}


async def test_bad_units_delay_no_good_ones(machine: Machine, runtime: Runtime) -> None:
    bad = {
        "never-ready.service": "[Service]\nType=notify\nExecStart=/bin/sleep 1000\n",
        "hangs.service": "[Service]\nExecStartPre=/bin/sleep 1000\nExecStart=/bin/true\n",
        "crashes.service": "[Service]\nRestart=always\nRestartSec=10ms\nExecStart=/bin/false\n",
        "not-a-unit.service": "[Service]\nType=simple\n",
        "waits.service": "[Unit]\nRequires=hangs.service\nAfter=hangs.service\n" + SLEEP,
    }
    good = {f"good{number}.service": SLEEP for number in range(20)}
    await runtime.install([unit(name, text) for name, text in (bad | good).items()])
    starting = asyncio.create_task(runtime.start(names(*bad, *good)))
    await until(
        lambda: all(status(runtime, name).active is ActiveState.ACTIVE for name in good),
        what="twenty good units",
    )
    assert not starting.done()
    assert status(runtime, "not-a-unit.service").load is LoadState.BAD_SETTING
    await runtime.stop(names(*bad))
    results = await starting
    assert {results[UnitName(name)] for name in good} == {DONE}
    assert {results[UnitName(name)] for name in ("never-ready.service", "hangs.service")} == {
        JobResult.CANCELED
    }
