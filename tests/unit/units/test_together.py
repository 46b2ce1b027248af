"""Units that are fine alone and wrong together."""

from __future__ import annotations

import pytest

from argosy.model.ids import UnitName
from argosy.units import app
from argosy.units.together import check_together
from unit.units.unit_files import unit


def said(**sections: str) -> list[str]:
    """What is said about units `NAME.service` with these sections together; `web_1` is web@1.service."""
    units = {}
    for name, text in sections.items():
        checked = unit(name.replace("_", "@") + ".service", text.replace(" | ", "\n") + "\n")
        assert not checked.errors
        assert checked.name is not None
        units[checked.name] = checked
    return [f"{found.severity}: {found.message}" for found in check_together(units)]


def test_a_circle_of_machine_of_is_shown_whole() -> None:
    assert said(
        a="[X-Fleet] | MachineOf=b.service",
        b="[X-Fleet] | MachineOf=c.service",
        c="[X-Fleet] | MachineOf=a.service",
        d="[X-Fleet] | MachineOf=a.service",
    ) == ["error: MachineOf goes in a circle: a.service -> b.service -> c.service -> a.service"]


def test_a_unit_cannot_follow_itself() -> None:
    assert said(a="[X-Fleet] | MachineOf=a.service") == ["error: MachineOf names the unit itself"]


def test_a_long_chain_and_a_diamond_are_no_circle() -> None:
    chain = {f"u{number}": f"[X-Fleet] | MachineOf=u{number + 1}.service" for number in range(2000)}
    assert said(**chain, u2000="") == []
    assert (
        said(
            a='[X-Fleet] | MachineOf="b.service" "c.service"',
            b="[X-Fleet] | MachineOf=d.service",
            c="[X-Fleet] | MachineOf=d.service",
            d="",
        )
        == []
    )


def test_tied_units_that_conflict_can_never_both_run() -> None:
    (message,) = said(
        a="[X-Fleet] | MachineOf=b.service",
        b="[X-Fleet] | MachineOf=c.service",
        c="[X-Fleet] | Conflicts=a.*",
    )
    assert (
        message
        == "error: c.service and a.service must be on one machine, but c.service has Conflicts that match a.service"
    )


def test_followers_of_one_unit_are_tied_too() -> None:
    assert said(
        a="[X-Fleet] | MachineOf=c.service | Conflicts=b.service",
        b="[X-Fleet] | MachineOf=c.service",
        c="",
    )
    assert not said(
        a="[X-Fleet] | MachineOf=g.service | Conflicts=b.service",
        b="[X-Fleet] | MachineOf=g.service",
        g="[X-Fleet] | Global=yes",
    )


def test_tied_units_need_a_machine_that_suits_both() -> None:
    (message,) = said(
        a='[X-Fleet] | MachineOf=b.service | MachineMetadata="region=eu" "region=us"',
        b="[X-Fleet] | MachineMetadata=region=asia",
    )
    assert "no region suits both" in message
    assert not said(
        a='[X-Fleet] | MachineOf=b.service | MachineMetadata="region=eu" "region=us"',
        b="[X-Fleet] | MachineMetadata=region=us",
    )


def test_ports_of_units_that_meet_are_counted_once() -> None:
    port = "[X-Service] | Port=80"
    assert said(a=f"[X-Fleet] | MachineOf=b.service | {port}", b=port) == [
        "error: port 80 is taken twice: a.service and b.service must be on one machine"
    ]
    assert said(a=f"[X-Fleet] | Global=yes | {port}", b=port) == [
        "error: port 80 is taken twice: a.service and b.service meet on every machine"
    ]
    assert said(a=f"[X-Fleet] | Global=yes | {port}", b=f"[X-Fleet] | Global=yes | {port}") == [
        "error: port 80 is taken twice: a.service and b.service meet on every machine"
    ]
    machine = "[X-Fleet] | MachineID=" + "1" * 32
    assert len(said(a=f"{machine} | {port}", b=f"{machine} | {port}")) == 1


def test_ports_of_units_that_can_avoid_each_other_are_their_own() -> None:
    port = "[X-Service] | Port=80"
    assert said(a=port, b=port) == []
    assert said(a=f"[X-Fleet] | Global=yes | MachineMetadata=a=1 | {port}", b=port) == []
    assert said(web_1="[X-Service] | Port=80%i", web_2="[X-Service] | Port=80%i") == []


def test_instances_that_are_tied_count_against_the_limit_per_machine() -> None:
    tied = "[X-Fleet] | MachineOf=db.service | [X-Placement] | MaxPerMachine=1"
    (message,) = said(web_1=tied, web_2=tied, db="")
    assert "MaxPerMachine=1, but 2 instances" in message


def test_units_that_replace_each_other_would_move_for_ever() -> None:
    assert said(a="[X-Fleet] | Replaces=b.service", b="[X-Fleet] | Replaces=a.*") == [
        "error: a.service and b.service replace each other"
    ]
    assert said(a="[X-Fleet] | Replaces=b.service", b="") == []


def test_a_machine_of_that_is_not_there_is_an_error_with_the_nearest_name() -> None:
    follower = unit("follow.service", "[X-Fleet]\nMachineOf=wbe.service\n")
    assert follower.name is not None
    web = unit("web.service")
    assert web.name is not None
    (found,) = check_together({follower.name: follower, web.name: web})
    assert (found.line, found.column) == (4, 11)
    assert "there is no unit wbe.service" in found.message
    assert found.hint == "did you mean 'web.service'?"
    known = [UnitName("wbe.service")]
    assert check_together({follower.name: follower}, known=known) == ()


@pytest.mark.parametrize("key", ["Requires", "BindsTo", "After"])
def test_a_dependency_that_looks_misspelled_is_warned_about(key: str) -> None:
    assert said(web=f"[Unit] | {key}=migrat.service", migrate="") == [
        f"warning: {key}: there is no migrat.service"
    ]
    assert said(web=f"[Unit] | {key}=network-online.target docker.service", migrate="") == []


def test_an_instance_that_its_template_does_not_have_is_warned_about() -> None:
    files = {
        "web@.service": b"[Service]\nExecStart=/bin/true\n[X-Service]\nReplicas=2\n",
        "follow@.service": b"[Unit]\nBindsTo=web@%i.service\n[Service]\nExecStart=/bin/true\n"
        b"[X-Service]\nReplicas=3\n",
    }
    (found,) = app.load(files).diagnostics
    assert (found.file, found.line, found.is_error) == ("follow@.service", 2, False)
    assert found.message == "BindsTo: there is no web@3.service"


ONE = "[X-Placement] | WhenCutOff=stop"
SAME = f"{ONE} | MoveAfter=1min"


@pytest.mark.parametrize("key", ["Requires", "Wants", "BindsTo", "Upholds", "OnFailure"])
def test_what_keeps_running_when_cut_off_may_not_start_what_must_not_run_twice(key: str) -> None:
    assert said(db=ONE, web=f"[Unit] | {key}=db.service") == [
        f"error: {key}=db.service would start db.service where its machine is cut off, and it must not run twice"
    ]


def test_what_ends_as_early_may_start_it() -> None:
    needs = "[Unit] | Requires=db.service | "
    assert said(db=ONE, web=needs + ONE) == []
    assert said(db=SAME, web=needs + SAME) == []
    assert said(db=SAME, web=needs + ONE) == []
    assert len(said(db=ONE, web=needs + SAME)) == 1


def test_order_alone_starts_nothing() -> None:
    assert said(db=ONE, web="[Unit] | After=db.service | PartOf=db.service") == []
