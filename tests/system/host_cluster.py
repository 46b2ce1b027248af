"""A cluster on this host for a test: real `argosy server` and `argosy agent` processes over TLS on loopback.

Each machine is an agent with plain processes in a directory of its own. Everything is made by the commands that people
type. Times are shortened in the settings files; nothing else differs from a cluster of hosts.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from argosy.client import Client, Endpoint
from contract.etcd_kit import EtcdCluster, free_ports
from system.running import ARGOSY, eventually

PRESENCE = """
[engine]
leader_ttl = "3s"

[engine.presence]
heartbeat_every = "0.5s"
suspect_after = "3s"
lost_after = "6s"
patience = "4s"
"""
AGENT = """
[agent]
retry_after = "0.3s"
learn_every = "1s"
"""


NONE: Mapping[str, str] = {}


class Daemon:
    """A process that can be killed and started again."""

    def __init__(self, cluster: HostCluster, name: str, *words: str) -> None:
        self.cluster = cluster
        self.name = name
        self.log = cluster.directory / f"{name}.log"
        self._words = words
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [ARGOSY, *self._words],
                env=self.cluster.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """As systemd stops it; its exit code."""
        return self._end(signal.SIGTERM)

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _end(self, number: int) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(signal.SIGCONT)
        process.send_signal(number)
        return process.wait(20)

    def said(self) -> str:
        return self.log.read_text(errors="replace")


class ServerHost(Daemon):
    def __init__(self, cluster: HostCluster, name: str) -> None:
        self.directory = cluster.directory / name
        self.settings = cluster.directory / f"{name}.toml"
        super().__init__(cluster, name, "server", "--settings", str(self.settings))
        [self.port] = free_ports(1)
        self.url = f"https://127.0.0.1:{self.port}"
        self.socket = self.directory / "argosy.sock"
        self.client = Client(Endpoint(path=str(self.socket)))

    @property
    def identity(self) -> list[str]:
        """Options for `server init` and `server join`."""
        return [
            f"--name={self.name}",
            "--address=127.0.0.1",
            f"--listen=127.0.0.1:{self.port}",
            f"--directory={self.directory}",
            f"--socket={self.socket}",
            f"--settings={self.settings}",
        ]

    def start(self) -> None:
        super().start()
        eventually(self.client.is_there, f"{self.name} answers", seconds=20)

    def add_settings(self, text: str) -> None:
        self.settings.write_text(f"{self.settings.read_text()}{text}")


class Machine(Daemon):
    def __init__(self, cluster: HostCluster, name: str) -> None:
        self.directory = cluster.directory / name
        self.settings = cluster.directory / f"{name}.toml"
        self.id = secrets.token_hex(16)
        super().__init__(cluster, name, "agent", "--settings", str(self.settings))

    @property
    def certificate(self) -> bytes:
        return (self.directory / "machine.pem").read_bytes()


class HostCluster:
    """Servers and machines; the first server is made by `init`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.servers: list[ServerHost] = []
        self.machines: list[Machine] = []
        self.environ = {
            **os.environ,
            "HOME": str(directory),
            "ARGOSY_STATE_DIR": str(directory / "up"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        for name in ("ARGOSY_ENDPOINT", "ARGOSY_TOKEN", "XDG_CONFIG_HOME"):
            self.environ.pop(name, None)

    # --- commands -----------------------------------------------------------------------------------------------

    def run(self, *words: str, status: int = 0, environ: Mapping[str, str] = NONE) -> str:
        """Run a command to its end; its standard output, or all that it said when it fails as it should."""
        done = subprocess.run(
            [ARGOSY, *words],
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == status, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout if status == 0 else done.stdout + done.stderr

    def admin(self, *words: str, status: int = 0) -> str:
        """Run a command as an admin, through the socket of a server that runs."""
        return self.run("--endpoint", f"unix://{self.server.socket}", *words, status=status)

    def token(self, *words: str) -> str:
        return self.admin("token", "create", *words).strip()

    # --- making it ----------------------------------------------------------------------------------------------

    def init(self, etcd: EtcdCluster | None = None, *, settings: str = PRESENCE) -> ServerHost:
        server = ServerHost(self, "s1")
        members = [f"--etcd={url}" for url in etcd.urls] if etcd else []
        self.run("server", "init", *server.identity, *members)
        server.add_settings(settings)
        self.servers.append(server)
        server.start()
        return server

    def join_server(self) -> ServerHost:
        server = ServerHost(self, f"s{len(self.servers) + 1}")
        token = self.token("server")
        self.run(
            "server", "join", self.server.url, *server.identity, environ={"ARGOSY_TOKEN": token}
        )
        server.add_settings(PRESENCE)
        self.servers.append(server)
        server.start()
        return server

    def join(self, *words: str, token: str = "") -> Machine:
        """A machine that has joined and whose agent runs."""
        machine = Machine(self, f"m{len(self.machines) + 1}")
        self.join_as(machine, *words, token=token or self.token("machine"))
        with machine.settings.open("a") as file:
            file.write(AGENT)
        self.machines.append(machine)
        machine.start()
        eventually(lambda: self.state_of(machine) == "ready", f"{machine.name} is there")
        return machine

    def join_as(self, machine: Machine, *words: str, token: str, status: int = 0) -> str:
        return self.run(
            "join",
            self.server.url,
            "--runtime=process",
            f"--directory={machine.directory}",
            f"--settings={machine.settings}",
            f"--machine-id={machine.id}",
            *words,
            status=status,
            environ={"ARGOSY_TOKEN": token},
        )

    # --- looking ------------------------------------------------------------------------------------------------

    @property
    def server(self) -> ServerHost:
        """One that runs."""
        return next(one for one in self.servers if one._process is not None)

    @property
    def client(self) -> Client:
        return self.server.client

    def state_of(self, machine: Machine) -> str:
        rows: Sequence[Any] = self.client.machines()
        return "".join(row["state"] for row in rows if row["id"] == machine.id)

    def active(self, unit: str) -> bool:
        rows = self.client.states([unit])
        return [row["active"] for row in rows] == ["active"]

    # --- units that tell how often they were started ------------------------------------------------------------

    def counting_unit(self, name: str) -> Path:
        """A unit file whose service writes a line at each start."""
        path = self.directory / "units" / name
        path.parent.mkdir(exist_ok=True)
        line = f"echo $$$$ >> {self.starts_file(name)}; echo hello from {name}; exec sleep 1000"
        path.write_text(f'[Service]\nExecStart=/bin/sh -c "{line}"\nRestart=always\n')
        return path

    def starts_file(self, name: str) -> Path:
        return self.directory / "units" / f"{name}.starts"

    def starts(self, *names: str) -> list[int]:
        """How often each was started."""
        return [len(self.starts_file(name).read_text().splitlines()) for name in names]

    def start_units(self, *names: str) -> None:
        files = [str(self.counting_unit(name)) for name in names]
        self.admin("start", "--timeout=30", *files)

    def processes(self) -> dict[int, str]:
        """All that has this cluster's directory in its environment or arguments."""
        mark = str(self.directory).encode()
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                about = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
            except OSError:
                continue
            if mark in about and not command.startswith(b"etcd"):
                found[int(entry.name)] = command.decode(errors="replace")
        return found


@contextmanager
def host_cluster(directory: Path) -> Iterator[HostCluster]:
    """A cluster, all of whose processes are gone afterwards."""
    cluster = HostCluster(directory)
    with ExitStack() as stack:
        stack.callback(_clean_up, cluster)
        yield cluster


def _clean_up(cluster: HostCluster) -> None:
    for daemon in [*cluster.machines, *cluster.servers]:
        daemon.kill()
    deadline = time.monotonic() + 10
    while (left := cluster.processes()) and time.monotonic() < deadline:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.05)


def as_json(text: str) -> Any:
    return json.loads(text)
