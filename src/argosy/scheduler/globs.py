r"""Patterns of unit names, as `Conflicts` and `Replaces` have them, and a quick way from a name to its patterns.

The language is that of Go's `path.Match`, which fleet used, as far as it can matter for unit names (they have no `/`):
`*` any characters, `?` one character, `[abc]`, `[a-z]`, `[^a-z]` one of a set, `\x` the character x itself. A malformed
pattern matches nothing, as in fleet; the unit-file language refuses it when the file is submitted.

Source: https://pkg.go.dev/path#Match
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

SPECIAL = re.compile(r"[*?\[\\]")


@lru_cache(maxsize=65536)
def compiled(pattern: str) -> re.Pattern[str] | None:
    """The pattern as a regular expression for `fullmatch`; None when it is malformed."""
    out: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            # Neighbouring stars mean what one does, and would make the search for a match exponential.
            if not out or out[-1] != ".*":
                out.append(".*")
        elif char == "?":
            out.append(".")
        elif char == "[":
            read = _read_set(pattern, at)
            if read is None:
                return None
            text, at = read
            out.append(text)
        elif char == "\\":
            if at == len(pattern):
                return None
            out.append(re.escape(pattern[at]))
            at += 1
        else:
            out.append(re.escape(char))
    return re.compile("".join(out), re.DOTALL)


def _read_set(pattern: str, at: int) -> tuple[str, int] | None:
    """A `[...]` whose bracket stands before `at`: as a regular expression, and where it ends; None if malformed."""
    negated = pattern[at : at + 1] == "^"
    if negated:
        at += 1
    ranges: list[str] = []
    while True:
        if pattern[at : at + 1] == "]" and ranges:
            break
        low = _read_char(pattern, at)
        if low is None:
            return None
        high, at = low, low[1]
        if pattern[at : at + 1] == "-":
            upper = _read_char(pattern, at + 1)
            if upper is None:
                return None
            high, at = upper, upper[1]
        if low[0] <= high[0]:
            ranges.append(f"{re.escape(low[0])}-{re.escape(high[0])}")
        else:
            ranges.append("")  # an empty range: Go accepts it and it matches nothing
    body = "".join(ranges)
    if not body:
        return ("." if negated else "(?!)"), at + 1
    return f"[{'^' if negated else ''}{body}]", at + 1


def _read_char(pattern: str, at: int) -> tuple[str, int] | None:
    char = pattern[at : at + 1]
    if char == "\\":
        at += 1
        char = pattern[at : at + 1]
    elif char in ("-", "]"):
        return None
    return (char, at + 1) if char else None


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
