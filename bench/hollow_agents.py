"""A cluster of a thousand machines on this host: how fast units run, what it costs at rest, what one change costs, and how
long it takes until another server leads.

Everything is real but the machines' insides: an etcd, `argosy server` processes, and a thousand agents that joined with a
token, each with its own certificate and its three connections over TLS on loopback. Their runtimes are hollow: a unit that
is started says so and nothing runs; what they remember is in memory, because a thousand machines have a thousand disks.
The agents live in two processes. All of these share the cores of this host, so the figures are those of the smallest
cluster that could have a thousand machines. Needs `etcd` on PATH and 10,000 open files.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import platform
import random
import resource
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from argosy.agent.agent import Agent
from argosy.agent.connection import Connection
from argosy.agent.facts import FactsOf
from argosy.agent.http_client import HttpClient
from argosy.agent.https_link import HttpsLink
from argosy.agent.questions import Answerer
from argosy.agent.servers import Servers
from argosy.client import Client, Endpoint
from argosy.daemon import founding, host
from argosy.daemon.agent import AgentFiles, answer_questions
from argosy.errors import RuntimeRefused, Temporary
from argosy.model.ids import UnitName
from argosy.model.link import Delivery
from argosy.model.observed import ActiveState, UnitStatus
from argosy.pki import certificates
from argosy.runtime.base import JobResult, LogLine, RunnableUnit
from argosy.settings import MachineSettings
from argosy.testing.machine import MemoryDisk

MACHINES = 1000
PROCESSES = 2
BEGIN_OVER_SECONDS = 8.0
"""Agents come up one after the other over so long."""
UNITS = 10_000
PER_REQUEST = 500
REST_SECONDS = 60.0
CHANGES_PER_SECOND = 100
CHANGES_SECONDS = 30.0
TEXT = b"[Unit]\nDescription=One of many\n\n[Service]\nExecStart=/usr/bin/sleep infinity\n"


def main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    version = subprocess.run(["etcd", "--version"], capture_output=True, text=True, check=True)
    print(
        f"machine: {platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, {ssl.OPENSSL_VERSION}, {version.stdout.splitlines()[0]}"
    )
    print(f"load before: {os.getloadavg()[0]:.2f}")
    with (
        tempfile.TemporaryDirectory(prefix="argosy-bench-") as name,
        ExitStack() as stack,
    ):
        cluster = HollowCluster(Path(name), stack)
        uvloop.run(measure(cluster))


# --- a machine without insides --------------------------------------------------------------------------------------


class HollowRuntime:
    """`runtime.base.Runtime` that says at once what a runtime says when all goes well."""

    def __init__(self) -> None:
        self._statuses: dict[UnitName, UnitStatus] = {}
        self._changed: set[UnitName] = set()
        self._wake = asyncio.Event()

    async def open(self) -> None:
        """Nothing to find."""

    async def close(self) -> None:
        """Nothing to let go of."""

    def statuses(self) -> Mapping[UnitName, UnitStatus]:
        return self._statuses

    @asynccontextmanager
    async def changes(self) -> AsyncIterator[AsyncIterator[frozenset[UnitName]]]:
        yield self._each()

    async def _each(self) -> AsyncIterator[frozenset[UnitName]]:
        while True:
            await self._wake.wait()
            self._wake.clear()
            changed, self._changed = frozenset(self._changed), set()
            yield changed

    async def install(self, units: Sequence[RunnableUnit]) -> Mapping[UnitName, RuntimeRefused]:
        for unit in units:
            self._set(UnitStatus(name=unit.name, digest=unit.digest))
        return {}

    async def remove(self, names: Collection[UnitName]) -> None:
        for name in names:
            self._statuses.pop(name, None)
        self._tell(names)

    async def start(self, names: Sequence[UnitName]) -> Mapping[UnitName, JobResult]:
        return self._turn(names, ActiveState.ACTIVE, "running")

    async def stop(self, names: Sequence[UnitName]) -> Mapping[UnitName, JobResult]:
        return self._turn(names, ActiveState.INACTIVE, "dead")

    async def restart(self, names: Sequence[UnitName]) -> Mapping[UnitName, JobResult]:
        return self._turn(names, ActiveState.ACTIVE, "running")

    async def reload(self, names: Sequence[UnitName]) -> Mapping[UnitName, JobResult]:
        return dict.fromkeys(names, JobResult.SKIPPED)

    async def arm(self, names: Collection[UnitName], *, within: float) -> None:
        """Nothing runs."""

    async def logs(
        self,
        names: Collection[UnitName],
        *,
        lines: int = 100,
        follow: bool = False,
        after: str = "",
    ) -> AsyncGenerator[LogLine, None]:
        none: tuple[LogLine, ...] = ()
        for line in none:
            yield line

    def _turn(
        self, names: Sequence[UnitName], active: ActiveState, sub: str
    ) -> Mapping[UnitName, JobResult]:
        for name in names:
            before = self._statuses[name]
            self._set(
                msgspec.structs.replace(before, active=active, sub=sub, has_run=True, since=now())
            )
        return dict.fromkeys(names, JobResult.DONE)

    def _set(self, status: UnitStatus) -> None:
        self._statuses[status.name] = status
        self._tell([status.name])

    def _tell(self, names: Collection[UnitName]) -> None:
        self._changed.update(names)
        self._wake.set()


class CountingLink(HttpsLink):
    """Counts how often an assignment arrives."""

    deliveries = 0

    @asynccontextmanager
    async def assignments(self) -> AsyncIterator[AsyncIterator[Delivery]]:
        async with super().assignments() as deliveries:
            yield self._counted(deliveries)

    async def _counted(self, deliveries: AsyncIterator[Delivery]) -> AsyncIterator[Delivery]:
        async for delivery in deliveries:
            self.deliveries += 1
            yield delivery


class HollowMachine:
    """One machine of the cluster: it has joined and `run` is its agent, put together as `argosy agent` does it."""

    def __init__(self, number: int, directory: Path, client: Client) -> None:
        self._settings = MachineSettings(
            machine_id=f"{number + 1:032x}",
            servers=(str(client.endpoint),),
            directory=directory / f"m{number:04}",
            address="127.0.0.1",
        )
        founding.join(self._settings, client, again=False)
        self._place = AgentFiles(self._settings.directory)
        chance = random.Random(number)
        self._servers = Servers(self._settings.servers, self._place.servers, chance=chance)
        context = certificates.client_context(
            ca=self._place.ca.read_bytes(), certificate=self._place.certificate
        )
        self._machine = host.machine_of(self._settings)
        self.link = CountingLink(self._servers, context, holder=host.holder_of(self._machine.id))

    async def run(self, after_seconds: float) -> None:
        await asyncio.sleep(after_seconds)
        runtime = HollowRuntime()
        agent = Agent(self.link, runtime, MemoryDisk(), self._machine, clock=now)
        facts = FactsOf(
            clock=now,
            runtime="hollow",
            directories=(self._settings.directory,),
            is_exec_allowed=False,
            certificate_expires=self._place.expires_at,
        )
        answerer = Answerer(runtime, gather_facts=facts.gather, may_exec=False)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(agent.run())
            tasks.create_task(answer_questions(self.link, self._servers, answerer))

    def learn(self, urls: Sequence[str]) -> None:
        self._servers.learn(urls)


def run_machines(numbers: range, directory: Path, url: str, token: str, pipe: Pipe) -> None:
    """A process of its own. Says once how long joining took, then answers `pipe` until that is closed."""
    uvloop.run(_run_machines(numbers, directory, url, token, pipe))


async def _run_machines(numbers: range, directory: Path, url: str, token: str, pipe: Pipe) -> None:
    client = Client(Endpoint.parse(url), token=token)
    machines = [HollowMachine(number, directory, client) for number in numbers]
    pipe.send("joined")
    gc.freeze()
    over = asyncio.Event()

    def answer() -> None:
        try:
            command, *words = pipe.recv()
        except EOFError:
            over.set()
            return
        if command == "learn":
            for machine in machines:
                machine.learn(words)
        pipe.send([machine.link.deliveries for machine in machines])

    asyncio.get_running_loop().add_reader(pipe.fileno(), answer)
    pause = BEGIN_OVER_SECONDS / len(machines)
    running = [
        asyncio.create_task(machine.run(number * pause)) for number, machine in enumerate(machines)
    ]
    await over.wait()
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


# --- the cluster ----------------------------------------------------------------------------------------------------


class HollowCluster:
    """The processes, and the files that they need. All are gone when the stack ends."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self.pids: dict[str, int] = {}
        self._stack = stack
        self._environ = {**os.environ, "HOME": str(directory), "PYTHONDONTWRITEBYTECODE": "1"}
        ports = free_ports(4)
        self._etcd_url = f"http://127.0.0.1:{ports[0]}"
        self._ports = {"s1": ports[2], "s2": ports[3]}
        self._start(
            "etcd",
            "etcd",
            f"--data-dir={directory / 'etcd'}",
            f"--listen-client-urls={self._etcd_url}",
            f"--advertise-client-urls={self._etcd_url}",
            f"--listen-peer-urls=http://127.0.0.1:{ports[1]}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{ports[1]}",
            f"--initial-cluster=default=http://127.0.0.1:{ports[1]}",
        )
        self._argosy("server", "init", *self._identity("s1"), f"--etcd={self._etcd_url}")
        self._start_server("s1")
        self._pipes: list[Pipe] = []

    def url(self, server: str) -> str:
        return f"https://127.0.0.1:{self._ports[server]}"

    def admin(self, server: str) -> Client:
        return Client(Endpoint(path=str(self.directory / server / "socket")))

    def join_machines(self) -> None:
        token = self.admin("s1").create_token("machine", uses=MACHINES)["text"]
        context = multiprocessing.get_context("spawn")
        for first in range(PROCESSES):
            here, there = context.Pipe()
            numbers = range(first, MACHINES, PROCESSES)
            process = context.Process(
                target=run_machines,
                args=(numbers, self.directory, self.url("s1"), token, there),
                daemon=True,
            )
            process.start()
            there.close()
            self._pipes.append(here)
            self._stack.callback(_end_child, process, here)
            assert process.pid is not None
            self.pids[f"agents {first + 1}"] = process.pid
        for pipe in self._pipes:
            assert pipe.recv() == "joined"

    def join_server(self) -> None:
        text = self.admin("s1").create_token("server")["text"]
        self._argosy("server", "join", self.url("s1"), *self._identity("s2"), ARGOSY_TOKEN=text)
        self._start_server("s2")

    def deliveries(self, *command: str) -> int:
        """How many assignments have arrived at all agents together."""
        for pipe in self._pipes:
            pipe.send(command or ("count",))
        return sum(sum(pipe.recv()) for pipe in self._pipes)

    def kill(self, name: str) -> None:
        os.kill(self.pids[name], signal.SIGKILL)

    def _identity(self, name: str) -> list[str]:
        directory = self.directory / name
        return [
            f"--name={name}",
            "--address=127.0.0.1",
            f"--listen=127.0.0.1:{self._ports[name]}",
            f"--directory={directory}",
            f"--socket={directory / 'socket'}",
            f"--settings={self.directory / name}.toml",
        ]

    def _start_server(self, name: str) -> None:
        self._start(name, *ARGOSY, "server", f"--settings={self.directory / name}.toml")
        until(self.admin(name).is_there, f"{name} answers")

    def _argosy(self, *words: str, **environ: str) -> None:
        done = subprocess.run(
            [*ARGOSY, *words], env={**self._environ, **environ}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr

    def _start(self, name: str, *words: str) -> None:
        log = self._stack.enter_context((self.directory / f"{name}.log").open("wb"))
        process = subprocess.Popen(
            words, env=self._environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        self.pids[name] = process.pid
        self._stack.callback(_end_process, process)


ARGOSY = (str(Path(sys.executable).with_name("argosy")),)


def _end_process(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _end_child(process: Any, pipe: Pipe) -> None:
    pipe.close()
    process.join(10)
    process.kill()
    process.join()


def free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def until(is_so: Any, what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.1)


# --- people ---------------------------------------------------------------------------------------------------------


class People:
    """Submits units and watches what becomes of them, through one server's TLS port."""

    CONNECTIONS = 8

    def __init__(self, cluster: HollowCluster, server: str) -> None:
        ca = (cluster.directory / "s1" / "ca.crt").read_bytes()
        token = cluster.admin(server).create_token("person", role="deployer", name="bench")
        self._url = cluster.url(server)
        self._context = certificates.client_context(ca=ca)
        self._headers = [("authorization", f"Bearer {token['text']}")]
        self._clients: asyncio.Queue[HttpClient] = asyncio.Queue()
        for _ in range(self.CONNECTIONS):
            self._clients.put_nowait(HttpClient(self._context, headers=self._headers))
        self.placed: dict[str, float] = {}
        """When each unit was first seen to have a machine (`time.monotonic`)."""
        self.running: dict[str, float] = {}
        self._news = asyncio.Event()

    async def submit(self, names: Sequence[str]) -> None:
        units = [{"name": n, "text": TEXT.decode(), "desired": "launched"} for n in names]
        await self._call("POST", "/v1/units", {"units": units})

    async def restart(self, name: str) -> None:
        await self._call("PATCH", "/v1/units", {"names": [name], "restart": True})

    async def _call(self, method: str, path: str, body: Any) -> None:
        client = await self._clients.get()
        try:
            content = msgspec.json.encode(body)
            await client.call(self._url, method, path, content, seconds=60)
        finally:
            self._clients.put_nowait(client)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        connection = await Connection.connect(self._url, self._context, self._headers)
        refusal = await connection.begin_stream("/v1/watch", max_bytes=2**20)
        assert refusal is None, refusal
        watch = asyncio.create_task(self._read(connection))
        try:
            yield
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            connection.close()
            while not self._clients.empty():
                self._clients.get_nowait().close()

    async def _read(self, connection: Connection) -> None:
        kind = b""
        async for line in connection.lines(max_bytes=2**22, silence=60):
            if line.startswith(b"event: "):
                kind = line[7:]
                assert kind != b"end", "the watch was ended"
            elif line.startswith(b"data: ") and kind in (b"unit", b"state"):
                seen = msgspec.json.decode(line[6:])
                if kind == b"unit" and seen.get("machines"):
                    self.placed.setdefault(seen["name"], time.monotonic())
                elif kind == b"state" and seen.get("active") == "active":
                    self.running.setdefault(seen["name"], time.monotonic())
                self._news.set()

    async def until(
        self, names: Collection[str], seen: Mapping[str, float], seconds: float
    ) -> float:
        """When the last of them was seen to be so."""
        async with asyncio.timeout(seconds):
            while not all(name in seen for name in names):
                self._news.clear()
                await self._news.wait()
        return max(seen[name] for name in names)


# --- what is measured -----------------------------------------------------------------------------------------------


async def measure(cluster: HollowCluster) -> None:
    with costs(cluster, "joining"):
        began = time.monotonic()
        cluster.join_machines()
        report("1,000 machines joined, each with its certificate", time.monotonic() - began, "s")
    with costs(cluster, "connecting and registering"):
        began = time.monotonic()
        until(lambda: ready(cluster.admin("s1")) == MACHINES, "all machines are there")
        report("... all connected and registered", time.monotonic() - began, "s")
    people = People(cluster, "s1")
    async with people.watching():
        await start_all(cluster, people)
        await wake_one(cluster, people)
        await rest(cluster)
        await change_often(cluster, people)
    await fail_over(cluster)


async def start_all(cluster: HollowCluster, people: People) -> None:
    names = [f"job@{number}.service" for number in range(UNITS)]
    with costs(cluster, "10,000 instances submitted"):
        began = time.monotonic()
        for first in range(0, UNITS, PER_REQUEST):
            await people.submit(names[first : first + PER_REQUEST])
        report("10,000 instances submitted, 500 a request", time.monotonic() - began, "s")
        placed = await people.until(names, people.placed, 120)
        report("... until the last was placed", placed - began, "s")
        running = await people.until(names, people.running, 120)
        report("... acknowledged and running", running - began, "s", goal=30)


async def wake_one(cluster: HollowCluster, people: People) -> None:
    await asyncio.sleep(2)
    woken = []
    for number in range(10):
        before = cluster.deliveries()
        await people.restart(f"job@{number}.service")
        await asyncio.sleep(0.3)
        woken.append(cluster.deliveries() - before)
    report("agents woken by one changed unit, most of 10 times", max(woken), "", goal=1)
    report("... fewest", min(woken), "", goal=1)


async def rest(cluster: HollowCluster) -> None:
    await asyncio.sleep(2)
    with costs(cluster, f"at rest for {REST_SECONDS:g} s"):
        await asyncio.sleep(REST_SECONDS)
    report("server's memory (RSS)", resident_bytes(cluster.pids["s1"]) / 1e6, "MB", goal=300)
    report("etcd's memory (RSS)", resident_bytes(cluster.pids["etcd"]) / 1e6, "MB")


async def change_often(cluster: HollowCluster, people: People) -> None:
    names = [f"new@{number}.service" for number in range(int(CHANGES_PER_SECOND * CHANGES_SECONDS))]
    asked: dict[str, float] = {}

    async def submit(name: str) -> None:
        asked[name] = time.monotonic()
        await people.submit([name])

    with costs(cluster, "changes"):
        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number, name in enumerate(names):
                await asyncio.sleep(began + number / CHANGES_PER_SECOND - time.monotonic())
                tasks.create_task(submit(name))
        report("changes a second", len(names) / (time.monotonic() - began), "/s")
        await people.until(names, people.running, 120)
    took = sorted(people.running[name] - asked[name] for name in names)
    report("... from submission to running, median", 1e3 * took[len(took) // 2], "ms")
    report("... 99 %", 1e3 * took[int(len(took) * 0.99)], "ms", goal=200)
    report("... slowest", 1e3 * took[-1], "ms")


async def fail_over(cluster: HollowCluster) -> None:
    cluster.join_server()
    # What servers tell an agent when it registers next.
    cluster.deliveries("learn", cluster.url("s1"), cluster.url("s2"))
    await asyncio.sleep(5)
    people = People(cluster, "s2")
    async with people.watching():
        cluster.kill("s1")
        began = time.monotonic()
        await people.submit(["late.service"])
        placed = await people.until(["late.service"], people.placed, 60)
        report("leader killed, until a unit is placed", placed - began, "s", goal=11)
        running = await people.until(["late.service"], people.running, 120)
        report("... and runs", running - began, "s")
        await asyncio.sleep(max(0.0, began + 15 - time.monotonic()))
        report(
            "machines that are there 15 s after it", ready(cluster.admin("s2")), "", goal=MACHINES
        )


def ready(client: Client) -> int:
    """How many machines are there; 0 while the server does not answer in time."""
    try:
        return sum(row["state"] == "ready" for row in client.machines())
    except Temporary:
        return 0


@contextmanager
def costs(cluster: HollowCluster, what: str) -> Iterator[None]:
    """Prints what processor time each process had meanwhile."""
    before, began = {n: cpu_seconds(p) for n, p in cluster.pids.items()}, time.monotonic()
    yield
    elapsed = time.monotonic() - began
    print(f"   {what}: processor time, and share of one core; load {os.getloadavg()[0]:.2f}")
    for name, pid in cluster.pids.items():
        used = cpu_seconds(pid) - before.get(name, 0.0)
        print(f"   {name:<10} {used:7.2f} s {100 * used / elapsed:6.1f} %")


def report(what: str, figure: float, unit: str, *, goal: float | None = None) -> None:
    words = "" if goal is None else f"  (goal {goal:g})"
    print(f"{what:<56} {figure:9.2f} {unit}{words}", flush=True)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    main()
