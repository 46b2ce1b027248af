"""The sections of Argosy's own, beyond fleet's: each key understood, each fault at its place."""

from __future__ import annotations

from datetime import timedelta

import pytest

from argosy.model.announce import AnnounceSpec
from argosy.model.health import HealthSpec, Probe
from argosy.model.rollout import Amount, Order, Promotion, RolloutSpec, Strategy
from argosy.model.scale import MetricSource, ScaleSpec
from argosy.model.service import PortMode, ServiceSpec
from argosy.model.traffic import Protocol, TrafficSpec
from argosy.model.unit import Condition, Operator, WhenCutOff
from argosy.units.check import Checked
from unit.units.unit_files import errors, unit


def valid(sections: str, name: str = "web@1.service") -> Checked:
    checked = unit(name, sections)
    assert [str(found) for found in checked.diagnostics] == []
    return checked


def test_placement_is_read_in_full() -> None:
    found = valid(
        "[X-Placement]\nMemory=512M\nCPU=0.5\nSpread=zone rack\nSpread=host\nRequire=disk!=hdd\n"
        'Require="cores > 4" "zone in a,b"\nMaxPerMachine=2\nWhenCutOff=stop\nMoveAfter=1min\n'
    ).requirements
    assert found.memory_bytes == 512 << 20
    assert found.cpu_millis == 500
    assert found.spread == ("zone", "rack", "host")
    assert found.metadata == (
        Condition("disk", Operator.NOT_EQUAL, ("hdd",)),
        Condition("cores", Operator.GREATER, ("4",)),
        Condition("zone", Operator.IN, ("a", "b")),
    )
    assert found.max_per_machine == 2
    assert found.when_cut_off is WhenCutOff.STOP
    assert found.move_after == timedelta(minutes=1)


def test_the_hint_says_how_long_a_machine_must_be_silent_for_its_unit_to_stop() -> None:
    sections = "[X-Placement]\nWhenCutOff=stop\nMoveAfter=10s\n"
    [found] = errors(unit("web@1.service", sections))
    assert found.endswith("(write MoveAfter=16s or more)")
    valid(sections.replace("10s", "16s"))
    [found] = errors(unit("web@1.service", "TimeoutStopSec=1min\n" + sections))
    assert found.startswith("6:1: MoveAfter=10s is too short")
    assert found.endswith("(write MoveAfter=187s or more, or a shorter TimeoutStopSec=)")
    valid("TimeoutStopSec=1min\n" + sections.replace("10s", "187s"))


def test_a_unit_that_has_less_time_for_stopping_than_it_asks_for_is_warned_of() -> None:
    checked = unit("web@1.service", "TimeoutStopSec=1min\n[X-Placement]\nWhenCutOff=stop\n")
    [found] = checked.diagnostics
    assert "killed after 5s" in found.message
    assert found.hint == "write MoveAfter=187s to give it that time"
    assert not errors(checked)


def test_conditions_take_blanks_or_commas_between_alternatives() -> None:
    found = valid("[X-Placement]\nRequire=zone in a b, c\nRequire=disk = ssd\n").requirements
    assert found.metadata == (
        Condition("zone", Operator.IN, ("a", "b", "c")),
        Condition("disk", Operator.EQUAL, ("ssd",)),
    )


@pytest.mark.parametrize(
    ("ports", "mode", "blue", "green"),
    [
        ("8080", PortMode.FIXED, 8080, 8080),
        ("8001 8002", PortMode.COLOURS, 8001, 8002),
        ("auto", PortMode.AUTO, None, None),
    ],
)
def test_the_port_is_fixed_or_chosen_or_goes_by_colour(
    ports: str, mode: PortMode, blue: int | None, green: int | None
) -> None:
    spec = valid(f"[X-Service]\nReplicas=3\nPort={ports}\n").specs.service
    assert spec is not None
    assert (spec.replicas, spec.port_mode) == (3, mode)
    assert (spec.port("blue-1"), spec.port("green-1")) == (blue, green)
    assert spec.port("1") == blue


def test_fixed_ports_are_a_resource_of_the_machine_and_may_follow_the_instance() -> None:
    assert valid("[X-Service]\nPort=800%i\n", "web@3.service").requirements.ports == (8003,)
    assert valid("[X-Service]\nPort=8001 8002\n", "web@green-1.service").requirements.ports == (
        8002,
    )
    assert valid("[X-Service]\nPort=auto\n").requirements.ports == ()


def test_health_is_read_in_full() -> None:
    spec = valid(
        "[X-Service]\nPort=8080\n[X-Health]\nHTTP=/healthz\nHost=web.example.com\nStatus=200 300-399\n"
        "Interval=2s\nTimeout=1s\nRise=1\nFall=5\nDeadline=1min\n"
    ).specs.health
    assert spec == HealthSpec(
        probe=Probe.HTTP,
        path="/healthz",
        host="web.example.com",
        status=((200, 200), (300, 399)),
        port=8080,
        interval=timedelta(seconds=2),
        timeout=timedelta(seconds=1),
        rise=1,
        fall=5,
        deadline=timedelta(minutes=1),
    )


def test_a_check_may_be_a_connection_or_a_command() -> None:
    assert valid("[X-Health]\nTCP=yes\nPort=6379\n").specs.health == HealthSpec(
        probe=Probe.TCP, port=6379
    )
    assert valid("[X-Health]\nCommand=/usr/bin/redis-cli -p %i ping\n").specs.health == HealthSpec(
        probe=Probe.COMMAND, command="/usr/bin/redis-cli -p %i ping"
    )


def test_the_port_of_a_check_is_found_where_the_unit_names_it() -> None:
    def port(sections: str) -> int | None:
        spec = valid(sections).specs.health
        assert spec is not None
        return spec.port

    http = "[X-Health]\nHTTP=/\n"
    assert port(f"{http}Port=1\n[X-Service]\nPort=2\n") == 1
    assert port(f"{http}[X-Service]\nPort=2\n") == 2
    assert port(f"Environment=PORT=800%i\n{http}") == 8001
    assert port(f"EnvironmentFile=/etc/web\n{http}") is None


def test_a_check_of_a_port_that_nobody_names_is_warned_about() -> None:
    checked = unit("web.service", "[X-Health]\nHTTP=/\n")
    assert not checked.errors
    assert "which port" in checked.warnings[0].message


def test_announce_is_read_in_full_and_named_after_the_unit() -> None:
    ports = "[X-Service]\nPort=8080\n"
    assert valid(
        f"{ports}[X-Announce]\nName=shop\nKey=/services/web/%i\nKey=/other\nPort=9\nTTL=30s\n"
    ).specs.announce == AnnounceSpec(
        name="shop", keys=("/services/web/1", "/other"), port=9, ttl=timedelta(seconds=30)
    )
    assert valid(f"{ports}[X-Announce]\n", "shop_web@1.service").specs.announce == AnnounceSpec(
        name="shop-web"
    )


def test_rollout_is_read_in_full() -> None:
    assert valid(
        "[X-Rollout]\nStrategy=canary\nOrder=stop-first\nMaxUnavailable=1\nMaxSurge=25%\nCanary=10%\n"
        "Promote=manual\nMinHealthy=5s\nBake=0\nProgressDeadline=1h\nAutoRevert=no\nKeep=9\n"
    ).specs.rollout == RolloutSpec(
        strategy=Strategy.CANARY,
        order=Order.STOP_FIRST,
        max_unavailable=Amount(count=1),
        max_surge=Amount(share=0.25),
        canary=Amount(share=0.1),
        promote=Promotion.MANUAL,
        min_healthy=timedelta(seconds=5),
        bake=timedelta(0),
        progress_deadline=timedelta(hours=1),
        auto_revert=False,
        keep=9,
    )


def test_traffic_is_read_in_full() -> None:
    assert valid(
        "[X-Service]\nPort=8080\n[X-Traffic]\nBalancer=edge\nListen=80\nHost=a.example.com *.b.org\n"
        "Path=/shop/\nDrain=5s\n"
    ).specs.traffic == TrafficSpec(
        balancer="edge",
        listen=80,
        protocol=Protocol.HTTP,
        hosts=("a.example.com", "*.b.org"),
        path="/shop/",
        drain=timedelta(seconds=5),
    )


def test_scale_is_read_in_full() -> None:
    query = 'sum(rate(http_requests_total{job="%p"}[1m]))'
    assert valid(
        f"[X-Scale]\nMin=2\nMax=10\nMetric=prometheus:{query}\nTarget=100\nInterval=30s\nTolerance=5%\n"
        "StepUp=200% 8\nStepDown=1\nWindow=10min\n"
    ).specs.scale == ScaleSpec(
        minimum=2,
        maximum=10,
        source=MetricSource.PROMETHEUS,
        query=query.replace("%p", "web"),
        target=100,
        interval=timedelta(seconds=30),
        tolerance=0.05,
        step_up=(Amount(share=2), Amount(count=8)),
        step_down=(Amount(count=1),),
        window=timedelta(minutes=10),
    )
    counted = valid("[X-Scale]\nMin=0\nMax=5\nMetric=aws-group:web-asg\n").specs.scale
    assert counted is not None
    assert (counted.source, counted.query, counted.target) == (
        MetricSource.AWS_GROUP,
        "web-asg",
        None,
    )


def test_an_absent_section_is_none_and_an_empty_one_has_the_defaults() -> None:
    specs = valid("").specs
    assert specs == type(specs)()
    assert valid("[X-Rollout]\n[X-Service]\n").specs.rollout == RolloutSpec()
    assert valid("[X-Service]\n").specs.service == ServiceSpec()


HTTP = "[X-Service]\nPort=80\n[X-Health]\n"
FAULTS = [
    pytest.param("[X-Placement]\nMemory=lots", "Memory: 'lots' is not a size", id="memory"),
    pytest.param("[X-Placement]\nCPU=0", "CPU: must be at least", id="cpu"),
    pytest.param("[X-Placement]\nSpread=a=b", "Spread: 'a=b' is no metadata key", id="spread"),
    pytest.param("[X-Placement]\nRequire=disk", "Require: 'disk' is no condition", id="condition"),
    pytest.param("[X-Placement]\nRequire=a<=1", "Require: '<=' is no operator", id="operator"),
    pytest.param("[X-Placement]\nRequire=a<1,2", "Require: '<' compares with one", id="less"),
    pytest.param("[X-Placement]\nRequire=a=", "Require: 'a=' has nothing to compare", id="nothing"),
    pytest.param("[X-Placement]\nRequire=a=1 b=2", "Require: '1 b=2' is no metadata", id="two"),
    pytest.param("[X-Placement]\nMaxPerMachine=0", "MaxPerMachine: 0 is not within", id="max"),
    pytest.param("[X-Placement]\nWhenCutOff=die", "WhenCutOff: 'die' is none of", id="cut off"),
    pytest.param("[X-Placement]\nMoveAfter=0", "MoveAfter: must be longer", id="move after"),
    pytest.param(
        "[X-Placement]\nWhenCutOff=stop\nMoveAfter=15s",
        "MoveAfter=15s is too short for WhenCutOff=stop: the unit may not have ended by then",
        id="move too soon",
    ),
    pytest.param(
        "TimeoutStopSec=30s\n[X-Placement]\nWhenCutOff=stop\nMoveAfter=60s",
        "MoveAfter=60s is too short for WhenCutOff=stop with TimeoutStopSec=30s",
        id="move before stopped",
    ),
    pytest.param(
        "[X-Fleet]\nGlobal=yes\n[X-Placement]\nSpread=zone", "Spread has no effect", id="global"
    ),
    pytest.param("[X-Service]\nReplicas=many", "Replicas: 'many' is not", id="replicas"),
    pytest.param("[X-Service]\nPort=1 2 3", "Port: at most two ports", id="three ports"),
    pytest.param("[X-Service]\nPort=1 1", "Port: the blue and the green port", id="equal ports"),
    pytest.param("[X-Service]\nPort=web", "Port: 'web' is not a whole number", id="port"),
    pytest.param(
        "[X-Fleet]\nGlobal=yes\n[X-Service]\nReplicas=2", "a unit with Global=yes", id="global n"
    ),
    pytest.param("[X-Health]", "nothing says what to check", id="no probe"),
    pytest.param(HTTP + "HTTP=/\nTCP=yes", "HTTP and TCP exclude", id="two probes"),
    pytest.param(HTTP + "HTTP=healthz", "HTTP: 'healthz' is no path", id="path"),
    pytest.param(HTTP + "TCP=yes\nStatus=200", "Status has no effect", id="status without http"),
    pytest.param(HTTP + "HTTP=/\nStatus=600", "Status: '600' is no HTTP", id="status"),
    pytest.param(HTTP + "HTTP=/\nStatus=300-200", "Status: '300-200' is no", id="status range"),
    pytest.param(HTTP + "HTTP=/\nInterval=1s\nTimeout=2s", "Timeout is longer", id="timeout"),
    pytest.param(HTTP + "TCP=no", "TCP=no checks nothing", id="tcp no"),
    pytest.param("[X-Health]\nCommand=ping '", "Command: the quote", id="command"),
    pytest.param("[X-Health]\nCommand=/a ; /b", "Command: must be one", id="two commands"),
    pytest.param("[X-Announce]", "nothing says which port to announce", id="announce port"),
    pytest.param("[X-Announce]\nPort=1\nName=Web_1", "Name: 'Web_1' is no DNS", id="name"),
    pytest.param("[X-Announce]\nPort=1\nKey=a/b", "Key: 'a/b' is no key", id="key"),
    pytest.param("[X-Announce]\nPort=1\nKey=/a/../b", "Key: '/a/../b' is no key", id="dots"),
    pytest.param("[X-Rollout]\nStrategy=bluegreen", "Strategy: 'bluegreen' is none", id="strategy"),
    pytest.param("[X-Rollout]\nCanary=1", "Canary has no effect", id="canary without"),
    pytest.param("[X-Rollout]\nMaxSurge=200%", "MaxSurge: '200%' is more than all", id="surge"),
    pytest.param(
        "[X-Rollout]\nMaxSurge=0\nMaxUnavailable=0", "nothing may be added", id="no progress"
    ),
    pytest.param(
        "[X-Service]\nPort=1\n[X-Rollout]\nStrategy=blue-green", "blue and green cannot", id="b/g"
    ),
    pytest.param("[X-Rollout]\nAutoRevert=perhaps", "AutoRevert: 'perhaps' is neither", id="bool"),
    pytest.param("[X-Traffic]\nBalancer=e\nListen=80", "nothing says which port takes", id="tr"),
    pytest.param("[X-Service]\nPort=1\n[X-Traffic]\nListen=80", "Balancer= is missing", id="bal"),
    pytest.param("[X-Service]\nPort=1\n[X-Traffic]\nBalancer=e", "Listen= is missing", id="listen"),
    pytest.param(
        "[X-Service]\nPort=1\n[X-Traffic]\nBalancer=e\nListen=1\nHost=a b_c",
        "Host: 'b_c'",
        id="host",
    ),
    pytest.param(
        "[X-Service]\nPort=1\n[X-Traffic]\nBalancer=e\nListen=1\nProtocol=tcp\nPath=/x",
        "Path has no effect",
        id="tcp path",
    ),
    pytest.param("[X-Scale]\nMax=2\nMetric=cpu\nTarget=1", "Min= is missing", id="min"),
    pytest.param("[X-Scale]\nMin=3\nMax=2\nMetric=cpu\nTarget=1", "Min=3 is more than", id="mm"),
    pytest.param("[X-Scale]\nMin=1\nMax=2\nMetric=cpu", "Target= is missing", id="target"),
    pytest.param(
        "[X-Scale]\nMin=1\nMax=2\nMetric=aws-group:a\nTarget=1", "aws-group gives", id="no target"
    ),
    pytest.param(
        "[X-Scale]\nMin=1\nMax=2\nMetric=cpus\nTarget=1", "Metric: 'cpus' is", id="source"
    ),
    pytest.param(
        "[X-Scale]\nMin=1\nMax=2\nMetric=datadog:\nTarget=1", "Metric: datadog", id="query"
    ),
    pytest.param(
        "[X-Scale]\nMin=1\nMax=2\nMetric=cpu:x\nTarget=1", "Metric: cpu takes", id="cpu q"
    ),
    pytest.param(
        "[X-Service]\nReplicas=9\n[X-Scale]\nMin=1\nMax=2\nMetric=cpu\nTarget=1",
        "Replicas=9 in [X-Service] is not within",
        id="replicas out of bounds",
    ),
    pytest.param(
        "[X-Scale]\nMin=1\nMax=2\nMetric=cpu\nTarget=1\nStepUp=x", "StepUp: 'x'", id="step"
    ),
    pytest.param("[X-Placement]\nMemory=%H", "Memory: %H (host name) is known on", id="specifier"),
    pytest.param("[X-Health]\nMemory=1", "unknown key 'Memory' in [X-Health]", id="unknown key"),
]


@pytest.mark.parametrize(("sections", "message"), FAULTS)
def test_what_cannot_be_meant_is_an_error_in_words(sections: str, message: str) -> None:
    found = errors(unit("web@1.service", sections + "\n"))
    assert any(message in one for one in found), found


@pytest.mark.parametrize(
    "section", ["[X-Service]\nReplicas=3", "[X-Scale]\nMin=1\nMax=2\nMetric=cpu\nTarget=1"]
)
def test_only_a_template_has_instances(section: str) -> None:
    (message,) = errors(unit("web.service", section + "\n"))
    assert "only a template has instances (rename the file to web@.service)" in message


def test_a_fault_is_placed_at_the_word_that_is_wrong() -> None:
    assert errors(unit("web@1.service", "[X-Service]\nPort=8001 \\\n  80x\n"))[0].startswith(
        "5:3: "
    )
