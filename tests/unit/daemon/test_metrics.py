"""What servers and agents tell Prometheus: right, described, and what the dashboard and the alerts ask for."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from argosy import __version__
from argosy.api.cluster import open_cluster
from argosy.api.picture import Picture
from argosy.api.questions import Questions
from argosy.api.sessions import Sessions
from argosy.daemon import metrics_port
from argosy.daemon.agent_metrics import AgentMetrics, _starts
from argosy.daemon.server_metrics import Observed, ServerMetrics
from argosy.engine.engine import EngineStatus
from argosy.errors import Invalid, StoreUnavailable
from argosy.model.ids import UnitName
from argosy.model.observed import ActiveState, UnitStatus
from argosy.store import base
from argosy.store.measured import MeasuredStore
from argosy.store.memory import MemoryStore
from system import recorded

DOCS = Path(__file__).parents[3] / "docs"
EXPIRES = datetime(2026, 6, 1, tzinfo=UTC)
NAME = re.compile(r"\b(?:argosy|process)_[a-z_]+\b")
Samples = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: bytes) -> Samples:
    """Each sample by its name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def families(text: bytes) -> set[str]:
    return {family.name for family in text_string_to_metric_families(text.decode())}


def named(text: bytes) -> set[str]:
    """What queries may name: families as they are documented, and each sample."""
    return families(text) | {name for name, _ in samples(text)}


async def server_metrics(store: base.Store, observed: Observed) -> tuple[ServerMetrics, Picture]:
    def clock() -> datetime:
        return recorded.AT + timedelta(seconds=90)

    await open_cluster(store, clock=clock)
    await recorded.write(store)
    metrics = ServerMetrics(
        observed=observed,
        name="s1",
        store=store,
        sessions=Sessions(store, name="s1", clock=clock),
        questions=Questions(),
        engine=lambda: EngineStatus("s1", is_leading=True, sentence=""),
        expiries=lambda: {"server": EXPIRES},
    )
    return metrics, await Picture.load(store, clock)


async def exposed() -> bytes:
    """All that a server of the recorded cluster tells, with one observation of each kind."""
    observed = Observed()
    store = MeasuredStore(MemoryStore(), observed.operation)
    metrics, picture = await server_metrics(store, observed)
    metrics.request("GET", "/v1/units/{name}", 404, 0.002)
    observed.turn(0.004)
    observed.operation("txn", 0.1, "StoreUnavailable")
    return await metrics.exposed(picture)


async def agent_exposed() -> bytes:
    metrics = AgentMetrics(
        recorded.Output(), machine=recorded.ONE, runtime_name="process", expires=lambda: EXPIRES
    )
    metrics.registered()
    metrics.reported(0.02, "")
    metrics.reported(3.0, "StoreUnavailable")
    return await metrics.exposed()


async def test_a_server_tells_how_the_cluster_and_it_are() -> None:
    found = samples(await exposed())
    for state, count in [("ready", 1), ("suspect", 1), ("lost", 0), ("drained", 0)]:
        assert found["argosy_machines", (("state", state),)] == count
    for active, count in [("active", 2), ("failed", 1), ("activating", 1), ("inactive", 0)]:
        assert found["argosy_unit_states", (("active", active),)] == count
    assert found["argosy_units", (("desired", "launched"),)] == 4
    assert found["argosy_units", (("desired", "inactive"),)] == 2
    assert found["argosy_units_pending", ()] == 1
    assert found["argosy_engine_leading", ()] == 1
    assert found["argosy_leader_known", ()] == 0
    assert found["argosy_store_up", ()] == 1
    assert found["argosy_store_keys", ()] > 20
    at = found["argosy_certificate_expiry_timestamp_seconds", (("certificate", "server"),)]
    assert at == EXPIRES.timestamp()
    [info] = [labels for name, labels in found if name == "argosy_server_info"]
    assert dict(info).items() >= {"name": "s1", "version": __version__}.items()


async def test_what_happens_is_counted() -> None:
    found = samples(await exposed())
    labels = (("method", "GET"), ("route", "/v1/units/{name}"))
    assert found["argosy_http_requests_total", (("code", "404"), *labels)] == 1
    assert found["argosy_http_request_seconds_sum", labels] == pytest.approx(0.002)
    assert found["argosy_engine_turn_seconds_bucket", (("le", "0.005"),)] == 1
    assert found["argosy_engine_turn_seconds_bucket", (("le", "0.0025"),)] == 0
    problems = (("operation", "txn"), ("problem", "StoreUnavailable"))
    assert found["argosy_store_problems_total", problems] == 1
    # The recorded cluster was written and read through the store.
    assert found["argosy_store_operation_seconds_count", (("operation", "txn"),)] >= 3
    assert found["argosy_store_operation_seconds_count", (("operation", "range"),)] > 5


class AwayStore(MemoryStore):
    async def status(self) -> base.StoreStatus:
        raise StoreUnavailable("away")


async def test_without_the_store_the_rest_is_told() -> None:
    metrics, picture = await server_metrics(AwayStore(), Observed())
    found = samples(await metrics.exposed(picture))
    assert found["argosy_store_up", ()] == 0
    assert ("argosy_store_keys", ()) not in found
    assert found["argosy_machines", (("state", "ready"),)] == 1


async def test_an_agent_tells_of_its_units_and_its_servers() -> None:
    found = samples(await agent_exposed())
    assert found["argosy_agent_units", (("active", "active"),)] >= 1
    assert found["argosy_agent_report_seconds_count", ()] == 1
    assert found["argosy_agent_report_failures_total", (("problem", "StoreUnavailable"),)] == 1
    heard = found["argosy_agent_last_answer_timestamp_seconds", ()]
    assert abs(heard - datetime.now(UTC).timestamp()) < 60
    at = found["argosy_agent_certificate_expiry_timestamp_seconds", ()]
    assert at == EXPIRES.timestamp()


def status(active: ActiveState, **more: Any) -> UnitStatus:
    return UnitStatus(name=UnitName("web.service"), active=active, **more)


@pytest.mark.parametrize(
    ("before", "after", "starts"),
    [
        (None, status(ActiveState.ACTIVATING), 1),
        (None, status(ActiveState.INACTIVE), 0),
        (status(ActiveState.ACTIVATING), status(ActiveState.ACTIVE), 0),
        (status(ActiveState.INACTIVE), status(ActiveState.ACTIVE), 1),
        (status(ActiveState.FAILED, restarts=1), status(ActiveState.ACTIVATING, restarts=1), 1),
        (status(ActiveState.ACTIVE), status(ActiveState.ACTIVE, restarts=3), 3),
        (status(ActiveState.ACTIVE, restarts=3), status(ActiveState.ACTIVE), 0),
        (status(ActiveState.ACTIVE), status(ActiveState.FAILED), 0),
    ],
)
def test_starts_between_two_looks(
    before: UnitStatus | None, after: UnitStatus, starts: int
) -> None:
    assert _starts(before, after) == starts


# --- what is said about it ------------------------------------------------------------------------------------------


def documented() -> set[str]:
    rows = re.findall(r"^\| (`argosy_[^|]*)\|", (DOCS / "monitoring.md").read_text(), re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


async def test_the_page_describes_every_metric_and_no_other() -> None:
    told = families(await exposed()) | families(await agent_exposed())
    assert {name for name in told if name.startswith("argosy_")} == documented()


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DOCS / "grafana-dashboard.json").read_text())
    return loaded


def expressions() -> Iterator[tuple[str, str]]:
    """Queries of the dashboard and of the page's alerts, by what they are for."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    page = (DOCS / "monitoring.md").read_text()
    yield from re.findall(r"alert: (\w+)\n\s+expr: (.+)", page)


async def test_everything_that_dashboard_and_alerts_ask_for_is_told() -> None:
    told = named(await exposed()) | named(await agent_exposed())
    asked = [(title, name) for title, query in expressions() for name in NAME.findall(query)]
    assert len(asked) > 40
    assert [(title, name) for title, name in asked if name not in told] == []


async def test_the_dashboard_shows_every_metric() -> None:
    asked = {name for _, query in expressions() for name in NAME.findall(query)}
    bare = {re.sub(r"_(?:total|bucket|count|sum)$", "", name) for name in asked}
    of_no_use_on_one = {"argosy_store_keys", "argosy_store_revision", "argosy_units"}
    assert documented() - bare == of_no_use_on_one


def test_panels_of_the_dashboard_do_not_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


# --- the port -------------------------------------------------------------------------------------------------------


async def ask(url: str, data: bytes) -> bytes:
    host, port = url.removeprefix("http://").removesuffix("/metrics").rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(data)
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def page() -> bytes:
    return b"argosy_x 1\n"


async def broken() -> bytes:
    raise ValueError("a secret that nobody needs to know")


@pytest.mark.parametrize(
    ("request_", "status", "body"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"200 OK", b"argosy_x 1\n"),
        (b"GET /metrics?name=x HTTP/1.0\r\n\r\n", b"200 OK", b"argosy_x 1\n"),
        (b"HEAD /metrics HTTP/1.1\r\n\r\n", b"200 OK", b""),
        (b"GET / HTTP/1.1\r\n\r\n", b"404 Not Found", b"metrics are at /metrics\n"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405 Method Not Allowed", b"only GET\n"),
    ],
)
async def test_the_port_has_one_page(request_: bytes, status: bytes, body: bytes) -> None:
    async with metrics_port.served("127.0.0.1:0", page) as url:
        head, _, rest = (await ask(url, request_)).partition(b"\r\n\r\n")
        assert head.split(b"\r\n")[0] == b"HTTP/1.1 " + status
        assert b"Content-Type: text/plain; version=0.0.4" in head
        assert rest == body


@pytest.mark.parametrize(
    "garbage",
    [b"\x16\x03\x01" + b"\0" * 100 + b"\r\n\r\n", b"\r\n\r\n", b"GET " + b"x" * 100_000],
    ids=["TLS", "nothing", "an endless line"],
)
async def test_garbage_gets_an_error_or_nothing_and_harms_nobody(garbage: bytes) -> None:
    async with metrics_port.served("127.0.0.1:0", page) as url:
        assert b"200" not in (await ask(url, garbage))[:20]
        assert b"argosy_x 1" in await ask(url, b"GET /metrics HTTP/1.1\r\n\r\n")


async def test_a_crowd_that_says_nothing_is_bounded_and_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics_port, "PATIENCE_SECONDS", 0.3)
    async with metrics_port.served("127.0.0.1:0", page) as url:
        crowd = await asyncio.gather(
            *(ask(url, b"GET ") for _ in range(metrics_port.CONNECTIONS + 20))
        )
        assert set(crowd) == {b""}
        assert b"argosy_x 1" in await ask(url, b"GET /metrics HTTP/1.1\r\n\r\n")


async def test_a_bug_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    async with metrics_port.served("127.0.0.1:0", broken) as url:
        answer = await ask(url, b"GET /metrics HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"secret" not in answer
    assert "secret" in caplog.text


@pytest.mark.parametrize("listen", ["nonsense", "127.0.0.1:http", "127.0.0.1:99999", ":"])
async def test_what_is_no_address_is_an_error_for_people(listen: str) -> None:
    with pytest.raises(Invalid, match="metrics_listen"):
        async with metrics_port.served(listen, page):
            raise AssertionError


async def test_an_address_that_is_taken_keeps_nobody_from_working(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with metrics_port.served("127.0.0.1:0", page) as url:
        taken = url.removeprefix("http://").removesuffix("/metrics")
        async with metrics_port.served(taken, page) as second:
            assert second == ""
            assert f"no metrics: cannot listen at {taken}: " in caplog.text
        assert b"argosy_x 1" in await ask(url, b"GET /metrics HTTP/1.1\r\n\r\n")


async def test_nothing_is_served_unless_asked_for() -> None:
    async with metrics_port.served("", page) as url:
        assert url == ""
