"""What an agent tells Prometheus: its units, how they start and fail, and how it gets on with its servers.

It looks from outside: at the runtime's statuses as they change, and at the link's calls as they pass (`MeasuredLink`). The
agent knows nothing of it. Names and labels are described in `docs/monitoring.md`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime

from prometheus_client import Counter as Counted
from prometheus_client import Gauge, Histogram, generate_latest

from argosy import __version__
from argosy.agent.link import ServerLink
from argosy.agent.unit_output import Output
from argosy.daemon.exposition import BUCKETS, new_registry
from argosy.errors import ArgosyError
from argosy.model.ids import Digest, MachineId, UnitName
from argosy.model.link import Delivery, Registered, Report
from argosy.model.machine import Machine
from argosy.model.observed import ActiveState, UnitStatus

_UP = (ActiveState.ACTIVATING, ActiveState.ACTIVE, ActiveState.RELOADING)


class AgentMetrics:
    """Counts for one agent. Whoever has it runs `watch` beside the agent."""

    def __init__(
        self,
        runtime: Output,
        *,
        machine: MachineId,
        runtime_name: str,
        expires: Callable[[], datetime | None],
    ) -> None:
        """expires: when the machine's certificate does; asked each time, since it renews itself."""
        self._runtime = runtime
        self._expires = expires
        self._known: dict[UnitName, UnitStatus] = {}
        self.registry = registry = new_registry()
        info = Gauge(
            "argosy_agent_info", "This agent.", ["machine", "version", "runtime"], registry=registry
        )
        info.labels(machine, __version__, runtime_name).set(1)
        self._units = Gauge(
            "argosy_agent_units",
            "Units on this machine, by systemd's active state.",
            ["active"],
            registry=registry,
        )
        self._starts = Counted(
            "argosy_agent_unit_starts", "Starts of units that were seen.", registry=registry
        )
        self._failures = Counted(
            "argosy_agent_unit_failures", "Units that were seen to fail.", registry=registry
        )
        self._expiry = Gauge(
            "argosy_agent_certificate_expiry_timestamp_seconds",
            "When this machine's certificate runs out; 0 when it cannot be read.",
            registry=registry,
        )
        self._registrations = Counted(
            "argosy_agent_registrations",
            "Registrations with a server: one at the start, others after a loss.",
            registry=registry,
        )
        self._report_seconds = Histogram(
            "argosy_agent_report_seconds",
            "Time until a server answered a report; heartbeats are reports.",
            registry=registry,
            buckets=BUCKETS,
        )
        self._report_failures = Counted(
            "argosy_agent_report_failures",
            "Reports that no server answered, or that it refused, by the class of the error.",
            ["problem"],
            registry=registry,
        )
        self._heard = Gauge(
            "argosy_agent_last_answer_timestamp_seconds",
            "When a server last answered a report.",
            registry=registry,
        )

    def link(self, link: ServerLink) -> ServerLink:
        """The same link, with its calls counted."""
        return MeasuredLink(link, self)

    async def watch(self) -> None:
        """Count starts and failures, until cancelled."""
        is_first = True
        async with self._runtime.changes() as changes:
            async for names in changes:
                self._note(names, is_first=is_first)
                is_first = False

    def _note(self, names: frozenset[UnitName], *, is_first: bool) -> None:
        """What runs when the agent begins was started by somebody else, or before."""
        statuses = self._runtime.statuses()
        for name in names:
            after, before = statuses.get(name), self._known.pop(name, None)
            if after is None:
                continue
            self._known[name] = after
            if not is_first:
                self._starts.inc(_starts(before, after))
                was_failed = before is not None and before.active is ActiveState.FAILED
                if after.active is ActiveState.FAILED and not was_failed:
                    self._failures.inc()

    def registered(self) -> None:
        self._registrations.inc()

    def reported(self, seconds: float, problem: str) -> None:
        """problem: name of the error's class; empty when there was none."""
        if problem:
            self._report_failures.labels(problem).inc()
        else:
            self._report_seconds.observe(seconds)
            self._heard.set_to_current_time()

    async def exposed(self) -> bytes:
        """All of it in Prometheus' text format."""
        states = Counter(status.active for status in self._runtime.statuses().values())
        for state in ActiveState:
            self._units.labels(str(state)).set(states[state])
        expires = self._expires()
        self._expiry.set(expires.timestamp() if expires else 0)
        return generate_latest(self.registry)


def _starts(before: UnitStatus | None, after: UnitStatus) -> int:
    """How many starts lie between two looks; those that passed in between unseen are counted by `restarts`."""
    was_up = before is not None and before.active in _UP
    begun = int(after.active in _UP and not was_up)
    again = after.restarts - before.restarts if before else 0
    return max(begun, again)


class MeasuredLink:
    """Implements `ServerLink`: passes everything on, and tells the metrics how it went."""

    def __init__(self, link: ServerLink, metrics: AgentMetrics) -> None:
        self._link = link
        self._metrics = metrics

    async def register(self, machine: Machine) -> Registered:
        answer = await self._link.register(machine)
        self._metrics.registered()
        return answer

    def assignments(self) -> AbstractAsyncContextManager[AsyncIterator[Delivery]]:
        return self._link.assignments()

    async def text(self, digest: Digest) -> bytes:
        return await self._link.text(digest)

    async def report(self, report: Report) -> None:
        began = time.monotonic()
        try:
            await self._link.report(report)
        except ArgosyError as error:
            self._metrics.reported(time.monotonic() - began, type(error).__name__)
            raise
        self._metrics.reported(time.monotonic() - began, "")
