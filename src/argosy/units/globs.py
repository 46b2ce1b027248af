r"""Patterns of unit names, in the language of Go's path.Match, which fleet's Conflicts= and Replaces= have.

`*` any characters, `?` one, `[abc]`, `[a-z]`, `[^a-z]` one of a set, `\x` the character x. Names have no `/`, so
path.Match's rule about it does not matter. Here a pattern is judged, too: one that is malformed, or that no unit name can
match, would be a constraint that silently never holds. Source: https://pkg.go.dev/path#Match
"""

from __future__ import annotations

import re
from functools import lru_cache

from argosy.units import names
from argosy.units.diagnostics import did_you_mean
from argosy.units.values import BadValue

LONGEST = 1024
"""Characters of a pattern: names have 255, and a set takes several characters for one."""

_SPECIAL = re.compile(r"[*?\[\\]")
_SET = re.compile(r"\[(\^?+)((?:(?:\\.|[^\]\\-])(?:-(?:\\.|[^\]\\-]))?)+)\]", re.DOTALL)
_SET_ITEM = re.compile(r"(\\.|[^\\])(?:-(\\.|[^\\]))?", re.DOTALL)


def is_pattern(text: str) -> bool:
    """Whether the text has any of the characters that make it more than a name."""
    return _SPECIAL.search(text) is not None


def matches(pattern: str, name: str) -> bool:
    """Whether the whole name matches. Raises BadValue for a malformed pattern."""
    return compiled(pattern).fullmatch(name) is not None


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> re.Pattern[str]:
    """The pattern as a regular expression for `fullmatch`. Raises BadValue when it is malformed.

    Matching takes time proportional to the product of both lengths: between two stars the first fit is as good as any
    other, so the expression never tries a second one.
    """
    if len(pattern) > LONGEST:
        raise BadValue(f"a pattern may have {LONGEST} characters, this has {len(pattern)}")
    chunks = [""]
    offset = 0
    while offset < len(pattern):
        char = pattern[offset]
        offset += 1
        if char == "*":
            chunks.append("")
        elif char == "?":
            chunks[-1] += "."
        elif char == "[":
            found = _SET.match(pattern, offset - 1)
            if found is None:
                raise BadValue(
                    "the set is not closed, empty, or has a bare '-'",
                    offset=offset - 1,
                    hint="write [a-z] or [^0-9]",
                )
            chunks[-1] += _as_set(found)
            offset = found.end()
        elif char == "\\":
            if offset == len(pattern):
                raise BadValue("nothing follows the '\\'", offset=offset - 1)
            chunks[-1] += re.escape(pattern[offset])
            offset += 1
        else:
            chunks[-1] += re.escape(char)
    first, *middle = chunks
    if not middle:
        return re.compile(first, re.DOTALL)
    last = middle.pop()
    between = "".join(f"(?>.*?{chunk})" for chunk in middle if chunk)
    return re.compile(f"{first}{between}.*{last}", re.DOTALL)


def check(pattern: str) -> None:
    """Raises BadValue when the pattern is malformed or no valid unit name matches it."""
    compiled(pattern)
    if not is_pattern(pattern):
        fault = names.find_fault(pattern)
        if fault is not None:
            raise BadValue(f"'{pattern}' can match no unit: {fault[0]}", hint=fault[1])
        return
    literal = re.sub(r"\\(.)", r"\1", re.sub(_SET, "", pattern)).replace("*", "").replace("?", "")
    if bad := re.search(r"[^0-9A-Za-z:_.\\@-]", literal):
        raise BadValue(
            f"'{pattern}' can match no unit: names have no {bad[0]!a}",
            offset=max(0, pattern.find(bad[0])),
            hint="write one pattern per line" if bad[0] in ", " else "",
        )
    tail = re.split(r"[*?\]]", pattern)[-1]
    if not any(f".{kind}".endswith(tail) or tail.endswith(f".{kind}") for kind in names.TYPES):
        ending = tail.rpartition(".")[2]
        near = (
            did_you_mean(ending, names.TYPES)
            if "." in tail
            else f"did you mean '{pattern}.service'?"
        )
        raise BadValue(f"'{pattern}' can match no unit: names end in a type", hint=near)


def _as_set(found: re.Match[str]) -> str:
    items = []
    for item in _SET_ITEM.finditer(found[2]):
        low = item[1][-1]
        high = item[2][-1] if item[2] else low
        if low <= high:  # Go accepts an empty range; it matches nothing
            items.append(f"{re.escape(low)}-{re.escape(high)}")
    if not items:
        return "." if found[1] else "(?!)"
    return f"[{found[1]}{''.join(items)}]"
