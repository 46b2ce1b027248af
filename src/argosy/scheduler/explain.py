"""Why no machine can have a unit: each machine once, under the first rule that refuses it, and what would help."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from argosy.model.explanation import SHOWN, Explanation, Refusal
from argosy.model.ids import UnitName
from argosy.model.unit import Requirements, Unit
from argosy.scheduler import filters
from argosy.scheduler.board import Board
from argosy.scheduler.remedies import remedy

GROUPS_SHOWN = 12
"""How many refusals an explanation has at most."""


class Explainer:
    """Explains the refusals of one board, which must not change meanwhile.

    waiting: the units that are refused together, so that those which wait for each other are told so.
    """

    def __init__(self, board: Board, waiting: Mapping[UnitName, Unit]) -> None:
        self._board = board
        self._waiting = waiting
        self._kept: dict[tuple[Requirements, tuple[str, ...], str], Explanation] = {}

    def explain(self, unit: Unit) -> Explanation:
        """The explanation for a unit that is on no machine and that no machine can have."""
        circle = self._circle(unit)
        if circle:
            return _never(unit, circle)
        limited = unit.requirements.max_per_machine is not None or self._board.has_limits
        service = unit.service if limited else ""
        key = (unit.requirements, self._board.patterns(unit.name), service)
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = explain(self._board, unit)
        summary = kept.summary.replace(kept.unit, unit.name, 1)
        return msgspec.structs.replace(kept, unit=unit.name, summary=summary)

    def _circle(self, unit: Unit) -> list[UnitName]:
        """The units, from this one, that follow each other in a circle; empty when it is in none."""
        came_from: dict[UnitName, UnitName] = {}
        path = [unit.name]
        for name in path:
            follower = self._waiting.get(name)
            for target in follower.requirements.machine_of if follower is not None else ():
                if target == unit.name:
                    circle = [target, name]
                    while circle[-1] != unit.name:
                        circle.append(came_from[circle[-1]])
                    return circle[::-1]
                if target not in came_from:
                    came_from[target] = name
                    path.append(target)
        return []


def explain(board: Board, unit: Unit) -> Explanation:
    """Why a unit that is on no machine fits on none: refusals with most machines first, a summary, a remedy."""
    total = board.known.bit_count()
    if not total:
        return Explanation(
            unit=unit.name,
            summary=f"no machine can run {unit.name}: the cluster has none",
            remedy="start an agent on a machine",
        )
    groups: list[tuple[str, filters.Ground]] = []
    among = board.known
    for rule in filters.RULES:
        refused = rule.refused(board, unit, among)
        among ^= refused
        if refused:
            groups += ((rule.key, ground) for ground in rule.grounds(board, unit, refused))
    if among:
        words = "has units to replace that no other machine can have"
        groups.append(
            ("Replaces", filters.Ground(among, words, words, words.replace("has", "have", 1)))
        )
    groups.sort(key=lambda group: (-group[1].machines.bit_count(), group[0], group[1].detail))
    return Explanation(
        unit=unit.name,
        refusals=tuple(_refusal(board, rule, ground) for rule, ground in groups[:GROUPS_SHOWN]),
        summary=_summary(unit, total, [ground for _, ground in groups]),
        remedy=remedy(board, unit) if not among else "",
    )


def _refusal(board: Board, rule: str, ground: filters.Ground) -> Refusal:
    return Refusal(
        rule=rule,
        detail=ground.detail,
        machines=tuple(board.ids(ground.machines, SHOWN)),
        count=ground.machines.bit_count(),
    )


def _summary(unit: Unit, total: int, grounds: list[filters.Ground]) -> str:
    counts: dict[tuple[str, str], int] = {}
    for ground in grounds:
        words = (ground.one, ground.many)
        counts[words] = counts.get(words, 0) + ground.machines.bit_count()
    if total == 1:
        told = ", ".join(one for one, _ in counts)
        return f"the only machine cannot run {unit.name}: it {told}"
    parts = [f"{count} {one if count == 1 else many}" for (one, many), count in counts.items()]
    return f"no machine of {total} can run {unit.name}: {', '.join(parts)}"


def _never(unit: Unit, circle: list[UnitName]) -> Explanation:
    words = " follows ".join(circle)
    return Explanation(
        unit=unit.name,
        refusals=(),
        summary=f"{unit.name} can never be placed: MachineOf goes round in a circle, {words}",
        remedy=f"remove MachineOf={circle[1]} from {circle[0]}",
    )
