"""Why a unit has no machine, as lines for people."""

from __future__ import annotations

from collections.abc import Callable

from argosy.client import Explanation, Refusal

MACHINES_NAMED = 3


def lines(explanation: Explanation, machine_name: Callable[[str], str]) -> list[str]:
    """The refusals, most machines first, then what would help. The summary is not among them."""
    refusals = explanation["refusals"]
    width = max((len(refusal["rule"]) for refusal in refusals), default=0)
    found = [
        f"{refusal['rule'].ljust(width)}  {refusal['detail']}  ({_machines(refusal, machine_name)})"
        for refusal in refusals
    ]
    if explanation["remedy"]:
        found.append(f"to place it: {explanation['remedy']}")
    return found


def _machines(refusal: Refusal, machine_name: Callable[[str], str]) -> str:
    named = [machine_name(machine) for machine in refusal["machines"][:MACHINES_NAMED]]
    left = refusal["count"] - len(named)
    return ", ".join(named) + (f" and {left} more" if left > 0 else "")
