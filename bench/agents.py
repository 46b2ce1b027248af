"""A thousand machines that speak to one server over TLS: what they cost at rest, and how long it takes until all are back
after the server was away.

Method: the server in a process of its own on a store in memory; the machines are connections of this process, each with
its own certificate, that register and then report nothing every three seconds. The server's processor time is the
kernel's count for its process, latency is the clock's at the client, which shares the cores with it.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import platform
import resource
import ssl
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from argosy.api.cluster import open_cluster
from argosy.api.server import Server, TlsPort
from argosy.api.services import Services
from argosy.api.sessions import Sessions
from argosy.model.identity import Identity
from argosy.model.ids import MachineId
from argosy.pki import certificates, files
from argosy.pki.authority import Authority
from argosy.pki.certificates import TlsFiles
from argosy.store import base, codec, keys
from argosy.store.memory import MemoryStore

MACHINES = 1000
HEARTBEAT_SECONDS = 3.0
REST_SECONDS = 30.0
AT_ONCE = 100
"""Connections that are opened together."""


def main() -> None:
    print(
        f"machine: {platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, {ssl.OPENSSL_VERSION}"
    )
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        server = multiprocessing.get_context("spawn").Process(target=serve, args=(directory,))
        server.start()
        try:
            assert server.pid is not None
            while not (directory / "port").exists():
                time.sleep(0.05)
            asyncio.run(measure(directory, server.pid))
        finally:
            server.terminate()
            server.join()


# --- the server -----------------------------------------------------------------------------------------------------


def serve(directory: Path) -> None:
    asyncio.run(_serve(directory))


async def _serve(directory: Path) -> None:
    store = MemoryStore()
    cluster = await open_cluster(store, clock=now)
    authority = Authority.make(cluster.id, now=now())
    paths = TlsFiles(
        certificate=directory / "server.pem", key=directory / "server.key", ca=directory / "ca.pem"
    )
    key = certificates.make_key()
    request = certificates.make_request(key)
    files.write_private(paths.key, key)
    files.write_public(
        paths.certificate, authority.sign_server(request, name="s1", addresses=[], now=now())
    )
    files.write_public(paths.ca, authority.certificate)
    for number in range(MACHINES):
        machine = machine_id(number)
        signed = authority.sign_machine(request, machine, cluster=cluster.id, now=now())
        identity = Identity(
            machine=machine, serials=(certificates.serial(signed),), joined_at=now()
        )
        await store.txn([], [base.Put(keys.identity(machine), codec.encode(identity))])
        files.write_public(directory / f"{machine}.pem", signed)
    sessions = Sessions(store, name="s1", clock=now)
    services = Services(store=store, clock=now, sessions=sessions, authority=authority)
    server = Server(
        services,
        unix=None,
        tls=TlsPort(listen="127.0.0.1:0", context=certificates.server_context(paths)),
    )
    port = server.endpoints[0].rpartition(":")[2]
    files.write_public(directory / "port", port.encode())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sessions.run())
        tasks.create_task(server.run())


# --- the machines ---------------------------------------------------------------------------------------------------


class Agent:
    """One machine's connection."""

    def __init__(self, machine: MachineId, context: ssl.SSLContext) -> None:
        self.machine = machine
        self.context = context
        self.took: list[float] = []

    async def register(self, port: int) -> None:
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=self.context, server_hostname="localhost"
        )
        body = {"machine": {"id": self.machine}, "holder": "boot"}
        answer = await self._ask("PUT", "/v1/agent/machine", body)
        self._session = json.loads(answer)["session"]

    async def rest(self, until: float, offset: float) -> None:
        await asyncio.sleep(offset)
        while time.monotonic() < until:
            began = time.monotonic()
            await self._ask("POST", "/v1/agent/report", {"session": self._session})
            self.took.append(time.monotonic() - began)
            await asyncio.sleep(max(0.0, began + HEARTBEAT_SECONDS - time.monotonic()))

    async def _ask(self, method: str, path: str, body: object) -> bytes:
        # As `agent/connection.py` writes it: the server has a short way for just that (`api/heartbeats.py`).
        content = json.dumps(body, separators=(",", ":")).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nhost: s\r\naccept: */*\r\nargosy-holder: boot\r\n"
            f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        )
        self.writer.write(head.encode() + content)
        answer = await self.reader.readuntil(b"\r\n\r\n")
        status = int(answer.split()[1])
        assert status in (200, 204), answer
        if status == 204:
            return b""
        length = answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        return await self.reader.readexactly(int(length))


async def measure(directory: Path, pid: int) -> None:
    port = int((directory / "port").read_text())
    ca = (directory / "ca.pem").read_bytes()
    agents = []
    for number in range(MACHINES):
        machine = machine_id(number)
        context = certificates.client_context(
            ca=ca, certificate=directory / f"{machine}.pem", key=directory / "server.key"
        )
        agents.append(Agent(machine, context))
    before, began = cpu_seconds(pid), time.monotonic()
    for start in range(0, MACHINES, AT_ONCE):
        await asyncio.gather(*(one.register(port) for one in agents[start : start + AT_ONCE]))
    report("all connected and registered, seconds", time.monotonic() - began, "s")
    report("  server's processor time for that", cpu_seconds(pid) - before, "s")
    before, began = cpu_seconds(pid), time.monotonic()
    until = began + REST_SECONDS
    await asyncio.gather(
        *(
            one.rest(until, HEARTBEAT_SECONDS * number / MACHINES)
            for number, one in enumerate(agents)
        )
    )
    elapsed, used = time.monotonic() - began, cpu_seconds(pid) - before
    took = sorted(one for agent in agents for one in agent.took)
    report("heartbeats a second", len(took) / elapsed, "/s")
    report("  server's processor time, share of one core", 100 * used / elapsed, "%")
    report("  server's processor time for one", 1e6 * used / len(took), "us")
    report("  answered within, median", 1e3 * statistics.median(took), "ms")
    report("  answered within, 99 %", 1e3 * took[int(len(took) * 0.99)], "ms")
    report("server's memory", resident_bytes(pid) / 2**20, "MiB")
    for agent in agents:
        agent.writer.transport.abort()


def report(what: str, figure: float, unit: str) -> None:
    print(f"{what:<48} {figure:9.2f} {unit}")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def machine_id(number: int) -> MachineId:
    return MachineId(f"{number + 1:032x}")


def now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    main()
