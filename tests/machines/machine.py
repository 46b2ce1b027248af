"""One machine: a disk of its own, a place on the network, and a real systemd that boots from the one onto the other.

`kill` is a power cut: no process learns of it and no connection is closed. The disk stays, and `boot` boots from it again.
What `run` starts is in the machine's namespaces but not in its control groups, as the hands of somebody at the keyboard: it
still works while the machine is frozen. Of a machine that is off, `run` works on the disk alone.

Nothing here belongs to one event loop: a machine booted in one may be used from the next.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from machines import overlay
from machines.cgroups import Group
from machines.network import Network
from machines.root import USER, USER_ID

T = TypeVar("T")
BOOT_SECONDS = 60.0
RUN_SECONDS = 60.0
DBUS = "org.freedesktop.DBus"
NSENTER, CHROOT = "/usr/bin/nsenter", "/usr/sbin/chroot"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# The first words name files to write our process id to; what follows is the program that we become.
ENTER = 'while [ "$1" != -- ]; do echo $$ >"$1" || exit 1; shift; done; shift; exec "$@"'


async def in_thread(work: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """asyncio.to_thread, but one that is cancelled still waits for the end: what tidies up must not be overtaken."""
    task = asyncio.create_task(asyncio.to_thread(work, *arguments, **named))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


class CommandFailed(subprocess.CalledProcessError):
    """A command in a machine ended with another status than 0; the message shows what it printed."""

    def __init__(self, machine: str, done: subprocess.CompletedProcess[str]) -> None:
        super().__init__(done.returncode, done.args, done.stdout, done.stderr)
        self.machine = machine

    def __str__(self) -> str:
        printed = (self.stdout + self.stderr).strip()
        return f"on {self.machine}: {' '.join(self.cmd)} ended with {self.returncode}: {printed}"


class BootFailed(RuntimeError):
    """A machine did not come up; the message ends with its console."""


class Machine:
    """See the module. `name` is its host name, by which the kit's other machines find it."""

    def __init__(
        self,
        name: str,
        *,
        number: int,
        directory: Path,
        lower: Sequence[Path],
        group: Group,
        network: Network,
        docker: bool = False,
        shared: Sequence[Path] = (),
    ) -> None:
        self.name = name
        self.address = network.address(number)
        self.root = directory / "root"
        """Its file system as the host sees it, without what is mounted inside (/run, /tmp). Absolute
        symlinks in it lead to the host: read and write by `read_file` and `put_file`."""
        self.disk = directory / "disk"
        """What it has changed of the file system that it was booted from."""
        self._number = number
        self._directory = directory
        self._lower = lower
        self._group = group
        self._network = network
        self._docker = docker
        self._shared = shared
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def __repr__(self) -> str:
        return f"<machine {self.name} {self.address}{'' if self.is_on else ' off'}>"

    @property
    def is_on(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def leader(self) -> int:
        """The process id of its systemd, as the host counts."""
        assert self.is_on, f"{self.name} is off"
        return self._leader

    @property
    def bus_socket(self) -> Path:
        """Its system bus, for a client on the host. Another path after each boot."""
        return Path(f"/proc/{self.leader}/root/run/dbus/system_bus_socket")

    @property
    def user_bus_socket(self) -> Path:
        """The bus of `argosy-user`, whose manager runs once it lingers: `run(["loginctl", "enable-linger", USER])`."""
        return Path(f"/proc/{self.leader}/root/run/user/{USER_ID}/bus")

    # The disk

    def prepare(self, *, image: Path | None = None, files: Mapping[str, str]) -> None:
        """Make its disk, from a copy of another machine's if an image is given, and mount it."""
        if image is not None:
            self._directory.mkdir(parents=True)
            # -a keeps overlayfs' own marks: extended attributes and whiteouts.
            subprocess.run(["cp", "-a", "--reflink=auto", str(image), str(self.disk)], check=True)
        overlay.mount(self.root, lower=self._lower, upper=self.disk, work=self._directory / "work")
        if image is None:
            (self.root / "etc/machine-id").write_text(uuid.uuid4().hex + "\n")
        for name, text in files.items():
            (self.root / name).write_text(text)
        (self.root / "etc/hostname").write_text(self.name + "\n")

    # Power

    async def boot(self, *, timeout: float = BOOT_SECONDS) -> None:
        """Switch it on and wait until systemd has started everything (or failed to) and the bus answers."""
        assert not self.is_on, f"{self.name} is on already"
        notify = self._directory / "notify"
        notify.unlink(missing_ok=True)
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as receiver:
            receiver.setblocking(False)
            receiver.bind(str(notify))
            await in_thread(self._power_on, notify)
            try:
                async with asyncio.timeout(timeout):
                    await self._wait_until_ready(receiver)
                    await self.run(["busctl", "call", DBUS, "/org/freedesktop/DBus", DBUS, "GetId"])
            except TimeoutError:
                raise BootFailed(
                    f"{self.name} did not boot within {timeout:.0f} s. Console: {self.console()}"
                ) from None

    async def shutdown(self, *, timeout: float = RUN_SECONDS) -> None:
        """Switch it off in an orderly way: every unit is stopped first."""
        assert self._process is not None
        await self.run(["systemctl", "poweroff"], check=False)
        await asyncio.to_thread(self._process.wait, timeout)
        self.kill()

    def kill(self) -> None:
        """Cut its power. Returns when no process of it is left; nothing happens to one that is off."""
        self._network.unplug(self._number)
        self._group.kill()
        if self._process is not None:
            self._process.wait()
            self._process = None
        self._group.remove()

    async def reboot(self, *, timeout: float = BOOT_SECONDS) -> None:
        """Cut its power and switch it on again."""
        await in_thread(self.kill)
        await self.boot(timeout=timeout)

    def freeze(self) -> None:
        """Stop every process where it stands; its kernel still answers pings and accepts connections, as under SIGSTOP."""
        self._group.freeze(is_frozen=True)

    def thaw(self) -> None:
        """Let them go on."""
        self._group.freeze(is_frozen=False)

    def console(self) -> str:
        """What it printed since it was switched on, at most the last lines."""
        text = (self._directory / "console").read_text(errors="replace")
        return "\n".join(text.splitlines()[-30:])

    # Network

    def pull_cable(self) -> None:
        """Its link is down, and it sees that; `Machines.partition` cuts it off without a sign."""
        self._network.set_cable(self._number, is_plugged=False)

    def plug_cable(self) -> None:
        self._network.set_cable(self._number, is_plugged=True)

    def slow(self, *, delay: float = 0.0, loss: float = 0.0) -> None:
        """Whatever it sends and receives takes `delay` seconds longer, and that part of it is lost (0.01: one packet in
        a hundred), from now on and after its next boots. Without arguments the cable is good again.
        """
        self._network.set_speed(self._number, delay=delay, loss=loss)

    # Inside

    async def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        timeout: float = RUN_SECONDS,
        input: str | bytes | None = None,  # noqa: A002 (subprocess.run calls it so)
        user: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the machine, as root or as `argosy-user`, and return what it printed.

        The environment is that of a login, and `env`. Raises CommandFailed unless it ends with status 0 (or
        `check` is off), TimeoutError after so many seconds, when it has been killed.
        """
        data = input.encode() if isinstance(input, str) else input
        process = await asyncio.create_subprocess_exec(
            *self._inside(user, dict(env or {})),
            *argv,
            stdin=subprocess.DEVNULL if data is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(data), timeout)
        except BaseException as stopped:
            if process.returncode is None:
                # The group, because what runs in the machine is a child of nsenter.
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
            if isinstance(stopped, TimeoutError):
                words = " ".join(argv)
                raise TimeoutError(
                    f"on {self.name}: not done in {timeout:.0f} s: {words}"
                ) from None
            raise
        assert process.returncode is not None
        done = subprocess.CompletedProcess(
            list(argv), process.returncode, out.decode(), err.decode(errors="replace")
        )
        if check and done.returncode != 0:
            raise CommandFailed(self.name, done)
        return done

    async def put_file(self, path: str, content: str | bytes, *, mode: int = 0o644) -> None:
        """Write a file of the machine, and the directories that it needs; atomic."""
        script = (
            'mkdir -p "$(dirname "$1")" && cat >"$1.new" && chmod "$2" "$1.new" && mv "$1.new" "$1"'
        )
        await self.run(["sh", "-c", script, "sh", path, f"{mode:o}"], input=content)

    async def read_file(self, path: str) -> str:
        """The text of a file of the machine. Raises CommandFailed if there is none."""
        return (await self.run(["cat", path])).stdout

    async def journal(self, unit: str | None = None) -> list[dict[str, Any]]:
        """Every entry of its journal over all boots, or those of and about a unit, oldest first; journald's own fields."""
        chosen = ["--unit", unit] if unit else []
        done = await self.run(["journalctl", "--output=json", "--no-pager", "--all", *chosen])
        return [json.loads(line) for line in done.stdout.splitlines()]

    async def skew_clock(self, seconds: float, *units: str) -> None:
        """Put the wall clock of the units' processes ahead by so many seconds (behind, if negative).

        The first time, units that run are restarted, because the false clock is a library that a process
        loads at its start; from then on their clocks jump within a second while they run. Time that only
        passes (CLOCK_MONOTONIC) is true. Programs without the C library (etcd) do not notice.
        Source: libfaketime's README, "Using the file as a source".
        """
        await self.put_file("/etc/faketime-of-tests", f"{seconds:+.0f}\n")
        settings = (
            "LD_PRELOAD=/usr/$LIB/faketime/libfaketime.so.1",  # ld.so(8) knows $LIB
            "FAKETIME_TIMESTAMP_FILE=/etc/faketime-of-tests",
            "FAKETIME_CACHE_DURATION=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
            "NO_FAKE_STAT=1",
        )
        text = "[Service]\n" + "".join(f"Environment={setting}\n" for setting in settings)
        drop_ins = [f"/etc/systemd/system/{unit}.d/false-clock.conf" for unit in units]
        known = (await self.run(["ls", *drop_ins], check=False)).stdout.split()
        for path in drop_ins:
            await self.put_file(path, text)
        if len(known) < len(drop_ins):
            await self.run(["systemctl", "daemon-reload"])
            await self.run(["systemctl", "try-restart", *units])

    def _inside(self, user: str | None, env: dict[str, str]) -> list[str]:
        """The words that lead into the machine, or onto the disk of one that is off."""
        assert user in (None, "root", USER), f"no user of that name: {user}"
        login = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": "/root", "USER": "root"}
        nsenter: list[str] = []
        if user == USER:
            login |= {
                "HOME": f"/home/{USER}",
                "USER": USER,
                "XDG_RUNTIME_DIR": f"/run/user/{USER_ID}",
            }
            nsenter = ["-S", str(USER_ID), "-G", str(USER_ID)]
        words = [f"{name}={value}" for name, value in (login | env).items()]
        if self.is_on:
            kinds = ["-m", "-u", "-i", "-n", "-p", "-C"]
            enter = [NSENTER, "-t", str(self._leader), *kinds, *nsenter, "--"]
        else:
            enter = [CHROOT, f"--userspec={user or 'root'}", str(self.root)]
        return ["env", "-i", *words, *enter]

    def _power_on(self, notify: Path) -> None:
        namespace = self._network.plug(self._number)
        self._group.create()
        entrances = [str(file) for file in self._group.entrances()]
        with (self._directory / "console").open("wb") as console:
            self._process = subprocess.Popen(
                ["sh", "-c", ENTER, "sh", *entrances, "--", *self._nspawn(namespace)],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={
                    "PATH": os.environ["PATH"],
                    "NOTIFY_SOCKET": str(notify),
                    "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",  # /proc/sys/net
                    # Version 2 alone, as current distributions have it, also on a host that has both.
                    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
                    # Docker needs system calls that nspawn refuses: keys, and eBPF for devices.
                    **({"SYSTEMD_SECCOMP": "0"} if self._docker else {}),
                },
            )

    def _nspawn(self, namespace: str) -> list[str]:
        return [
            # From inside the namespace, so that its devices are the ones in /sys; not by
            # --network-namespace-path=, which shows those of the host there.
            *(NSENTER, f"--net={namespace}"),
            "systemd-nspawn",
            "--quiet",
            "--boot",
            f"--directory={self.root}",
            f"--machine=argosy-{self._network.subnet}-{self._number}",
            f"--hostname={self.name}",
            # What it has by itself only with a network namespace that it made: see the environment, too.
            "--capability=CAP_NET_ADMIN",
            "--register=no",
            "--keep-unit",
            "--notify-ready=yes",
            "--console=pipe",
            "--resolv-conf=off",
            "--timezone=off",
            "--link-journal=no",
            *(f"--bind-ro={path}" for path in self._shared),
        ]

    async def _wait_until_ready(self, receiver: socket.socket) -> None:
        """Until PID 1 says so. Source: sd_notify(3), and systemd-nspawn(1), `--notify-ready=`."""
        loop = asyncio.get_running_loop()
        said: list[str] = []
        while "READY=1" not in said:
            try:
                message = await asyncio.wait_for(loop.sock_recv(receiver, 4096), 0.5)
            except TimeoutError:
                if not self.is_on:
                    raise BootFailed(f"{self.name} went off. Console: {self.console()}") from None
                continue
            said = message.decode().splitlines()
            for line in said:
                if line.startswith("X_NSPAWN_LEADER_PID="):
                    self._leader = int(line.partition("=")[2])
