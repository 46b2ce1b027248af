"""A cluster on machines: servers, agents and etcd, set up by the commands of docs/operations-cluster.md.

    async with cluster(3, servers=3, etcd=3) as c:
        await c.start_units("web@1.service", "web@2.service")
        c.machines["m1"].kill()

The test itself is at the keyboard of each machine, and a client of whichever server it asks: the socket of a server
is reached through /proc, also while the machine is cut off from the others. `lives` and `deeds` are the evidence:
what systemd itself says that it started and stopped.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from argosy.client import Client, Endpoint, StateView, Submission
from machines.kit import Machines
from machines.machine import Machine, in_thread

T = TypeVar("T")

QUICK = """
[engine]
leader_ttl = "3s"

[engine.presence]
heartbeat_every = "0.5s"
suspect_after = "3s"
lost_after = "6s"
patience = "4s"
"""
"""Settings of a server that shorten what a test would wait for. The proofs about a store that is away use the defaults."""

SLEEPER = b"[Service]\nExecStart=/bin/sleep infinity\n"
SERVER, AGENT, ETCD = "argosy-server.service", "argosy-agent.service", "etcd.service"
STARTED, STOPPING, FAILED = (
    "39f53479d3a045ac8e11786248231fbf",
    "de5b426a63be47a7b6ac3eaac82e2f6f",
    "be02cf6855d2428ba40df7e9d022f03d",
)
"""Message ids by which systemd tells the journal of what it did. Source: systemd's sd-messages.h."""
DEEDS = {STARTED: "started", STOPPING: "stopping", FAILED: "failed"}


class Cluster:
    """Machines, some of which have a server or a member of etcd; all have an agent."""

    def __init__(
        self, machines: Machines, *, servers: Collection[Machine], members: Collection[Machine]
    ) -> None:
        self.machines = machines
        self.servers = list(servers)
        self.members = list(members)
        """Of etcd; none: the one server's records are in SQLite."""
        self.ids: dict[str, str] = {}
        """Machine ids by name."""

    # --- making it --------------------------------------------------------------------------------------------------

    async def set_up(self, settings: str) -> None:
        """etcd, then the first server, then the others, then every agent. Returns when all machines are there."""
        await self._each(self._start_etcd, self.members)
        first, *others = self.servers
        urls = [f"--etcd=http://{member.address}:2379" for member in self.members]
        await self._server(first, ["init", *urls], settings, token="")
        for server in others:
            token = await self.token("server")
            await self._server(server, ["join", self.url(first)], settings, token=token)
        token = await self.token("machine")
        await self._each(lambda machine: self.join(machine, token), self.machines)
        await self.until(self.all_ready, "every machine is there")

    async def _start_etcd(self, machine: Machine) -> None:
        peers = [f"{one.name}=http://{one.address}:2380" for one in self.members]
        settings = {
            "NAME": machine.name,
            "DATA_DIR": "/var/lib/etcd/default",
            "LISTEN_CLIENT_URLS": f"http://{machine.address}:2379,http://127.0.0.1:2379",
            "ADVERTISE_CLIENT_URLS": f"http://{machine.address}:2379",
            "LISTEN_PEER_URLS": f"http://{machine.address}:2380",
            "INITIAL_ADVERTISE_PEER_URLS": f"http://{machine.address}:2380",
            "INITIAL_CLUSTER": ",".join(peers),
        }
        lines = [f'ETCD_{name}="{value}"\n' for name, value in settings.items()]
        await machine.put_file("/etc/default/etcd", "".join(lines))
        await machine.run(["systemctl", "enable", "--now", ETCD])

    async def _server(
        self, machine: Machine, words: list[str], settings: str, *, token: str
    ) -> None:
        identity = [f"--name={machine.name}", f"--address={machine.address}"]
        await machine.run(
            ["argosy", "server", *words, *identity, "--install"], env={"ARGOSY_TOKEN": token}
        )
        if settings:
            path = "/etc/argosy/server.toml"
            await machine.put_file(path, await machine.read_file(path) + settings, mode=0o600)
            await machine.run(["systemctl", "restart", SERVER])

    async def join(self, machine: Machine, token: str, *words: str) -> None:
        """Make it a machine of the cluster, with its agent running."""
        # A machine with settings goes on with those.
        labels = [] if "--again" in words else [f"--metadata=name={machine.name}"]
        await machine.run(
            ["argosy", "join", self.url(self.servers[0]), *labels, *words, "--install"],
            env={"ARGOSY_TOKEN": token},
        )
        self.ids[machine.name] = (await machine.read_file("/etc/machine-id")).strip()

    async def token(self, *words: str) -> str:
        done = await self.servers[0].run(["argosy", "token", "create", *words])
        return done.stdout.strip()

    # --- asking it --------------------------------------------------------------------------------------------------

    def url(self, server: Machine) -> str:
        return f"https://{server.address}:7440"

    def client(self, server: Machine | None = None) -> Client:
        """Of this server, or of the first that is on."""
        server = server or next(one for one in self.servers if one.is_on)
        socket = Path(f"/proc/{server.leader}/root/run/argosy/argosy.sock")
        return Client(Endpoint(path=str(socket)))

    async def ask(self, question: Callable[[Client], T], *, server: Machine | None = None) -> T:
        """Of this server, or of the first that is on. Raises what the client raises."""
        return await in_thread(question, self.client(server))

    async def until(
        self,
        look: Callable[[], Awaitable[T]],
        what: str,
        *,
        seconds: float = 30.0,
    ) -> T:
        """What `look` gives once it is true; fails with its last answer, or error, after so many seconds."""
        deadline = time.monotonic() + seconds
        while True:
            answer: T | Exception
            try:
                if answer := await look():
                    return answer
            except Exception as problem:  # a server that is not there yet
                answer = problem
            assert time.monotonic() < deadline, f"not in {seconds:.0f} s: {what}; last: {answer!r}"
            await asyncio.sleep(0.1)

    async def state_of(self, machine: Machine, *, server: Machine | None = None) -> str:
        """As `argosy machines` shows it; empty: it is not known."""
        rows = await self.ask(lambda client: client.machines(), server=server)
        return "".join(row["state"] for row in rows if row["id"] == self.ids[machine.name])

    async def is_in_state(self, machine: Machine, state: str) -> bool:
        return await self.state_of(machine) == state

    async def said(self, machine: Machine, unit: str = AGENT) -> str:
        """All that its agent, or its server, has logged."""
        return "\n".join(str(entry.get("MESSAGE")) for entry in await machine.journal(unit))

    async def all_ready(self) -> bool:
        rows = await self.ask(lambda client: client.machines())
        states = Counter(row["state"] for row in rows)
        return states == {"ready": len(self.machines)}

    # --- units ------------------------------------------------------------------------------------------------------

    async def submit(self, units: Mapping[str, bytes], *, server: Machine | None = None) -> None:
        """Submit and start units with these texts; returns when that is decided, not done."""
        wanted = [
            Submission(name, text, desired="launched") for name, text in sorted(units.items())
        ]
        await self.ask(lambda client: client.submit(wanted), server=server)

    async def start_units(self, *names: str, text: bytes = SLEEPER, seconds: float = 30.0) -> None:
        """Submit and start units, and wait until systemd runs them."""
        await self.submit(dict.fromkeys(names, text))
        await self.until_active(names, seconds=seconds)

    async def start_everywhere(self, name: str, text: bytes, *, seconds: float = 30.0) -> None:
        """Submit and start a global unit, and wait until systemd runs it on every machine."""
        await self.submit({name: text})

        async def look() -> bool:
            return len((await self.places(name)).get(name, ())) == len(self.machines)

        await self.until(look, f"{name} runs everywhere", seconds=seconds)

    async def states(self, *, server: Machine | None = None) -> list[StateView]:
        return await self.ask(lambda client: client.states(), server=server)

    async def until_active(self, names: Iterable[str], *, seconds: float = 30.0) -> None:
        """Wait until the cluster says that each runs on exactly one machine."""
        wanted = dict.fromkeys(names, 1)

        async def look() -> bool:
            rows = [row for row in await self.states() if row["name"] in wanted]
            running = Counter(row["name"] for row in rows if row["active"] == "active")
            return running == wanted

        await self.until(look, f"{len(wanted)} units run", seconds=seconds)

    # --- evidence ---------------------------------------------------------------------------------------------------

    async def lives(self, pattern: str = "*.service") -> dict[tuple[str, str], str]:
        """What systemd runs now of the units that match and are Argosy's: its invocation by machine and unit."""
        found: dict[tuple[str, str], str] = {}

        async def look(machine: Machine) -> None:
            for unit in await shown(machine, pattern):
                if unit["ActiveState"] == "active" and "10-argosy.conf" in unit["DropInPaths"]:
                    found[machine.name, unit["Id"]] = unit["InvocationID"]

        await self._each(look, [machine for machine in self.machines if machine.is_on])
        return found

    async def places(self, pattern: str = "*.service") -> dict[str, list[str]]:
        """On which machines systemd runs each unit."""
        found: dict[str, list[str]] = {}
        for machine, unit in sorted(await self.lives(pattern)):
            found.setdefault(unit, []).append(machine)
        return found

    async def runs_once(self, units: Iterable[str]) -> bool:
        """Whether systemd runs each of the units on exactly one machine that is on."""
        places = await self.places()
        return all(len(places.get(unit, ())) == 1 for unit in units)

    async def runs_on(self, unit: str, machines: Iterable[Machine]) -> bool:
        """Whether systemd runs it on one of these machines."""
        names = {machine.name for machine in machines}
        return bool(names & set((await self.places(unit)).get(unit, ())))

    async def deeds(self, units: Collection[str], *, since: float = 0.0) -> list[str]:
        """What systemd did with the units on any machine after a time (time.time()), in order; from the journals."""
        found = sorted(await self._done(units, since))
        return [f"{after:.1f} s: {words}" for after, words in found]

    async def last_start(self, units: Collection[str], *, since: float) -> float:
        """How long after that time systemd had started the last of the units, in seconds; whoever asks may be late."""
        return max(after for after, words in await self._done(units, since) if " started " in words)

    async def _done(self, units: Collection[str], since: float) -> list[tuple[float, str]]:
        found: list[tuple[float, str]] = []

        async def read(machine: Machine) -> None:
            for entry in await machine.journal():
                after = int(entry["__REALTIME_TIMESTAMP"]) / 1e6 - since
                deed, unit = DEEDS.get(entry.get("MESSAGE_ID", "")), entry.get("UNIT")
                if deed and unit in units and after >= 0:
                    found.append((after, f"{machine.name} {deed} {unit}"))

        await self._each(read, [machine for machine in self.machines if machine.is_on])
        return found

    async def _each(
        self, work: Callable[[Machine], Awaitable[None]], machines: Iterable[Machine]
    ) -> None:
        await asyncio.gather(*(work(machine) for machine in machines))


async def shown(machine: Machine, pattern: str) -> list[dict[str, Any]]:
    """Of every loaded unit that matches: Id, ActiveState, InvocationID, DropInPaths."""
    properties = "--property=Id,ActiveState,InvocationID,DropInPaths"
    text = (await machine.run(["systemctl", "show", "--no-pager", properties, pattern])).stdout
    return [
        dict(line.split("=", 1) for line in block.splitlines())
        for block in text.split("\n\n")
        if block.strip()
    ]


@asynccontextmanager
async def cluster(
    count: int = 3,
    *,
    servers: int = 1,
    etcd: int = 0,
    settings: str = "",
    docker: bool = False,
) -> AsyncIterator[Cluster]:
    """A cluster on so many machines: servers on the first ones, members of etcd too; gone afterwards.

    settings: added to each server's; `QUICK` for short times.
    """
    async with Machines(count, docker=docker) as machines:
        hosts = list(machines)
        made = Cluster(machines, servers=hosts[:servers], members=hosts[:etcd])
        await made.set_up(settings)
        yield made
