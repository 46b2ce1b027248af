"""The index under the stores: what is taken back leaves no trace, and its sorted keys are a sorted set."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.store.base import Delete, Op, Put
from argosy.store.index import Index
from argosy.store.sorted_keys import SortedKeys

KEYS = ["a", "a/1", "b", "b/1", "c"]
steps = st.lists(
    st.lists(
        st.one_of(
            st.builds(Put, st.sampled_from(KEYS), st.binary(max_size=2), st.sampled_from([0, 1])),
            st.builds(Delete, st.sampled_from(KEYS), st.none()),
        ),
        max_size=3,
        unique_by=lambda op: op.key,
    ),
    max_size=6,
)


def everything(index: Index) -> object:
    """All that can be seen of it, at every revision."""
    revisions = range(max(1, index.compacted_revision), index.revision + 1)
    return (
        index.tip,
        index.keys,
        index.bytes_used,
        index.leases,
        [
            index.range("A", "z", revision=revision, limit=0, keys_only=False)
            for revision in revisions
        ],
        list(index.batches("A", "z", first=max(2, index.compacted_revision), last=index.tip)),
    )


def carry_out(index: Index, history: list[list[Op]]) -> None:
    for ops in history:
        index.txn([], ops, [])


@given(kept=steps, taken_back=steps, after=steps, revoke=st.booleans())
@settings(deadline=None)
def test_what_is_rolled_back_leaves_no_trace(
    kept: list[list[Op]], taken_back: list[list[Op]], after: list[list[Op]], *, revoke: bool
) -> None:
    index, never = Index(), Index()
    for each in (index, never):
        each.grant(60)
        each.publish()
        carry_out(each, kept)
        each.publish()
    before = everything(index)
    carry_out(index, taken_back)
    if revoke:
        index.revoke(1)
    shown = everything(index)
    assert isinstance(shown, tuple) and isinstance(before, tuple)
    assert shown[4:] == before[4:], "readers see nothing that is not published"
    index.rollback()
    assert everything(index) == before
    for each in (index, never):
        carry_out(each, after)
        each.revoke(1)
        each.publish()
    assert everything(index) == everything(never)


@given(first=steps, second=steps)
@settings(deadline=None)
def test_a_savepoint_takes_back_only_what_came_after_it(
    first: list[list[Op]], second: list[list[Op]]
) -> None:
    index, never = Index(), Index()
    for each in (index, never):
        each.grant(60)
        each.publish()
        carry_out(each, first)
    savepoint = index.savepoint()
    carry_out(index, second)
    index.revoke(1)
    index.rollback(savepoint)
    assert index.unpublished() == never.unpublished()
    index.publish()
    never.publish()
    assert everything(index) == everything(never)


@given(seed=st.integers(0, 2**32), width=st.integers(1, 12_000))
@settings(deadline=None, max_examples=25)
def test_sorted_keys_are_a_sorted_set(seed: int, width: int) -> None:
    dice = random.Random(seed)
    names = [f"{number:x}" for number in dice.sample(range(width * 3), width)]
    initial = names[: dice.randrange(width + 1)]
    keys, expected = SortedKeys(initial), set(initial)
    for name in names[len(initial) :]:
        keys.add(name)
        expected.add(name)
    for name in dice.sample(names, dice.randrange(width + 1)):
        keys.remove(name)
        expected.discard(name)
    for _ in range(5):
        start, end = (f"{dice.randrange(width * 3):x}" for _ in range(2))
        assert keys.between(start, end) == sorted(key for key in expected if start <= key < end)
    assert keys.between("", "z") == sorted(expected)
