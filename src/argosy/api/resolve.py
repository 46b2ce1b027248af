"""Which units people mean: names and globs against the cluster's units."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from argosy.api.picture import Picture
from argosy.errors import NotFound
from argosy.model.ids import UnitName


def resolve(picture: Picture, names: Sequence[str]) -> list[UnitName]:
    """Every unit that is named or matches a glob, sorted, each once.

    Raises NotFound, naming all that match nothing: whoever mistypes one name of three wants none of them changed.
    """
    found: set[UnitName] = set()
    missing: list[str] = []
    everything = picture.sorted_units()
    for name in dict.fromkeys(names):
        if UnitName(name) in picture.units:
            found.add(UnitName(name))
            continue
        matching = _matching(everything, name)
        found.update(matching)
        if not matching:
            missing.append(name)
    if missing:
        raise NotFound(_sentence(missing), hint=_hint(missing, everything))
    return sorted(found)


def _matching(names: Iterable[UnitName], glob: str) -> list[UnitName]:
    if not any(sign in glob for sign in "*?["):
        return []
    return [name for name in names if fnmatchcase(name, glob)]


def _sentence(missing: Sequence[str]) -> str:
    shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
    return f"no unit of the cluster is called or matches {shown}; nothing was changed"


def _hint(missing: Sequence[str], names: Sequence[UnitName]) -> str:
    near = difflib.get_close_matches(missing[0][:80], names[:2000], n=1, cutoff=0.75)
    return f"did you mean {near[0]}?" if near else "argosy list-unit-files"
