"""Patterns of unit names in decisions: whether a name matches, and a quick way from a name to its patterns.

The language is the unit file's (`units/globs.py`). A malformed pattern, which no submitted file has, matches nothing, as
in fleet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from argosy.units import globs
from argosy.units.values import BadValue

SPECIAL = re.compile(r"[*?\[\\]")


@lru_cache(maxsize=65536)
def compiled(pattern: str) -> re.Pattern[str] | None:
    """The pattern as a regular expression for `fullmatch`; None when it is malformed."""
    try:
        return globs.compiled(pattern)
    except BadValue:
        return None


def matches(pattern: str, name: str) -> bool:
    """Whether the whole name matches."""
    expression = compiled(pattern)
    return expression is not None and expression.fullmatch(name) is not None


def matches_any(patterns: Iterable[str], name: str) -> bool:
    return any(matches(pattern, name) for pattern in patterns)


def literal_prefix(pattern: str) -> str:
    """The characters with which every matching name begins."""
    special = SPECIAL.search(pattern)
    return pattern if special is None else pattern[: special.start()]


class Globs:
    """A growing collection of patterns that tells which of them match a name.

    Thousands of services have thousands of patterns; a name is compared only with those whose literal beginning it has.
    """

    def __init__(self) -> None:
        self._by_prefix: dict[str, list[str]] = {}
        self._lengths: list[int] = []
        self._known: set[str] = set()

    def add(self, pattern: str) -> bool:
        """Returns whether the pattern is new."""
        if pattern in self._known:
            return False
        self._known.add(pattern)
        prefix = literal_prefix(pattern)
        self._by_prefix.setdefault(prefix, []).append(pattern)
        if len(prefix) not in self._lengths:
            self._lengths.append(len(prefix))
        return True

    def matching(self, name: str) -> tuple[str, ...]:
        """The patterns that match, sorted."""
        if not self._known:
            return ()
        found = [
            pattern
            for length in self._lengths
            if length <= len(name)
            for pattern in self._by_prefix.get(name[:length], ())
            if matches(pattern, name)
        ]
        return tuple(sorted(found))

    def __contains__(self, pattern: object) -> bool:
        return pattern in self._known

    def __bool__(self) -> bool:
        return bool(self._known)
