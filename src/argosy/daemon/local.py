"""The daemon of `argosy up`: a server and an agent in one process.

Everything it owns is in one directory, private to its user:

    argosy.sock     the API
    store.db        the cluster's records (SQLite)
    machine-id      this machine's id in the cluster
    agent/          what the agent remembers
    runtime/        units, their supervisors' sockets, their output (unless the user's systemd has them)
    daemon.log      what the daemon says, when it has no terminal

Units outlive the daemon: one that dies, by whatever way, leaves them running, and the next finds them. `stop_everything`
is the only thing that stops them, and it goes the ordinary way: nothing is desired any more, the engine empties the
assignment, the agent obeys.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import platform
import secrets
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from argosy import __version__
from argosy.agent.agent import Agent
from argosy.agent.disk import DirectoryDisk
from argosy.agent.facts import FactsOf
from argosy.agent.questions import Answerer
from argosy.api.cluster import open_cluster
from argosy.api.gate import MachineGate
from argosy.api.questions import Questions
from argosy.api.server import Server
from argosy.api.services import FindUnhonoured, Services, all_honoured
from argosy.api.sessions import Sessions
from argosy.daemon.runtimes import open_runtime_of_user
from argosy.engine.engine import Engine
from argosy.errors import ArgosyError, Invalid
from argosy.model.ids import MachineId
from argosy.model.machine import Capacity, Machine
from argosy.model.unit import DesiredState, Unit
from argosy.runtime.base import Runtime
from argosy.runtime.process import directives
from argosy.settings import AgentSettings, EngineSettings, RuntimeKind
from argosy.store import base, codec, keys
from argosy.store.sqlite import SqliteStore

log = logging.getLogger(__name__)
SOCKET = "argosy.sock"


def now() -> datetime:
    """The wall clock, for records that people read."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """How the daemon of `argosy up` runs."""

    directory: Path
    listen: str = ""
    """`ADDRESS:PORT` on loopback, beside the unix socket; empty for none."""
    runtime: RuntimeKind = RuntimeKind.PROCESS
    """Plain processes, or this user's own systemd."""
    engine: EngineSettings = field(default_factory=EngineSettings)
    agent: AgentSettings = field(default_factory=AgentSettings)


class Local:
    """A running server and agent in this process. Made by `local`."""

    def __init__(self, store: base.Store, runtime: Runtime, asked: asyncio.Event) -> None:
        self._store = store
        self._runtime = runtime
        self.asked_to_stop = asked
        """Set when somebody asked, through the API, that everything stop."""

    async def stop_everything(self) -> None:
        """Want no unit any more, and wait until the machine runs none. The units' texts stay.

        Takes as long as the slowest unit takes to stop, which its own TimeoutStopSec bounds.
        """
        await _want_nothing(self._store)
        async with self._runtime.changes() as changes:
            if not self._runtime.statuses():
                return
            async for _ in changes:
                if not self._runtime.statuses():
                    return


@asynccontextmanager
async def local(settings: LocalSettings) -> AsyncIterator[Local]:
    """Run a server and an agent while the body runs; leaving stops no unit.

    A part that dies takes the body along, and its error is raised.
    Raises StoreRefused when another daemon has the directory or its store cannot be used, Invalid for a bad `listen`,
    RuntimeRefused when there is no systemd of this user and one was asked for.
    """
    directory = settings.directory
    _make_private(directory)
    async with AsyncExitStack() as stack:
        store = await SqliteStore.open(directory / "store.db")
        stack.push_async_callback(store.close)
        cluster = await open_cluster(store, clock=now)
        # The store is locked by this process: whoever led it before is dead, and its lease need not be waited out.
        await store.txn([], [base.Delete(keys.LEADER)])
        machine = this_machine(directory)
        runtime = await open_runtime_of_user(settings.runtime, directory)
        stack.push_async_callback(runtime.close)
        engine = Engine(store, name=f"up-{os.getpid()}", clock=now, settings=settings.engine)
        sessions = Sessions(store, name="up", clock=now, settings=settings.engine.presence)
        # The store is locked by this process, so whoever registered before is gone.
        gate = MachineGate(sessions, machine.id, holder="up")
        agent = Agent(
            gate,
            runtime,
            DirectoryDisk(directory / "agent"),
            machine,
            clock=now,
            settings=settings.agent,
        )
        questions = Questions()
        facts = FactsOf(clock=now, runtime=settings.runtime, directories=(directory,))
        answerer = Answerer(runtime, gather_facts=facts.gather)
        asked = asyncio.Event()
        services = Services(
            store=store,
            clock=now,
            writer=f"api-{os.getpid()}",
            questions=questions,
            find_unhonoured=_find_unhonoured(settings.runtime),
            engine=lambda: engine.status,
            on_stop=asked.set,
        )
        async with asyncio.TaskGroup() as tasks:
            server = Server(services, unix=directory / SOCKET, tcp=settings.listen)
            running = [
                tasks.create_task(engine.run(), name="engine"),
                tasks.create_task(sessions.run(), name="sessions"),
                tasks.create_task(agent.run(), name="agent"),
                tasks.create_task(
                    answerer.serve(questions.line(machine.id)), name="answer questions"
                ),
                tasks.create_task(server.run(), name="api"),
            ]
            try:
                yield Local(store, runtime, asked)
            finally:
                for task in reversed(running):
                    task.cancel()
        log.info("cluster %s closed", cluster.id)


def this_machine(directory: Path) -> Machine:
    """This process as a machine: an id of its own, kept in the directory, and what the host has to give."""
    return Machine(
        id=_machine_id(directory / "machine-id"),
        hostname=platform.node(),
        address="127.0.0.1",
        capacity=Capacity(
            memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            cpu_millis=1000 * (os.cpu_count() or 1),
        ),
        version=__version__,
    )


def _find_unhonoured(runtime: RuntimeKind) -> FindUnhonoured:
    return all_honoured if runtime is RuntimeKind.SYSTEMD else directives.unsupported


def _machine_id(path: Path) -> MachineId:
    # Not /etc/machine-id: two users of one host are two machines, and a copied home directory is another one.
    with contextlib.suppress(FileNotFoundError):
        text = path.read_text().strip()
        if len(text) == 32 and set(text) <= set("0123456789abcdef"):
            return MachineId(text)
        raise Invalid(
            f"{path} is no machine id: it should be 32 hex digits",
            hint=f"remove it to get a new one: rm {path}",
        )
    new = MachineId(secrets.token_hex(16))
    path.write_text(new + "\n")
    return new


def _make_private(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = directory.stat()
    if owner.st_uid != os.geteuid() or owner.st_mode & 0o077:
        raise Invalid(
            f"{directory} must belong to you alone; whoever can write there runs programs as you",
            hint=f"chmod 700 {directory}",
        )


async def run_local(
    settings: LocalSettings, *, ready: Callable[[], None], stop: asyncio.Event
) -> None:
    """Run until somebody asks that everything stop, by `stop` or through the API; then stop it, and return.

    ready: called once, when the API answers.
    Cancelling it stops no unit.
    """
    async with local(settings) as here:
        ready()
        asked = [
            asyncio.create_task(stop.wait(), name="wait for a signal"),
            asyncio.create_task(here.asked_to_stop.wait(), name="wait for `down`"),
        ]
        try:
            await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in asked:
                task.cancel()
        await here.stop_everything()


async def _want_nothing(store: base.Store) -> None:
    """Set every unit's desired state to inactive."""
    found = await store.range(keys.UNITS, base.prefix_end(keys.UNITS))
    for start in range(0, len(found.kvs), base.MAX_TXN_OPS):
        some = found.kvs[start : start + base.MAX_TXN_OPS]
        units = [(kv, codec.decode(kv.value, Unit)) for kv in some]
        wanted = [(kv, unit) for kv, unit in units if unit.desired is not DesiredState.INACTIVE]
        if not wanted:
            continue
        result = await store.txn(
            [base.unchanged(kv) for kv, _ in wanted],
            [
                base.Put(
                    kv.key,
                    codec.encode(msgspec.structs.replace(unit, desired=DesiredState.INACTIVE)),
                )
                for kv, unit in wanted
            ],
        )
        if not result.succeeded:
            # Somebody changed a unit meanwhile: look again, until nobody does.
            await _want_nothing(store)
            return


def main(arguments: list[str] | None = None) -> int:
    """The daemon in the background: `python -m argosy.daemon --directory DIR`. Logs to standard error."""
    parser = argparse.ArgumentParser(prog="argosy.daemon")
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--listen", default="")
    parser.add_argument("--runtime", type=RuntimeKind, default=RuntimeKind.PROCESS)
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
    settings = LocalSettings(
        directory=options.directory, listen=options.listen, runtime=options.runtime
    )

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await run_local(settings, ready=lambda: log.info("ready"), stop=stop)

    problems: list[ArgosyError] = []
    try:
        asyncio.run(run())
    except* ArgosyError as group:
        problems += [one for one in group.exceptions if isinstance(one, ArgosyError)]
    for problem in problems:
        log.error("%s", f"{problem} -> {problem.hint}" if problem.hint else problem)
    return 1 if problems else 0
