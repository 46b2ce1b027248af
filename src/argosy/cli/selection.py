"""Units that words mean: for verbs that want none changed when one of the words is mistyped."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from argosy.cli import naming
from argosy.client import Client, UnitView
from argosy.errors import NotFound
from argosy.units import globs, names

NAMED_AT_MOST = 5


def select(client: Client, words: Sequence[str]) -> list[UnitView]:
    """The cluster's units that full names and globs mean, in order of name. Raises NotFound when a word means none."""
    units = client.units(words)
    found = [unit["name"] for unit in units]
    missing = [
        word
        for word in words
        if word not in found
        and not (naming.is_glob(word) and any(globs.matches(word, name) for name in found))
    ]
    if missing:
        raise _not_found(missing, client)
    return units


def without_templates(units: Sequence[UnitView], words: Sequence[str]) -> list[UnitView]:
    """The units but templates, unless a word names one: templates cannot run, so 'web@*' means the instances."""
    return [unit for unit in units if unit["name"] in words or not naming.is_template(unit["name"])]


def _not_found(words: Sequence[str], client: Client) -> NotFound:
    # Compared without their types, which would make any two services look alike.
    known = {unit["name"].rpartition(".")[0]: unit["name"] for unit in client.units()}
    near = difflib.get_close_matches(words[0].rpartition(".")[0], known, n=1, cutoff=0.7)
    hint = f"did you mean {known[near[0]]}?" if near else "argosy list-unit-files"
    shown = ", ".join(names.shown(word)[1:-1] for word in words[:NAMED_AT_MOST])
    left = len(words) - NAMED_AT_MOST
    more = f" and {left} more" if left > 0 else ""
    return NotFound(f"no unit of the cluster is called or matches {shown}{more}", hint=hint)
