"""Which units people mean: names and globs against the cluster's units."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from argosy.api.picture import Picture
from argosy.errors import Invalid, NotFound
from argosy.model.ids import UnitName
from argosy.units import globs
from argosy.units.values import BadValue


class Selection:
    """Names and globs; with none, everything. Raises Invalid for a malformed glob."""

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        problems = []
        for pattern in patterns:
            try:
                globs.compiled(pattern)
            except BadValue as problem:
                problems.append(f"{_shown(pattern)}: {problem}")
        if problems:
            raise Invalid("not every name is a name or a glob", problems=tuple(problems))
        self._patterns = tuple(patterns)

    def includes(self, name: str) -> bool:
        return not self._patterns or any(
            # A name may have a backslash in it, which a glob would take for an escape.
            name == pattern or globs.matches(pattern, name)
            for pattern in self._patterns
        )


def resolve(picture: Picture, patterns: Sequence[str]) -> list[UnitName]:
    """Every unit that is named or matches a glob, sorted, each once.

    Raises Invalid for a malformed glob, and NotFound naming all that match nothing: whoever mistypes one name of three
    wants none of them changed.
    """
    found: set[UnitName] = set()
    missing: list[str] = []
    for pattern in dict.fromkeys(patterns):
        matching = _matching(picture, pattern)
        found.update(matching)
        if not matching:
            missing.append(pattern)
    if missing:
        raise NotFound(_sentence(missing), hint=_hint(missing[0], picture.sorted_units()))
    return sorted(found)


def _matching(picture: Picture, pattern: str) -> list[UnitName]:
    if UnitName(pattern) in picture.units:
        return [UnitName(pattern)]
    if not globs.is_pattern(pattern):
        return []
    selection = Selection([pattern])
    return [name for name in picture.sorted_units() if selection.includes(name)]


def _sentence(missing: Sequence[str]) -> str:
    shown = ", ".join(map(_shown, missing[:5]))
    more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
    return f"no unit of the cluster is called or matches {shown}{more}"


def _shown(name: str) -> str:
    return name if name.isprintable() else ascii(name)


def _hint(missing: str, names: Sequence[UnitName]) -> str:
    near = difflib.get_close_matches(missing[:80], names[:2000], n=1, cutoff=0.75)
    return f"did you mean {near[0]}?" if near else "argosy list-unit-files"
