"""Patterns of unit names: Go's path.Match, as far as names can have it."""

from __future__ import annotations

import time

import pytest

from argosy.scheduler.globs import Globs, literal_prefix, matches


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        pytest.param("web@1.service", "web@1.service", True, id="a plain name is itself"),
        pytest.param("web@1.service", "web@11.service", False, id="the whole name has to match"),
        pytest.param("web@*.service", "web@.service", True, id="a star may be nothing"),
        pytest.param("*", "anything.service", True, id="a star alone is every name"),
        pytest.param("*a*", "bab.service", True, id="stars around"),
        pytest.param("web@?.service", "web@.service", False, id="a question mark is one character"),
        pytest.param("web.service", "webxservice", False, id="a dot is a dot"),
        pytest.param("[abc].service", "b.service", True, id="one of a set"),
        pytest.param("[a-c].service", "d.service", False, id="outside a range"),
        pytest.param("[^a-c].service", "d.service", True, id="a negated set"),
        pytest.param("[!a].service", "!.service", True, id="an exclamation mark does not negate"),
        pytest.param("[c-a].service", "b.service", False, id="an empty range is nothing"),
        pytest.param("a[]", "a", False, id="an empty set is malformed"),
        pytest.param("a[", "a", False, id="an open set is malformed"),
        pytest.param("a[b-]", "ab", False, id="an open range is malformed"),
        pytest.param("[]a]", "]", False, id="a bracket has to be escaped in a set"),
        pytest.param(r"[\]a]", "]", True, id="and then it can be"),
        pytest.param(r"\*.service", "*.service", True, id="an escaped star is a star"),
        pytest.param(r"\*.service", "a.service", False, id="and nothing else"),
        pytest.param("a\\", "a", False, id="a lone backslash is malformed"),
    ],
)
def test_a_pattern_matches_as_in_go(pattern: str, name: str, expected: bool) -> None:
    assert matches(pattern, name) is expected


def test_many_stars_do_not_take_for_ever() -> None:
    started = time.process_time()
    assert not matches("*" * 200 + "b", "a" * 250)
    assert time.process_time() - started < 1


def test_the_literal_beginning_ends_at_the_first_special_character() -> None:
    assert literal_prefix("web@*.service") == "web@"
    assert literal_prefix("web.service") == "web.service"
    assert literal_prefix("*") == ""


def test_a_name_finds_its_patterns_among_many() -> None:
    globs = Globs()
    for number in range(1000):
        assert globs.add(f"svc{number}@*.service")
    assert globs.add("*7.service")
    assert not globs.add("*7.service")
    assert globs.matching("svc12@7.service") == ("*7.service", "svc12@*.service")
    assert globs.matching("other.service") == ()
