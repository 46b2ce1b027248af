"""Patterns of unit names."""

from __future__ import annotations

import pytest

from argosy.units import globs
from argosy.units.values import BadValue


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("*", "a.service", True),
        ("web@*.service", "web@1.service", True),
        ("web@*.service", "web.service", False),
        ("web@?.service", "web@1.service", True),
        ("web@?.service", "web@10.service", False),
        ("web@[1-3].service", "web@2.service", True),
        ("web@[^1-3].service", "web@2.service", False),
        ("web@[13].service", "web@3.service", True),
        ("*a*b*.service", "xaxbx.service", True),
        ("*a*b*.service", "xbxax.service", False),
        ("*aa.service", "aaa.service", True),
        ("a\\*.service", "a*.service", True),
        ("[z-a].service", "b.service", False),
        ("a.service", "a.service", True),
        ("a.service", "axservice", False),
    ],
)
def test_patterns_are_gos(pattern: str, name: str, *, matches: bool) -> None:
    assert globs.matches(pattern, name) is matches


@pytest.mark.parametrize(
    "pattern",
    ["web@[1.service", "[^].service", "[]a].service", "[-a].service", "a\\", "[a-].service"],
)
def test_malformed_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(BadValue):
        globs.check(pattern)


@pytest.mark.parametrize(
    "pattern",
    ["web", "web@*.servce", "a/*.service", "*.conf", "w?b", "two words.*", "web@*,b.service"],
)
def test_patterns_that_no_unit_can_match_are_refused(pattern: str) -> None:
    with pytest.raises(BadValue, match="can match no unit"):
        globs.check(pattern)


@pytest.mark.parametrize(
    "pattern",
    ["*", "web@*", "web.service", "*.timer", "web@[0-9]*", "web.s*", "*ice", "a\\x2db@*.service"],
)
def test_patterns_that_some_unit_can_match_are_fine(pattern: str) -> None:
    globs.check(pattern)


def test_many_stars_do_not_make_matching_slow() -> None:
    # A backtracking search would take longer than the universe has existed.
    assert not globs.matches("*a" * 60 + "*b.service", "a" * 240 + ".service")
