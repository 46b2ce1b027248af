"""[X-Fleet] means what it meant to fleet, and what fleet misread in silence is an error."""

from __future__ import annotations

import pytest

from argosy.model.unit import Condition, Operator, Requirements
from argosy.units import fleet
from argosy.units.values import BadValue
from unit.units.unit_files import errors, unit

ID = "1c9f00d1c9f00d1c9f00d1c9f00d1c9f"
OTHER = "2" * 32


def requirements(section: str, name: str = "web@1.service") -> Requirements:
    checked = unit(name, f"[X-Fleet]\n{section}\n")
    assert errors(checked) == []
    return checked.requirements


def wrong(section: str, name: str = "web@1.service") -> list[str]:
    return errors(unit(name, f"[X-Fleet]\n{section}\n"))


def test_the_first_machine_id_wins_and_the_modern_spelling_comes_first() -> None:
    assert requirements(f"MachineID={ID}\nMachineID={OTHER}").machine_id == ID
    assert requirements(f"X-ConditionMachineID={OTHER}\nMachineID={ID}").machine_id == ID
    assert (
        requirements(f"X-ConditionMachineBootID=boot\nX-ConditionMachineID={ID}").machine_id == ID
    )
    assert requirements("MachineID=1c9f00d1").machine_id == "1c9f00d1"


def test_a_boot_id_alone_still_keeps_the_unit_from_running_anywhere() -> None:
    assert requirements("X-ConditionMachineBootID=8a1e-77").machine_id == "8a1e-77"


def test_peers_come_from_several_lines_and_from_quoted_values() -> None:
    assert requirements(
        'MachineOf="a.service" "b.service"\nX-ConditionMachineOf=c.service'
    ).machine_of == (
        "a.service",
        "b.service",
        "c.service",
    )


def test_values_of_one_metadata_key_are_alternatives_and_spellings_merge() -> None:
    found = requirements(
        'MachineMetadata="region=eu" "disk=ssd"\nX-ConditionMachineMetadata=region=us'
    )
    assert found.metadata == (
        Condition("disk", Operator.IN, ("ssd",)),
        Condition("region", Operator.IN, ("eu", "us")),
    )


def test_conflicts_are_split_at_blanks_and_replaces_are_not() -> None:
    assert requirements("Conflicts=a.* b.service\nX-Conflicts=%p@*.service").conflicts == (
        "a.*",
        "b.service",
        "web@*.service",
    )
    assert requirements('Replaces=a.service\nReplaces="b.service" "c.*"').replaces == (
        "a.service",
        "b.service",
        "c.*",
    )


@pytest.mark.parametrize("word", ["true", "yes", "1", "on", "t", "True", "YES"])
def test_global_takes_fleets_words_and_the_last_one_wins(word: str) -> None:
    assert requirements(f"Global={word}").is_global
    assert not requirements(f"Global={word}\nGlobal=no").is_global


def test_specifiers_are_those_of_fleet() -> None:
    found = requirements("MachineOf=db@%i.service\nConflicts=x-%N.service", "web@7.service")
    assert found.machine_of == ("db@7.service",)
    assert found.conflicts == ("x-web@7.service",)


def test_a_template_is_judged_without_what_its_instances_decide() -> None:
    assert errors(unit("web@.service", "[X-Fleet]\nMachineMetadata=%i\nMachineOf=db-%i\n")) == []
    assert wrong("MachineID=%i", "web@.service") == []
    assert wrong("MachineID=%i", "web@1.service") != []


@pytest.mark.parametrize("pair", ["foo=", "=x", "a=b=c", "a=b c=d", "foo", '"a=b" ""', '"a=b'])
def test_a_malformed_pair_is_an_error_and_never_a_vanished_constraint(pair: str) -> None:
    assert len(wrong(f"MachineMetadata={pair}")) == 1


@pytest.mark.parametrize(
    "line",
    [
        "MachineID=web1",
        f"MachineID={ID.upper()}",
        "MachineOf=a b",
        "MachineOf=web@*.service",
        "MachineOf=web@.service",
        "MachineOf=web",
        "Conflicts=web@[",
        "Conflicts=web",
        "Replaces=a.service b.service",
        "Global=what",
        "Global=12",
    ],
)
def test_other_values_that_fleet_let_pass_are_errors(line: str) -> None:
    assert len(wrong(line)) == 1


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("Machineof", "MachineOf"),
        ("global", "Global"),
        ("MachineId", "MachineID"),
        ("X-MachineMetadata", "MachineMetadata"),
        ("X-ConditionConflicts", "Conflicts"),
    ],
)
def test_keys_are_exact_and_the_nearest_is_named(key: str, near: str) -> None:
    (message,) = wrong(f"{key}=x")
    assert message.startswith(f"4:1: unknown key '{key}' in [X-Fleet]")
    assert near in message


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (f"MachineID={ID}", "MachineOf=a.service"),
        (f"MachineID={ID}", "Conflicts=a.service"),
        (f"X-ConditionMachineID={ID}", "X-Conflicts=a.service"),
        (f"MachineID={ID}", "Global=true"),
        (f"MachineID={ID}", "Replaces=a.service"),
        ("Global=true", "MachineOf=a.service"),
        ("Global=true", "Replaces=a.service"),
        ("Conflicts=a.service", "Replaces=b.service"),
        ("MachineOf=a.service", "Conflicts=a.*"),
        ("MachineOf=a.service", "Replaces=a.*"),
    ],
)
def test_what_fleet_would_not_combine_is_refused_in_either_order(first: str, second: str) -> None:
    assert len(wrong(f"{first}\n{second}")) == 1
    assert len(wrong(f"{second}\n{first}")) == 1


@pytest.mark.parametrize(
    "section",
    [
        "Global=true\nConflicts=a.service",
        "Global=true\nMachineMetadata=a=b",
        f"MachineID={ID}\nMachineMetadata=a=b",
        f"MachineID={ID}\nGlobal=no",
        "MachineOf=a.service\nConflicts=b.service",
    ],
)
def test_what_fleet_would_combine_is_taken(section: str) -> None:
    assert wrong(section) == []


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("bar", ["bar"]),
        ("a b", ["a b"]),
        ('"bar"', ["bar"]),
        ('"bar" "baz"', ["bar", "baz"]),
        ('"bar boo" "baz"', ["bar boo", "baz"]),
        ('"bar"   "baz"', ["bar", "baz"]),
    ],
)
def test_lines_are_split_by_fleets_quoting(line: str, values: list[str]) -> None:
    assert fleet.multiple(line) == values


@pytest.mark.parametrize("line", ['"bar', 'bar"', '"bar" "', '"foo\\"bar"', '""', 'a "b" c'])
def test_quoting_that_fleet_read_as_something_odd_is_refused(line: str) -> None:
    with pytest.raises(BadValue):
        fleet.multiple(line)
