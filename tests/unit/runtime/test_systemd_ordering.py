"""Starts are asked for in an order in which none waits for one that comes later."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.model.ids import Digest, UnitName
from argosy.runtime.systemd.ordering import ordered
from argosy.runtime.systemd.unit_files import Mark, Owned

MARK = Mark(digest=Digest("0" * 64), text="", rest="")
NAMES = [UnitName(f"{letter}.service") for letter in "abcdefgh"]


def owned(name: UnitName, *, after: set[UnitName], before: set[UnitName]) -> Owned:
    return Owned(name=name, mark=MARK, after=frozenset(after), before=frozenset(before))


@given(st.permutations(NAMES), st.data())
@settings(deadline=None, max_examples=60)
def test_each_comes_after_what_it_waits_for(chain: list[UnitName], data: st.DataObject) -> None:
    pairs = [(early, late) for i, early in enumerate(chain) for late in chain[i + 1 :]]
    said = data.draw(st.lists(st.tuples(st.sampled_from(pairs), st.booleans()), max_size=12))
    after: dict[UnitName, set[UnitName]] = {name: set() for name in NAMES}
    before: dict[UnitName, set[UnitName]] = {name: {name} for name in NAMES}
    for (early, late), says_after in said:
        (after[late] if says_after else before[early]).add(late if not says_after else early)
    units = {name: owned(name, after=after[name], before=before[name]) for name in NAMES}
    found = ordered(NAMES, units)
    assert sorted(found) == NAMES
    for (early, late), _ in said:
        assert found.index(early) < found.index(late)


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=20))
@settings(deadline=None, max_examples=60)
def test_a_cycle_loses_and_doubles_no_name(pairs: list[tuple[UnitName, UnitName]]) -> None:
    after: dict[UnitName, set[UnitName]] = {name: set() for name in NAMES}
    for one, other in pairs:
        after[one].add(other)
    units = {name: owned(name, after=after[name], before=set()) for name in NAMES}
    assert sorted(ordered([*NAMES, NAMES[0]], units)) == NAMES


def test_names_without_order_stay_as_they_are_and_strangers_too() -> None:
    names = [NAMES[2], UnitName("unknown.service"), NAMES[0]]
    units = {name: owned(name, after={UnitName("network.target")}, before=set()) for name in NAMES}
    assert ordered(names, units) == names
