"""The front door: one unit file, everything about it."""

from __future__ import annotations

import hashlib

import pytest

from argosy.errors import Invalid
from argosy.units.check import check
from argosy.units.requirements import requirements
from unit.units.unit_files import RUNS, errors, unit

DESIGN = b"""[Unit]
Description=Shop front end, instance %i

[Service]
EnvironmentFile=-/etc/argosy/environ
ExecStartPre=-/usr/bin/docker rm -f %p-%i
ExecStartPre=/usr/bin/docker pull registry.internal/web:${DEPLOY_SUFFIX}
ExecStart=/usr/bin/docker run --rm --name %p-%i -p ${PORT}:8080 registry.internal/web:${DEPLOY_SUFFIX}
ExecStop=/usr/bin/docker stop %p-%i
Restart=always

[X-Fleet]
MachineMetadata=subnet=public
Conflicts=%p@*.service

[X-Placement]
# beyond fleet: reservations, spreading, operators, what to do when cut off from the servers
Memory=512M
CPU=0.5
Spread=zone
Require=disk!=hdd
MaxPerMachine=1
WhenCutOff=keep

[X-Service]
Replicas=3
Port=8001 8002

[X-Health]
HTTP=/healthz
Interval=2s
Timeout=1s
Rise=2
Fall=3

[X-Announce]
Name=web
Key=/services/web/%i

[X-Rollout]
Strategy=blue-green
Bake=10min
AutoRevert=yes

[X-Traffic]
Balancer=edge
Listen=80

[X-Scale]
Min=2
Max=10
Metric=prometheus:sum(rate(http_requests_total{job="web"}[1m]))
Target=100
"""


def test_a_file_with_every_section_has_nothing_wrong() -> None:
    for name in ("web@.service", "web@1.service", "web@green-2.service"):
        checked = check(name, DESIGN)
        assert [str(found) for found in checked.diagnostics] == []
        assert checked.name == name
        assert checked.digest == hashlib.sha256(DESIGN).hexdigest()
        assert all(getattr(checked.specs, field) for field in checked.specs.__struct_fields__)
        assert requirements(checked.text, checked.name) == checked.requirements
    assert check("web@1.service", DESIGN).description == "Shop front end, instance 1"


@pytest.mark.parametrize(
    ("heading", "meant"),
    [
        ("X-Flet", "X-Fleet"),
        ("x-fleet", "X-Fleet"),
        ("X-fleet", "X-Fleet"),
        ("X-Placment", "X-Placement"),
        ("X-Services", "X-Service"),
        ("X-Heatlh", "X-Health"),
        ("Fleet", "X-Fleet"),
        ("Health", "X-Health"),
    ],
)
def test_a_misspelled_section_of_ours_is_an_error(heading: str, meant: str) -> None:
    (message,) = errors(unit("a.service", f"[{heading}]\nA=1\n"))
    assert message == f"3:1: unknown section [{heading}] (did you mean '{meant}'?)"


@pytest.mark.parametrize("heading", ["X-Container", "X-Foo", "X-GNOME-Autostart", "X-Pod", "X-"])
def test_sections_of_others_are_left_alone(heading: str) -> None:
    assert unit("a.service", f"[{heading}]\nA=1\n").diagnostics == ()


def test_unknown_keys_and_sections_of_systemds_are_warnings_with_the_nearest_spelling() -> None:
    checked = unit(
        "a.service", "RestrtSec=1\nAfter=x.service\n[Unit]\nBindTo=b.service\nX-Note=1\n[Instal]\n"
    )
    assert not checked.errors
    assert [str(found) for found in checked.warnings] == [
        (
            "a.service:3:1: warning: unknown key 'RestrtSec' in [Service]; systemd would ignore it "
            "(did you mean 'RestartSec'?)"
        ),
        (
            "a.service:4:1: warning: unknown key 'After' in [Service]; systemd would ignore it "
            "(it belongs in [Unit])"
        ),
        (
            "a.service:6:1: warning: 'BindTo' is an obsolete spelling, which Argosy does not read "
            "(write BindsTo=)"
        ),
        (
            "a.service:8:1: warning: unknown section [Instal]; systemd would ignore it "
            "(did you mean 'Install'?)"
        ),
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file has no section"),
        (b"# only a comment\n", "the file has no section"),
        (b"[Unit]\nDescription=x\n", "the service runs nothing"),
        (b"[Service]\nExecStart=/bin/a\nExecStart=/bin/b\n", "a second command in ExecStart"),
        (b"[Service]\nExecStart=/bin/a ; /bin/b\n", "a second command in ExecStart"),
        (b"[Service]\nExecStop=/bin/a\n", "the service has ExecStop= only"),
        (b"[Service]\nExecStart=/bin/sh -c 'a\n", "ExecStart: the quote ' is not closed"),
        (b'[Service]\nExecStart=/bin/a\nEnvironment="A=1\n', "Environment: the quote"),
        (b"\x7fELF\x02\x01\x01\0\0\0\0", "control character"),
    ],
)
def test_what_systemd_would_not_load_is_an_error(data: bytes, message: str) -> None:
    assert any(message in found for found in errors(check("a.service", data)))


@pytest.mark.parametrize(
    "data",
    [
        b"[Service]\nType=oneshot\nExecStart=/bin/a\nExecStart=/bin/b ; /bin/c\n",
        b"[Service]\nExecStart=/bin/a\nExecStart=\nExecStart=/bin/b\n",
        b"[Service]\nExecStop=/bin/a\nRemainAfterExit=yes\n",
        b"[Unit]\nSuccessAction=exit\n[Service]\nType=oneshot\n",
    ],
)
def test_what_systemd_would_load_is_taken(data: bytes) -> None:
    assert errors(check("a.service", data)) == []


def test_a_wrong_name_is_an_error_of_the_file() -> None:
    checked = check("../web.service", RUNS.encode())
    assert checked.name is None
    with pytest.raises(Invalid) as refused:
        checked.raise_for_errors()
    assert refused.value.problems[0].startswith(
        "../web.service:1:1: error: '../web.service' is not"
    )


def test_errors_are_raised_with_all_of_them_as_problems() -> None:
    checked = unit("a.service", "[X-Fleet]\nGlobal=what\nFoo=1\n")
    with pytest.raises(Invalid) as refused:
        checked.raise_for_errors()
    assert len(refused.value.problems) == 2
    assert str(refused.value).endswith(", and 1 more")
    unit("a.service").raise_for_errors()
