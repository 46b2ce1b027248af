"""What `argosy doctor` makes of a cluster: each thing that can be wrong is made wrong."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from argosy.cli import cluster_health, machine_health
from argosy.cli.findings import Finding, Level
from argosy.client import Disk, Facts, Health, MachineView, Member
from argosy.errors import ArgosyError, Temporary

NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
GIB = 2**30


def after(**time: float) -> str:
    return (NOW + timedelta(**time)).isoformat()


def disk(**more: Any) -> Disk:
    found: Disk = {
        "path": "/",
        "total_bytes": 100 * GIB,
        "free_bytes": 50 * GIB,
        "free_inodes_share": 0.9,
    }
    found.update(more)  # type: ignore[typeddict-item]
    return found


def member(endpoint: str = "https://e1:2379", **more: Any) -> Member:
    found: Member = {
        "endpoint": endpoint,
        "reachable": True,
        "problem": "",
        "version": "3.5.12",
        "supported": True,
        "leader": False,
        "has_leader": True,
        "learner": False,
        "read_seconds": 0.002,
        "database_bytes": 40 * 2**20,
        "in_use_bytes": 20 * 2**20,
        "quota_bytes": 2 * GIB,
        "raft_lag": 0,
        "alarms": [],
    }
    found.update(more)  # type: ignore[typeddict-item]
    return found


def health(**more: Any) -> Health:
    found: Health = {
        "at": after(seconds=1),
        "version": "1.0",
        "certificates": {"server": after(days=60), "authority": after(days=3000)},
        "servers": [server("s1"), server("s2")],
        "store": {"kind": "sqlite", "read_seconds": 0.001, "members": []},
        "disks": [disk()],
    }
    found.update(more)  # type: ignore[typeddict-item]
    return found


def server(name: str, version: str = "1.0") -> Any:
    return {"name": name, "endpoints": [f"https://{name}:7440"], "version": version, "since": ""}


def store(*members: Member, read_seconds: float = 0.001) -> dict[str, Any]:
    kind = "etcd" if members else "sqlite"
    return {"store": {"kind": kind, "read_seconds": read_seconds, "members": list(members)}}


AWAY = member("https://e2:2379", reachable=False, problem="connection refused")


def found(**more: Any) -> list[Finding]:
    return list(cluster_health.of_server(health(**more), endpoint="https://s1:7440", now=NOW))


def wrong(findings: list[Finding]) -> list[tuple[Level, str]]:
    return [(one.level, one.text) for one in findings if one.level is not Level.GOOD]


def test_a_server_that_is_well_has_nothing_to_look_at() -> None:
    assert wrong(found(**store(member(leader=True), member("https://e2:2379")))) == []


@pytest.mark.parametrize(
    ("more", "level", "words"),
    [
        ({"at": after(hours=1)}, Level.WARNING, "the server's clock is 1h ahead of this one"),
        ({"at": after(minutes=-3)}, Level.WARNING, "the server's clock is 3min behind this one"),
        (
            {"servers": [server("s1"), server("s2", "1.1")]},
            Level.WARNING,
            "2 are there (s1, s2) with versions 1.0, 1.1",
        ),
        (
            {"certificates": {"server": after(days=9)}},
            Level.WARNING,
            "the server's is good for 9d",
        ),
        ({"certificates": {"server": after(hours=3)}}, Level.BAD, "the server's is good for 3h"),
        ({"certificates": {"server": after(hours=-3)}}, Level.BAD, "the server's is good for 0s"),
        (
            {"certificates": {"authority": after(days=100)}},
            Level.WARNING,
            "the authority's is good for 100d",
        ),
        (
            store(read_seconds=0.7),
            Level.WARNING,
            "a read takes 700.0 ms: everything waits for it",
        ),
        (
            {"disks": [disk(free_bytes=GIB)]},
            Level.WARNING,
            "1.0 GiB free of 100.0 GiB on / at https://s1:7440",
        ),
        (
            {"disks": [disk(free_inodes_share=0.01)]},
            Level.WARNING,
            "50.0 GiB free of 100.0 GiB on / at https://s1:7440",
        ),
        (
            store(member(), AWAY, member("https://e3:2379")),
            Level.WARNING,
            "1 of 3 members is away, https://e2:2379: connection refused",
        ),
        (
            store(member(), AWAY, AWAY),
            Level.BAD,
            "2 of 3 members are away, https://e2:2379: connection refused",
        ),
        (
            store(member(has_leader=False)),
            Level.BAD,
            "https://e1:2379 knows no leader: it is cut off from the others",
        ),
        (store(member(alarms=["NOSPACE"])), Level.BAD, "https://e1:2379 has the alarm NOSPACE"),
        (
            store(member(version="3.5.2", supported=False)),
            Level.WARNING,
            "https://e1:2379 is etcd 3.5.2, which has known faults",
        ),
        (
            store(member(read_seconds=0.4)),
            Level.WARNING,
            "https://e1:2379 takes 400 ms for a read",
        ),
        (
            store(member(raft_lag=9000)),
            Level.WARNING,
            "https://e1:2379 has still to apply 9000 entries",
        ),
        (
            store(member(database_bytes=1900 * 2**20, in_use_bytes=1800 * 2**20)),
            Level.WARNING,
            "https://e1:2379 has filled 1900 of 2048 MiB",
        ),
        (
            store(member(database_bytes=1000 * 2**20, in_use_bytes=10 * 2**20)),
            Level.WARNING,
            "https://e1:2379 could give back 990 of its 1000 MiB",
        ),
    ],
)
def test_each_thing_that_is_wrong_is_found_alone_with_what_to_do(
    more: Mapping[str, Any], level: Level, words: str
) -> None:
    findings = found(**more)
    assert wrong(findings) == [(level, words)]
    [step] = [one.next_step for one in findings if one.level is not Level.GOOD]
    assert step


# --- machines -------------------------------------------------------------------------------------------------------


def machine(name: str) -> MachineView:
    return {
        "id": f"{name}-id",
        "hostname": name,
        "address": "",
        "metadata": {},
        "capacity": {"memory_bytes": 0, "cpu_millis": 0},
        "version": "1.0",
        "registered_at": None,
        "state": "ready",
        "why": "",
        "since": None,
        "scheduling": "open",
        "until": None,
        "units": 0,
    }


def facts(name: str, **more: Any) -> Facts:
    told: Facts = {
        "machine": f"{name}-id",
        "at": NOW.isoformat(),
        "clock_ahead_seconds": 0.2,
        "version": "1.0",
        "runtime": "systemd",
        "kernel": "6.1",
        "booted_at": None,
        "load": [0.0, 0.0, 0.0],
        "memory_total_bytes": 0,
        "memory_available_bytes": 0,
        "disks": [disk()],
        "certificate_expires": after(days=60),
        "exec": True,
    }
    told.update(more)  # type: ignore[typeddict-item]
    return told


def of_machines(**told: Facts | ArgosyError) -> list[Finding]:
    by_id = {f"{name}-id": one for name, one in told.items()}
    return list(machine_health.findings([machine(name) for name in told], by_id, NOW))


def test_machines_that_are_well_have_nothing_to_look_at() -> None:
    findings = of_machines(a=facts("a"), b=facts("b", clock_ahead_seconds=-1.4))
    assert [one.text for one in findings] == [
        "of 2 machines agree within 1.4 s",
        "of 2 machines are good for 60d or more",
        "of 2 machines have room",
    ]
    assert wrong(findings) == []


@pytest.mark.parametrize(
    ("more", "level", "words"),
    [
        (
            {"clock_ahead_seconds": 3600.0},
            Level.WARNING,
            "1 are wrong: b; b is 1h ahead. Units do not mind; logs and certificates do",
        ),
        (
            {"clock_ahead_seconds": -75.0},
            Level.WARNING,
            "1 are wrong: b; b is 1min 15s behind. Units do not mind; logs and certificates do",
        ),
        (
            {"certificate_expires": after(days=5)},
            Level.WARNING,
            "1 end soon: b; that of b in 5d",
        ),
        ({"certificate_expires": after(hours=5)}, Level.BAD, "1 end soon: b; that of b in 5h"),
        (
            {"disks": [disk(), disk(path="/var", free_bytes=0)]},
            Level.WARNING,
            "1 machines have little room: b",
        ),
    ],
)
def test_a_machine_that_is_not_well_is_named(
    more: Mapping[str, Any], level: Level, words: str
) -> None:
    findings = of_machines(a=facts("a"), b=facts("b", **more), c=facts("c"))
    assert wrong(findings) == [(level, words)]
    [step] = [one.next_step for one in findings if one.level is not Level.GOOD]
    assert step.startswith("argosy ")


def test_a_machine_without_a_certificate_is_nothing_bad() -> None:
    assert wrong(of_machines(a=facts("a", certificate_expires=None))) == []


def test_machines_that_do_not_answer_are_named_and_the_others_are_looked_at() -> None:
    away = Temporary("machine x is not connected to this server", hint="argosy machines")
    findings = of_machines(a=away, b=facts("b", clock_ahead_seconds=99.0))
    assert [one.subject for one in findings if one.level is not Level.GOOD] == ["agents", "clocks"]
    assert findings[0].text == "1 do not answer: a; machine x is not connected to this server"
    assert [one.subject for one in of_machines(a=away)] == ["agents"]


def test_of_many_machines_some_are_named() -> None:
    many = {f"m{n}": facts(f"m{n}", clock_ahead_seconds=100.0 + n) for n in range(12)}
    assert (
        "12 are wrong: m0, m1, m2, m3, m4 and 7 more; m11 is 1min 51s"
        in of_machines(**many)[0].text
    )
