"""Real etcd for tests: one member or several on free ports, which can be killed, frozen and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from argosy.settings import EtcdSettings


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on. All are held until all are known, so that none is given twice."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


class Member:
    """One etcd process, its data directory and its log."""

    def __init__(
        self,
        directory: Path,
        name: str,
        *,
        client_url: str,
        peer_url: str,
        metrics_url: str,
        arguments: Sequence[str] = (),
        wrapper: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.client_url = client_url
        self.peer_url = peer_url
        self.metrics_url = metrics_url
        """Tells its health without TLS and without authentication."""
        self.data = directory / name
        self.log = directory / f"{name}.log"
        self._arguments = tuple(arguments)
        self._environ = {"PATH": os.environ["PATH"]}
        self._wrapper = tuple(wrapper)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, cluster: str, *, state: str = "new") -> None:
        """Begin to start; `EtcdCluster.wait` waits."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *self._wrapper,
                    "etcd",
                    f"--name={self.name}",
                    f"--data-dir={self.data}",
                    f"--listen-client-urls={self.client_url}",
                    f"--advertise-client-urls={self.client_url}",
                    f"--listen-peer-urls={self.peer_url}",
                    f"--initial-advertise-peer-urls={self.peer_url}",
                    f"--listen-metrics-urls={self.metrics_url}",
                    f"--initial-cluster={cluster}",
                    f"--initial-cluster-state={state}",
                    *self._arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environ,
            )

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def freeze(self) -> None:
        """It keeps its connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)


class EtcdCluster:
    """One or more members that form one etcd."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = tuple(members)

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(member.client_url for member in self.members)

    def settings(self, prefix: str = "/argosy/") -> EtcdSettings:
        return EtcdSettings(endpoints=self.urls, prefix=prefix)

    def start(self, *members: Member) -> None:
        """Start these members, or all, and wait until they serve."""
        chosen = members or self.members
        cluster = ",".join(f"{member.name}={member.peer_url}" for member in self.members)
        for member in chosen:
            member.start(cluster, state="existing" if member.data.exists() else "new")
        self.wait(*chosen)

    def wait(self, *members: Member) -> None:
        """Wait until these members, or all, are healthy: each knows a leader and can read through it."""
        deadline = time.monotonic() + 20
        for member in members or self.members:
            while not self.is_healthy(member):
                assert member.is_running, member.log.read_text()[-3000:]
                assert time.monotonic() < deadline, f"{member.name} does not serve within 20 s"
                time.sleep(0.02)

    def is_healthy(self, member: Member) -> bool:
        return b'"true"' in self._get(f"{member.metrics_url}/health")

    def _get(self, url: str) -> bytes:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return bytes(answer.read())
        except OSError:
            return b""

    def ctl(self, *arguments: str, typed: str = "") -> str:
        """What `etcdctl` prints."""
        done = subprocess.run(
            ["etcdctl", f"--endpoints={','.join(self.urls)}", *arguments],
            input=typed,
            env={"PATH": os.environ["PATH"], "ETCDCTL_API": "3"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def leader(self) -> Member:
        """The member that leads now."""
        deadline = time.monotonic() + 20
        while True:
            for member in self.members:
                if member.is_running and b"etcd_server_is_leader 1" in self._get(
                    f"{member.metrics_url}/metrics"
                ):
                    return member
            assert time.monotonic() < deadline, "no member leads"
            time.sleep(0.05)

    def others(self, member: Member) -> tuple[Member, ...]:
        return tuple(other for other in self.members if other is not member)

    def stop(self) -> None:
        for member in self.members:
            member.kill()


@contextmanager
def etcd(
    directory: Path,
    *,
    members: int = 1,
    arguments: Sequence[str] = (),
    wrapper: Sequence[str] = (),
    scheme: str = "http",
) -> Iterator[EtcdCluster]:
    """An etcd of so many members that serves, gone at the end.

    scheme: of the clients' URLs; `https` needs the certificates in `arguments`. wrapper: what each member is run by.
    """
    ports = free_ports(3 * members)
    cluster = EtcdCluster(
        [
            Member(
                directory,
                f"m{number}",
                client_url=f"{scheme}://127.0.0.1:{ports[3 * number]}",
                peer_url=f"http://127.0.0.1:{ports[3 * number + 1]}",
                metrics_url=f"http://127.0.0.1:{ports[3 * number + 2]}",
                arguments=arguments,
                wrapper=wrapper,
            )
            for number in range(members)
        ]
    )
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
