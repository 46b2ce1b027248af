"""The daemon `argosy agent`: runs a machine's units, and answers for it to the cluster's servers.

Its directory is private to it:

    machine.pem     the machine's certificate with its key; renewed long before it runs out
    ca.crt          the cluster's certificate authority
    servers.json    where servers are, as they told it last
    state/          the last assignment and its texts: enough to bring every unit back with no server in reach
    runtime/        units, supervisors and output, where units are plain processes

It is ready when it runs, not when a server answers: a machine that boots cut off brings its units back all the same. Units
outlive it, by whatever way it ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from argosy.agent.agent import Agent
from argosy.agent.disk import DirectoryDisk
from argosy.agent.facts import FactsOf
from argosy.agent.https_link import HttpsLink
from argosy.agent.questions import Answerer
from argosy.agent.servers import Servers
from argosy.daemon import host, renewal, settings_file
from argosy.daemon.agent_metrics import AgentMetrics
from argosy.daemon.metrics_port import served
from argosy.daemon.runtimes import chosen, open_runtime
from argosy.errors import ArgosyError, Invalid, NotFound
from argosy.model.ids import MachineId
from argosy.pki import certificates, files
from argosy.settings import MachineSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AgentFiles:
    """Where an agent's certificates are, and what else it keeps."""

    directory: Path

    @property
    def certificate(self) -> Path:
        """With its key."""
        return self.directory / "machine.pem"

    @property
    def ca(self) -> Path:
        return self.directory / "ca.crt"

    @property
    def servers(self) -> Path:
        return self.directory / "servers.json"

    @property
    def state(self) -> Path:
        return self.directory / "state"

    def check(self, machine: MachineId) -> None:
        """Raises Invalid when the machine has no certificate, or that of another machine."""
        try:
            found = certificates.machine_of(files.read_private(self.certificate))
            files.read_public(self.ca)
        except NotFound as problem:
            raise Invalid(
                f"this machine is part of no cluster yet: {problem}",
                hint="argosy join URL --token TOKEN",
            ) from None
        if found is None or found.machine != machine:
            raise Invalid(
                f"the certificate in {self.certificate} is not of this machine, whose id is {machine}",
                hint="a copy of another machine has to join itself: argosy join URL --token TOKEN --again",
            )

    def expires_at(self) -> datetime | None:
        with suppress(ArgosyError):
            return certificates.expires_at(files.read_private(self.certificate))
        return None


def now() -> datetime:
    """The wall clock, for records that people read, and for certificates."""
    return datetime.now(UTC)


async def run_agent(
    settings: MachineSettings, stop: asyncio.Event, ready: Callable[[], None]
) -> None:
    """Run until `stop` is set; no unit is stopped by that.

    ready: called when the agent runs. Raises Invalid for settings that cannot be carried out, StoreRefused when another
    agent has the directory, RuntimeRefused, and what made it impossible to go on.
    """
    async with agent(settings):
        ready()
        await stop.wait()


@asynccontextmanager
async def agent(settings: MachineSettings) -> AsyncIterator[None]:
    """An agent that runs while the body runs. A part that dies takes the body along."""
    directory = settings.directory
    host.make_private(directory)
    place = AgentFiles(directory)
    chance = random.Random()  # noqa: S311 - spreads, hides nothing
    async with AsyncExitStack() as stack:
        stack.callback(os.close, host.lock(directory))
        machine = host.machine_of(settings)
        place.check(machine.id)
        servers = Servers(settings.servers, place.servers, chance=chance)
        link = HttpsLink(servers, _context(place), holder=host.holder_of(machine.id))
        stack.callback(link.close)
        runtime = await open_runtime(settings.runtime, directory)
        stack.push_async_callback(runtime.close)
        metrics = AgentMetrics(
            runtime,
            machine=machine.id,
            runtime_name=str(chosen(settings.runtime)),
            expires=place.expires_at,
        )
        await stack.enter_async_context(served(settings.metrics_listen, metrics.exposed))
        own = Agent(
            metrics.link(link),
            runtime,
            DirectoryDisk(place.state),
            machine,
            clock=now,
            settings=settings.agent,
        )
        facts = FactsOf(
            clock=now,
            runtime=str(chosen(settings.runtime)),
            directories=(Path("/"), directory),
            is_exec_allowed=settings.exec,
            certificate_expires=place.expires_at,
        )
        answerer = Answerer(runtime, gather_facts=facts.gather, may_exec=settings.exec)

        async def sign(request: bytes) -> bytes:
            certificate, _ = await link.new_certificate(request)
            return certificate

        log.info("machine %s, servers %s", machine.id, ", ".join(servers.all) or "unknown")
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(own.run(), name="agent"),
                tasks.create_task(metrics.watch(), name="count starts"),
                tasks.create_task(
                    answer_questions(link, servers, answerer), name="answer questions"
                ),
                tasks.create_task(
                    _learn_servers(link, settings.agent.learn_every, chance),
                    name="learn where servers are",
                ),
                tasks.create_task(
                    renewal.keep_renewed(
                        place.certificate,
                        sign=sign,
                        use=lambda: link.use(_context(place)),
                        clock=now,
                        chance=chance,
                    ),
                    name="renew the certificate",
                ),
            ]
            try:
                yield
            finally:
                for task in running:
                    task.cancel()


async def answer_questions(link: HttpsLink, servers: Servers, answerer: Answerer) -> None:
    """Answer what each server asks, also of servers that come to be there."""
    serving: dict[str, asyncio.Task[None]] = {}
    async with asyncio.TaskGroup() as tasks:
        while True:
            known = servers.distinct
            for url in serving.keys() - set(known):
                serving.pop(url).cancel()
            for url in known:
                if url not in serving:
                    work = answerer.serve(link.questions_of(url))
                    serving[url] = tasks.create_task(work, name=f"questions of {url}")
            await servers.changed()


async def _learn_servers(link: HttpsLink, every: timedelta, chance: random.Random) -> None:
    """One that was added since the agent registered is one to go to, and may ask this machine something."""
    while True:
        await asyncio.sleep(every.total_seconds() * chance.uniform(0.8, 1.2))
        try:
            await link.learn_servers()
        except ArgosyError as problem:
            log.debug("where servers are cannot be learned now: %s", problem)


def _context(place: AgentFiles) -> ssl.SSLContext:
    return certificates.client_context(
        ca=files.read_public(place.ca), certificate=place.certificate
    )


def settings_at(path: Path) -> MachineSettings:
    """Raises Invalid, also when the file is not there."""
    if not path.exists():
        raise Invalid(f"there is no {path}", hint="argosy join URL --token TOKEN")
    return settings_file.read(path, MachineSettings)
