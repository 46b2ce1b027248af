"""Which jobs follow from a request: pure, so every question is a table or a property."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.runtime.base import JobResult
from argosy.runtime.process.load import Dependencies
from argosy.runtime.process.transaction import Graph, Kind, Transaction, plan


def names(*words: str) -> frozenset[str]:
    return frozenset(f"{word}.service" for word in words)


def asked(graph: dict[str, Dependencies], kind: Kind, *anchors: str, up: str = "") -> Transaction:
    units = {f"{name}.service": dependencies for name, dependencies in graph.items()}
    anchored = [f"{name}.service" for name in anchors]
    return plan(Graph(units), anchored, kind, up=names(*up.split()), broken={})


NOTHING = Dependencies()


def test_a_start_pulls_in_what_is_required_and_wanted() -> None:
    graph = {
        "a": Dependencies(requires=names("b"), wants=names("c", "gone")),
        "b": Dependencies(binds_to=names("d")),
        "c": NOTHING,
        "d": NOTHING,
    }
    assert set(asked(graph, Kind.START, "a").jobs) == names("a", "b", "c", "d")


def test_one_unit_that_cannot_be_started_leaves_the_others_of_the_request_alone() -> None:
    found = asked({"a": Dependencies(requires=names("gone")), "b": NOTHING}, Kind.START, "a", "b")
    assert set(found.jobs) == names("b")
    assert found.refusals["a.service"].result is JobResult.DEPENDENCY
    assert "gone.service not found" in found.refusals["a.service"].reason


def test_a_stop_takes_down_what_is_up_and_needs_the_unit() -> None:
    graph = {
        "a": NOTHING,
        "required": Dependencies(requires=names("a")),
        "part": Dependencies(part_of=names("a")),
        "down": Dependencies(binds_to=names("a")),
        "wants": Dependencies(wants=names("a")),
    }
    found = asked(graph, Kind.STOP, "a", up="a required part wants")
    assert found.jobs == dict.fromkeys(names("a", "required", "part"), Kind.STOP)


def test_units_that_conflict_cannot_be_started_together() -> None:
    graph = {"a": Dependencies(conflicts=names("b")), "b": NOTHING}
    found = asked(graph, Kind.START, "b", "a")
    assert set(found.jobs) == names("b")
    assert found.refusals["a.service"].result is JobResult.FAILED


WORDS = "abcdef"


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, Dependencies]:
    some = st.frozensets(st.sampled_from(sorted(names(*WORDS))), max_size=3)
    return {
        word: Dependencies(
            requires=draw(some) - names(word),
            wants=draw(some) - names(word),
            after=draw(some) - names(word),
            conflicts=draw(st.frozensets(st.sampled_from(sorted(names("a", "f"))), max_size=1))
            - names(word),
        )
        for word in WORDS
    }


@given(graphs(), st.sampled_from(list(Kind)), st.sets(st.sampled_from(WORDS)))
@settings(deadline=None, max_examples=300)
def test_the_jobs_of_a_transaction_never_wait_for_each_other_in_a_circle(
    graph: dict[str, Dependencies], kind: Kind, up: set[str]
) -> None:
    found = asked(graph, kind, *WORDS, up=" ".join(up))
    order = Graph({f"{name}.service": dependencies for name, dependencies in graph.items()})
    left = dict(found.jobs)
    while left:
        free = [
            name
            for name, job in left.items()
            if not any(order.goes_first(o, k, name, job) for o, k in left.items() if o != name)
        ]
        assert free, left
        for name in free:
            del left[name]
    assert set(found.jobs) | set(found.refusals) >= names(*WORDS)
