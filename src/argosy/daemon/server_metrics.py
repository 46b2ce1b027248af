"""What a server tells Prometheus: of itself, and of the cluster as it knows it.

Two kinds. What happens is counted when it happens (`Observed`: requests, turns of the engine, operations of the store).
What is, machines by state and units by state, is read from the feed's picture when somebody asks; so it costs nothing in
between, and is there when the store is not. Names and labels are described in `docs/monitoring.md`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import get_args

from prometheus_client import Counter as Counted
from prometheus_client import Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from argosy import __version__
from argosy.api import views
from argosy.api.picture import Picture
from argosy.api.questions import Questions
from argosy.api.schemas import MachineState
from argosy.api.sessions import Sessions
from argosy.daemon.exposition import BUCKETS, new_registry
from argosy.engine.engine import EngineStatus
from argosy.errors import ArgosyError
from argosy.model.observed import ActiveState
from argosy.model.unit import DesiredState
from argosy.store.base import Store, StoreStatus

STORE_SECONDS = 2.0
"""How long the store may take to say how large it is; without its answer the rest is told."""
MACHINE_STATES = get_args(MachineState)


class Observed:
    """What happens in a server, counted."""

    def __init__(self) -> None:
        self.registry = new_registry()
        self._requests = Counted(
            "argosy_http_requests",
            "Requests answered, but for heartbeats.",
            ["method", "route", "code"],
            registry=self.registry,
        )
        self._request_seconds = Histogram(
            "argosy_http_request_seconds",
            "Time until the answer to a request began.",
            ["method", "route"],
            registry=self.registry,
            buckets=BUCKETS,
        )
        self._store_seconds = Histogram(
            "argosy_store_operation_seconds",
            "Time that operations of the store took.",
            ["operation"],
            registry=self.registry,
            buckets=BUCKETS,
        )
        self._store_problems = Counted(
            "argosy_store_problems",
            "Operations of the store that failed, by the class of the error.",
            ["operation", "problem"],
            registry=self.registry,
        )
        self._turn_seconds = Histogram(
            "argosy_engine_turn_seconds",
            "Time that turns of this server's engine took, with their writes.",
            registry=self.registry,
            buckets=BUCKETS,
        )

    def request(self, method: str, route: str, code: int, seconds: float) -> None:
        self._requests.labels(method, route, str(code)).inc()
        self._request_seconds.labels(method, route).observe(seconds)

    def operation(self, operation: str, seconds: float, problem: str) -> None:
        self._store_seconds.labels(operation).observe(seconds)
        if problem:
            self._store_problems.labels(operation, problem).inc()

    def turn(self, seconds: float) -> None:
        self._turn_seconds.observe(seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerMetrics:
    """Everything that a server tells.

    expiries: of its certificates, by what they are for; asked each time, since certificates renew themselves.
    """

    observed: Observed
    name: str
    store: Store
    sessions: Sessions
    questions: Questions
    engine: Callable[[], EngineStatus]
    expiries: Callable[[], Mapping[str, datetime]]

    def request(self, method: str, route: str, code: int, seconds: float) -> None:
        self.observed.request(method, route, code, seconds)

    async def exposed(self, picture: Picture) -> bytes:
        """All of it in Prometheus' text format."""
        status: StoreStatus | None = None
        try:
            async with asyncio.timeout(STORE_SECONDS):
                status = await self.store.status()
        except (ArgosyError, TimeoutError):
            pass
        families = [
            *self.observed.registry.collect(),
            *self._server(picture),
            *_store(status),
            *_machines(picture),
            *_units(picture),
        ]
        return generate_latest(_Collected(families))

    def _server(self, picture: Picture) -> Iterator[Metric]:
        engine = self.engine()
        info = GaugeMetricFamily(
            "argosy_server_info", "This server.", labels=["name", "version", "cluster", "epoch"]
        )
        cluster = picture.cluster
        epoch = str(cluster.epoch) if cluster else ""
        info.add_metric([self.name, __version__, cluster.id if cluster else "", epoch], 1)
        yield info
        yield _gauge(
            "argosy_engine_leading", "Whether this server's engine leads.", engine.is_leading
        )
        yield _gauge(
            "argosy_leader_known", "Whether some engine leads.", picture.leader is not None
        )
        yield _gauge("argosy_servers", "Servers that are there.", len(picture.servers))
        yield _gauge(
            "argosy_sessions",
            "Machines that this server hears of, and vouches for.",
            self.sessions.count,
        )
        yield _gauge(
            "argosy_agents_connected",
            "Machines that can be asked through this server.",
            self.questions.connected,
        )
        expiry = GaugeMetricFamily(
            "argosy_certificate_expiry_timestamp_seconds",
            "When certificates run out.",
            labels=["certificate"],
        )
        for certificate, instant in sorted(self.expiries().items()):
            expiry.add_metric([certificate], instant.timestamp())
        yield expiry


def _store(status: StoreStatus | None) -> Iterator[Metric]:
    yield _gauge("argosy_store_up", "Whether the store answers.", status is not None)
    if status is not None:
        yield _gauge("argosy_store_keys", "Records in the store.", status.keys)
        yield _gauge("argosy_store_bytes", "Bytes that the store uses.", status.bytes_used)
        yield _gauge("argosy_store_revision", "The store's revision.", status.revision)


def _machines(picture: Picture) -> Iterator[Metric]:
    states = Counter(views.machine_state(picture, machine)[0] for machine in picture.machines)
    yield _by(
        "argosy_machines",
        "Machines, by state.",
        "state",
        {one: states[one] for one in MACHINE_STATES},
    )
    held = len(picture.brake.machines) if picture.brake else 0
    yield _gauge(
        "argosy_brake_machines",
        "Machines that are gone and not given up, because too many vanished together.",
        held,
    )


def _units(picture: Picture) -> Iterator[Metric]:
    desired = Counter(unit.desired for unit in picture.units.values())
    yield _by(
        "argosy_units",
        "Units of the cluster, by what is wanted of them.",
        "desired",
        {str(one): desired[one] for one in DesiredState},
    )
    yield _gauge("argosy_units_pending", "Units that no machine can have.", len(picture.pending))
    active = Counter(
        str(status.active) for statuses in picture.statuses.values() for status in statuses.values()
    )
    yield _by(
        "argosy_unit_states",
        "Units on machines, by systemd's active state.",
        "active",
        {str(one): active[one] for one in ActiveState},
    )


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=float(value))


def _by(name: str, text: str, label: str, values: Mapping[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for one, value in values.items():
        family.add_metric([one], value)
    return family


@dataclass(frozen=True, slots=True)
class _Collected:
    """Families as `generate_latest` takes them."""

    families: Iterable[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.families
