"""A unit's text into what is run, and what of it is named as not honoured."""

from __future__ import annotations

import math

import pytest

from argosy.runtime.process.directives import unsupported
from argosy.runtime.process.load import BadSetting, Machine, load
from argosy.runtime.process.spec import Service, from_json, to_json

MACHINE = Machine(
    specifiers={"t": "/run", "H": "host"},
    bases=dict.fromkeys(("Runtime", "State", "Cache", "Logs", "Configuration"), "/base"),
)


def service(*lines: str, name: str = "a@x.service", head: str = "") -> Service:
    text = f"{head}\n[Service]\n" + "\n".join(("ExecStart=/bin/true", *lines)) + "\n"
    return load(name, text.encode(), machine=MACHINE).service


@pytest.mark.parametrize(
    ("lines", "start", "stop", "abort"),
    [
        ((), 90, 90, 90),
        (("TimeoutSec=5",), 5, 5, 5),
        (("TimeoutSec=5", "TimeoutStopSec=1min 10s"), 5, 70, 70),
        (("TimeoutStopSec=7", "TimeoutAbortSec=3"), 90, 7, 3),
        (("TimeoutStartSec=0",), math.inf, 90, 90),
        (("Type=oneshot",), math.inf, 90, 90),
        (("Type=oneshot", "TimeoutStartSec=3"), 3, 90, 90),
        (("TimeoutStartSec=nonsense",), 90, 90, 90),
    ],
)
def test_timeouts(lines: tuple[str, ...], start: float, stop: float, abort: float) -> None:
    found = service(*lines)
    assert (found.timeout_start_seconds, found.timeout_stop_seconds) == (start, stop)
    assert found.timeout_abort_seconds == abort


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(("ExecStart=/bin/true",), id="two commands of a simple service"),
        pytest.param(
            ("Type=oneshot", "Restart=always"), id="a oneshot that restarts after success"
        ),
        pytest.param(("Type=dbus", "BusName=a.b"), id="D-Bus"),
        pytest.param(("ExecStop='open",), id="a quote that is not closed"),
        pytest.param(("ExecStart=", "ExecStop=/bin/true"), id="only an ExecStop"),
    ],
)
def test_what_systemd_refuses_is_refused(lines: tuple[str, ...]) -> None:
    with pytest.raises(BadSetting):
        service(*lines)


def test_specifiers_are_expanded_after_words_are_split_and_never_make_two() -> None:
    found = service("ExecStartPre=/bin/echo %i '%p %H' %% %t/x", name="a@x-y.service")
    assert found.commands["ExecStartPre"][0].argv == ["/bin/echo", "x-y", "a host", "%", "/run/x"]


def test_the_text_overrides_the_variables_it_is_given() -> None:
    text = b"[Service]\nExecStart=/bin/true\nEnvironment=A=text\n"
    loaded = load("a.service", text, machine=MACHINE, environment={"A": "given", "B": "given"})
    assert loaded.service.execution.environment == {"A": "text", "B": "given"}


def test_both_sections_spellings_of_the_start_limit_are_read() -> None:
    assert service("StartLimitInterval=3", "StartLimitBurst=7").start_limit_seconds == 3
    found = service(head="[Unit]\nStartLimitIntervalSec=4\nStartLimitBurst=8")
    assert (found.start_limit_seconds, found.start_limit_burst) == (4, 8)


def test_a_service_crosses_over_as_json_unchanged() -> None:
    found = service(
        "LimitNOFILE=1:2",
        "RuntimeDirectory=a b",
        "EnvironmentFile=-/x",
        "SuccessExitStatus=3 SIGUSR1",
    )
    assert from_json(to_json(found)) == found


def test_directories_never_lead_out_of_their_base() -> None:
    found = service("RuntimeDirectory=ok ../up /abs a/../b", "StateDirectory=a/b")
    assert [d.names for d in found.execution.directories] == [["ok"], ["a/b"]]


def test_every_directive_that_is_not_honoured_is_named_with_its_line() -> None:
    text = b"""\
[Unit]
Description=x
OnFailure=other.service
[Service]
ExecStart=/bin/true
PrivateTmp=yes
StandardOutput=append:/x
StandardInput=tty
MemoryMax=1G
Typo=1
SyslogIdentifier=x
[Install]
WantedBy=multi-user.target
[X-Fleet]
Global=true
[Timer]
OnCalendar=daily
"""
    assert [(found.key, found.line) for found in unsupported(text)] == [
        ("OnFailure", 3),
        ("PrivateTmp", 6),
        ("StandardInput", 8),
        ("MemoryMax", 9),
        ("OnCalendar", 17),
    ]
