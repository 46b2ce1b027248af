"""The machines of the tests are what they claim to be. If one of these fails, distrust what other tests say of machines."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from dbus_fast import Message
from dbus_fast.aio import MessageBus

from argosy import __version__
from machines import cache
from machines.cgroups import hierarchies
from machines.fixtures import machine, on_machines
from machines.kit import Machines
from machines.machine import CommandFailed, Machine
from machines.root import USER

__all__ = ["machine"]
pytestmark = on_machines

TESTS = Path(__file__).parents[1]
COUNTING = """[Service]
ExecStart=/bin/sh -c 'while true; do date +%%s >>/root/counted; sleep 0.02; done'
ExecStop=/bin/sh -c 'echo stopped >>/root/stopped'
"""
SERVING = "[Service]\nExecStart=/bin/busybox nc -ll -p 7000 -e /bin/cat\n"


async def until(look: Callable[[], Awaitable[bool]], what: str, *, seconds: float = 10.0) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while not await look():
        assert asyncio.get_running_loop().time() < deadline, f"not within {seconds:.0f} s: {what}"
        await asyncio.sleep(0.02)


async def start(machine: Machine, name: str, text: str) -> None:
    await machine.put_file(f"/etc/systemd/system/{name}", text)
    await machine.run(["systemctl", "daemon-reload"])
    await machine.run(["systemctl", "start", name])


async def connected(
    machine: Machine, port: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to a program that may still be starting."""
    deadline = asyncio.get_running_loop().time() + 10
    while True:
        try:
            return await asyncio.open_connection(machine.address, port)
        except ConnectionRefusedError:
            assert asyncio.get_running_loop().time() < deadline, f"nobody listens at {port}"
            await asyncio.sleep(0.02)


async def hears(listener: Machine, address: str) -> bool:
    ping = ["ping", "-c1", "-W1", address]
    return (await listener.run(ping, check=False)).returncode == 0


# One machine


async def test_a_machine_runs_systemd_with_nothing_failed_and_nothing_left_to_do(
    machine: Machine,
) -> None:
    assert (await machine.run(["systemctl", "is-system-running"])).stdout.strip() == "running"
    assert (await machine.run(["cat", "/proc/1/comm"])).stdout.strip() == "systemd"
    assert Path(f"/proc/{machine.leader}/comm").read_text().strip() == "systemd"
    assert (await machine.run(["hostname"])).stdout.strip() == machine.name


async def test_a_machine_has_the_argosy_of_this_checkout(machine: Machine) -> None:
    assert (await machine.run(["argosy", "--version"])).stdout.strip() == f"argosy {__version__}"
    code = "import argosy.errors, dbus_fast, grpc, uvloop; print(argosy.errors.__file__)"
    installed = (await machine.run(["/opt/argosy/bin/python", "-c", code])).stdout.strip()
    here = TESTS.parent / "src/argosy/errors.py"
    assert await machine.read_file(installed) == here.read_text()


async def test_a_command_gets_input_environment_and_user_and_returns_what_it_printed(
    machine: Machine,
) -> None:
    script = 'read line; echo "$line $WORD $(id -un) $HOME"'
    done = await machine.run(["sh", "-c", script], input="a\n", env={"WORD": "b c"}, user=USER)
    assert done.stdout == f"a b c {USER} /home/{USER}\n"


async def test_a_command_that_fails_says_where_and_how(machine: Machine) -> None:
    with pytest.raises(CommandFailed, match=f"on {machine.name}: ls /nowhere .* 2: .*No such file"):
        await machine.run(["ls", "/nowhere"])


async def test_a_command_that_takes_too_long_is_dead_in_the_machine_too(machine: Machine) -> None:
    with pytest.raises(TimeoutError, match="sleep 12345"):
        await machine.run(["sh", "-c", "sleep 12345; true"], timeout=0.3)
    found = await machine.run(["pgrep", "-f", "^sleep 12345"], check=False)
    assert found.stdout == ""


async def test_files_go_in_and_out_with_their_mode(machine: Machine) -> None:
    await machine.put_file("/srv/some/where/file", "ä\n", mode=0o600)
    assert await machine.read_file("/srv/some/where/file") == "ä\n"
    mode = await machine.run(["stat", "-c", "%a %U", "/srv/some/where/file"])
    assert mode.stdout == "600 root\n"


async def test_the_host_speaks_to_a_machines_bus(machine: Machine) -> None:
    bus = await MessageBus(bus_address=f"unix:path={machine.bus_socket}").connect()
    try:
        name, path = "org.freedesktop.systemd1", "/org/freedesktop/systemd1"
        answer = await bus.call(
            Message(
                destination=name,
                path=path,
                interface=f"{name}.Manager",
                member="GetUnit",
                signature="s",
                body=["dbus.service"],
            )
        )
    finally:
        bus.disconnect()
    assert answer is not None
    assert answer.body == [f"{path}/unit/dbus_2eservice"]


async def test_a_user_has_a_manager_of_their_own(machine: Machine) -> None:
    await machine.run(["loginctl", "enable-linger", USER])

    async def is_there() -> bool:
        return machine.user_bus_socket.exists()

    await until(is_there, "the user's bus")
    words = ["systemd-run", "--user", "--wait", "--pipe", "--quiet", "id", "-un"]
    assert (await machine.run(words, user=USER)).stdout == f"{USER}\n"


async def test_the_journal_of_a_unit_is_there_entry_by_entry(machine: Machine) -> None:
    await start(machine, "talking.service", "[Service]\nType=oneshot\nExecStart=/bin/echo a word\n")
    await machine.run(["journalctl", "--sync"])
    entries = await machine.journal("talking.service")
    said = [e["MESSAGE"] for e in entries if e.get("_SYSTEMD_UNIT") == "talking.service"]
    assert said == ["a word"]


async def test_a_units_clock_is_wrong_by_what_was_asked_and_the_machines_is_not(
    machine: Machine,
) -> None:
    text = (
        "[Service]\nExecStart=/bin/sh -c 'while true; do date +%%s >/run/seen; sleep 0.05; done'\n"
    )
    await start(machine, "clock.service", text)
    for skew in (3600, -7200):
        await machine.skew_clock(skew, "clock.service")

        async def is_skewed(skew: int = skew) -> bool:
            script = "echo $(($(cat /run/seen) - $(date +%s)))"
            seen = int((await machine.run(["sh", "-c", script])).stdout)
            return abs(seen - skew) <= 2

        await until(is_skewed, f"a clock that is wrong by {skew} s")


# Power


async def test_a_power_cut_stops_everything_without_a_word_and_keeps_the_disk() -> None:
    async with Machines(1) as machines:
        [machine] = machines
        await start(machine, "counting.service", COUNTING)
        await start(machine, "serving.service", SERVING)
        reader, writer = await connected(machine, 7000)
        writer.write(b"hello\n")
        assert await reader.readline() == b"hello\n"
        first = await boot_id(machine)

        machine.kill()

        assert not machine.is_on
        with pytest.raises(TimeoutError):  # neither an end nor a reset arrives
            await asyncio.wait_for(reader.read(), 0.3)
        writer.transport.abort()
        assert not (machine.root / "root/stopped").exists()
        counted = (machine.root / "root/counted").read_text()

        await machine.boot()

        assert await machine.read_file("/root/counted") == counted
        assert await boot_id(machine) != first
        assert len({entry["_BOOT_ID"] for entry in await machine.journal()}) == 2


async def test_an_orderly_shutdown_stops_the_units_first() -> None:
    async with Machines(1) as machines:
        [machine] = machines
        await start(machine, "counting.service", COUNTING)
        await machine.shutdown()
        assert not machine.is_on
        # Of a machine that is off, the disk can be read.
        assert await machine.read_file("/root/stopped") == "stopped\n"


async def test_a_frozen_machine_accepts_connections_and_answers_when_it_goes_on() -> None:
    async with Machines(1) as machines:
        [machine] = machines
        await start(machine, "serving.service", SERVING)
        reader, writer = await connected(machine, 7000)
        machine.freeze()
        writer.write(b"hello\n")
        _, second = await asyncio.open_connection(machine.address, 7000)
        second.close()
        answer = asyncio.create_task(reader.readline())
        await asyncio.wait([answer], timeout=0.3)
        assert not answer.done()
        machine.thaw()
        assert await asyncio.wait_for(answer, 10) == b"hello\n"
        writer.close()
        machine.freeze()  # and a frozen machine can be taken away


async def boot_id(machine: Machine) -> str:
    return await machine.read_file("/proc/sys/kernel/random/boot_id")


# Several machines


async def test_machines_find_each_other_and_the_host_by_name() -> None:
    async with Machines(3) as machines:
        first, second, third = machines
        assert [m.name for m in machines] == ["m1", "m2", "m3"]
        assert len({await m.read_file("/etc/machine-id") for m in machines}) == 3
        for name in ("m2", "m3", "host"):
            assert await hears(first, name)
        assert await hears(third, second.address)


async def test_a_partition_is_silent_and_whole_until_it_is_healed() -> None:
    async with Machines(3) as machines:
        first, second, third = machines
        machines.partition([first], [second, third])
        heard = await asyncio.gather(
            hears(first, "m2"),
            hears(third, "m1"),
            hears(second, "m3"),
            hears(first, "host"),
            hears(third, "host"),
        )
        assert list(heard) == [False, False, True, True, True]
        # What was deaf stays deaf over a boot: the partition is of the network.
        await first.reboot()
        assert not await hears(first, "m2")
        machines.heal()
        assert await hears(first, "m2")
        assert await hears(third, "m1")


async def test_a_machine_sees_that_its_cable_is_pulled() -> None:
    async with Machines(1) as machines:
        [machine] = machines
        carrier = "/sys/class/net/eth0/carrier"
        first = (await machine.run(["cat", carrier])).stdout
        machine.pull_cable()
        second = (await machine.run(["cat", carrier])).stdout
        machine.plug_cable()
        assert (first, second) == ("1\n", "0\n")
        assert await hears(machine, "host")


async def test_a_slow_cable_delays_and_loses_and_the_others_do_not() -> None:
    async with Machines(2) as machines:
        slow, fast = machines
        slow.slow(delay=0.05)
        assert await round_trip(slow) >= 100
        assert await round_trip(fast) < 50
        slow.slow(loss=0.5)
        pings = ["ping", "-c200", "-i0.002", "-W1", "host"]
        lossy = (await slow.run(pings, check=False)).stdout
        received = int(lossy.split(" received")[0].split(", ")[-1])
        assert 10 < received < 90  # 50 of 200: half of the half
        slow.slow()
        assert await round_trip(slow) < 50


async def round_trip(machine: Machine) -> float:
    """Milliseconds to the host and back, at best."""
    done = await machine.run(["ping", "-c3", "-i0.02", "host"])
    return float(done.stdout.rpartition(" = ")[2].split("/")[0])


async def test_a_clone_has_the_disk_of_the_original_and_its_machine_id() -> None:
    async with Machines(1) as machines:
        [original] = machines
        await original.put_file("/etc/some-key", "secret\n", mode=0o600)
        clone = await machines.clone(original, "twin")
        assert await clone.read_file("/etc/some-key") == "secret\n"
        identity = await original.read_file("/etc/machine-id")
        assert await clone.read_file("/etc/machine-id") == identity
        assert clone.address != original.address
        assert await boot_id(clone) != await boot_id(original)
        await clone.run(["rm", "/etc/some-key"])
        assert await original.read_file("/etc/some-key") == "secret\n"


async def test_a_machine_runs_containers() -> None:
    async with Machines(1, argosy=False, docker=True) as machines:
        [machine] = machines
        await machine.run(["systemctl", "start", "docker.service"])
        image = "mkdir -p /tmp/i/bin && cp /bin/busybox /tmp/i/bin/sh && tar -C /tmp/i -c . | docker import - box"
        await machine.run(["sh", "-c", image])
        await machine.run(
            ["docker", "run", "--detach", "--name=one", "box", "sh", "-c", "sleep 600"]
        )
        words = [
            "docker",
            "run",
            "--rm",
            "--network=host",
            "box",
            "sh",
            "-c",
            "echo in $(hostname)",
        ]
        assert (await machine.run(words)).stdout == f"in {machine.name}\n"
        machine.kill()  # with a container that runs
        await machine.boot()
        await machine.run(["systemctl", "start", "docker.service"])
        state = await machine.run(["docker", "inspect", "--format={{.State.Status}}", "one"])
        assert state.stdout == "exited\n"


# What is left behind


async def test_two_kits_at_once_do_not_meet_and_leave_nothing() -> None:
    names = [f"one-{os.getpid()}", f"other-{os.getpid()}"]
    async with (
        Machines(names=names[:1], argosy=False) as ours,
        Machines(names=names[1:], argosy=False) as others,
    ):
        [mine], [theirs] = ours, others
        assert mine.address != theirs.address
        assert not await hears(mine, theirs.address)
        networks = [namespace_of(mine), namespace_of(theirs)]
        theirs.kill()
        assert await hears(mine, "host")
        assert traces(mine.name, networks[0]) != []
    assert [traces(*pair) for pair in zip(names, networks, strict=True)] == [[], []]


async def test_a_kit_that_cannot_start_leaves_nothing() -> None:
    name = f"same-{os.getpid()}"
    with pytest.raises(AssertionError, match=f"there is a machine {name} already"):
        await Machines(names=[name, name], argosy=False).start()
    assert traces(name, 0) == []


async def test_a_start_that_is_given_up_at_any_time_leaves_nothing() -> None:
    for moment in range(8):
        name = f"early-{os.getpid()}-{moment}"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05 * moment), Machines(names=[name], argosy=False):
                await asyncio.sleep(60)
        assert traces(name, 0) == []


async def test_what_a_killed_test_left_is_gone_before_the_next_kit_starts() -> None:
    name = f"relic-{os.getpid()}"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OWNER, name), cwd=TESTS, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    network = int(await process.stdout.readline())
    process.kill()
    await process.wait()
    assert traces(name, network) != []
    async with Machines(1, argosy=False):
        assert traces(name, network) == []


OWNER = """
import os, sys, time
from machines.fixtures import booted

with booted(names=sys.argv[1:], argosy=False) as machines:
    [machine] = machines
    machine.slow(delay=0.01)
    machine.freeze()
    print(os.stat(f"/proc/{machine.leader}/ns/net").st_ino, flush=True)
    time.sleep(600)
"""


def namespace_of(machine: Machine) -> int:
    return Path(f"/proc/{machine.leader}/ns/net").stat().st_ino


def traces(name: str, namespace: int) -> list[str]:
    """What there is on the host of the machine of that name, or was plugged into the network namespace."""
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if f"/{name}/" in line]
    groups = [place for top in hierarchies() for place in top.glob(f"argosy-tests-*/{name}")]
    disks = (cache.directory() / "running").glob(f"*/{name}")
    networks = [path for path in Path("/run/netns").iterdir() if path.stat().st_ino == namespace]
    programs = [pid for pid in Path("/proc").glob("[0-9]*") if f"/{name}/" in words_of(pid)]
    return [*mounts, *map(str, (*groups, *disks, *networks, *programs))]


def words_of(process: Path) -> str:
    try:
        return (process / "cmdline").read_text(errors="replace").replace("\0", " ")
    except OSError:  # it has ended meanwhile
        return ""


# What is built once


def test_a_build_that_dies_leaves_nothing_that_looks_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARGOSY_TEST_CACHE", str(tmp_path))

    def die_half_way(place: Path) -> None:
        (place / "half").touch()
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        cache.built("thing", "1", die_half_way)
    whole = cache.built("thing", "1", lambda place: (place / "whole").touch())
    assert [path.name for path in whole.iterdir()] == ["whole"]


def test_many_who_want_the_same_thing_build_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARGOSY_TEST_CACHE", str(tmp_path))
    builds: list[Path] = []
    with ThreadPoolExecutor(8) as workers:
        places = list(workers.map(lambda _: cache.built("thing", "1", builds.append), range(8)))
    assert len(builds) == 1
    assert set(places) == {tmp_path / "thing-1"}
