"""How fast units move that need not move at once: off drained machines, and back to a machine that has returned.

A unit is under way from the moment that it left until it is seen to be settled on its new machine, or for a minute.
What is known here is forgotten with the term: the next leader begins anew, with as many on their way as this one may have.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from argosy.model import actions
from argosy.model.ids import MachineId, UnitName
from argosy.model.orders import Scheduling
from argosy.settings import EngineSettings

GIVEN_UP_AFTER = 60.0
"""Seconds after which a unit that has not settled on its new machine keeps no other waiting."""


@dataclass(slots=True)
class _Journey:
    left: MachineId
    until: float
    """Loop time at which it is given up."""
    is_levelling: bool = False
    """Whether it only evens out the machines."""


class Pace:
    """What is under way, and what may set out now."""

    def __init__(self, settings: EngineSettings, now: float) -> None:
        self._settings = settings
        self._journeys: dict[UnitName, _Journey] = {}
        self._is_uneven = False
        """Whether a machine has come back that may be emptier than the others."""
        self._quiet_since = now

    @property
    def under_way(self) -> Collection[UnitName]:
        return self._journeys.keys()

    def came_back(self, now: float) -> None:
        """A machine that was lost is there again, or one that people had closed is open."""
        self._is_uneven = True
        self._quiet_since = now

    def set_out(
        self,
        plan: Sequence[actions.EngineAction],
        scheduling: Mapping[MachineId, Scheduling],
        now: float,
        *,
        may_level: int,
    ) -> None:
        """A plan was carried out: remember who is under way because of what is paced here."""
        left = {
            action.unit: action.machine
            for action in plan
            if isinstance(action, actions.Unplace | actions.Release)
        }
        for unit, machine in left.items():
            if scheduling.get(machine) is Scheduling.DRAINED or may_level:
                self._journeys[unit] = _Journey(
                    machine, now + GIVEN_UP_AFTER, is_levelling=bool(may_level)
                )
        if not may_level:
            self._quiet_since = now
        elif not left:
            self._is_uneven = False

    def found_even(self) -> None:
        """A look at all machines found no move that would help."""
        self._is_uneven = False

    def failed(self, units: Collection[UnitName]) -> None:
        """These have failed where they arrived. What was moved only to even out was well before: no other follows, until
        another machine comes back or people ask for it.
        """
        if any(self._journeys[unit].is_levelling for unit in units if unit in self._journeys):
            self._is_uneven = False

    def arrived(self, units: Collection[UnitName]) -> None:
        """These units are settled where they are, or need no place any more."""
        for unit in units:
            self._journeys.pop(unit, None)

    def may_leave(self, drained: Iterable[MachineId], now: float) -> dict[MachineId, int]:
        """How many units may set out from each drained machine now; machines from which none may are left out."""
        self.arrived([unit for unit, one in self._journeys.items() if one.until <= now])
        free = dict.fromkeys(drained, self._settings.drain_at_once)
        for journey in self._journeys.values():
            if journey.left in free:
                free[journey.left] -= 1
        return {machine: count for machine, count in free.items() if count > 0}

    def may_level(self, now: float, *, is_calm: bool) -> int:
        """How many units may move to even out the machines now.

        is_calm: whether every machine that hosts something is there, and nothing else is under way.
        """
        if not is_calm:
            self._quiet_since = now
        is_quiet = now - self._quiet_since >= self._settings.rebalance_after.total_seconds()
        return int(self._is_uneven and is_calm and is_quiet and not self._journeys)

    def next_look(self, now: float) -> float:
        """Loop time after `now` at which something could set out without any event."""
        times = [journey.until for journey in self._journeys.values()]
        if self._is_uneven:
            times.append(self._quiet_since + self._settings.rebalance_after.total_seconds())
        return min((time for time in times if time > now), default=float("inf"))
