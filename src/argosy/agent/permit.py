"""Whether units that must not run twice may run here, from when servers answered.

A server that answers vouches for this machine; the engine gives such a unit to another machine only when nobody has vouched
for long enough (`docs/design/presence.md` derives the times). So each answer lets the units run on, for two thirds of
their `stop_within_seconds`, counted from when the question was *sent*; the last third is for stopping. What ends them
is the runtime (`Runtime.arm`) and not this process, which may be dead or standing still.

To run on is one thing, to begin another: an agent that was not heard for a while may hold an assignment that is no
longer true. So a unit is started only when its assignment was read after the present, unbroken run of answers began.

Pure but for being a record that changes; times are the event loop's, which never jump.
"""

from __future__ import annotations

from collections.abc import Iterable

from argosy.model.assignment import AssignedUnit
from argosy.model.link import Delivery, Registered
from argosy.model.silence import WAITING

NEVER = float("-inf")


def waiting_seconds(unit: AssignedUnit) -> float:
    """How long after the last question that was answered the unit is told to stop."""
    return (unit.stop_within_seconds or 0.0) * WAITING


def stopping_seconds(unit: AssignedUnit) -> float | None:
    """How long its stopping may take; None for a unit that goes on when the machine is cut off."""
    if unit.stop_within_seconds is None:
        return None
    return unit.stop_within_seconds * (1 - WAITING)


class Permit:
    """What one agent may conclude from the answers it got."""

    def __init__(self) -> None:
        self._heard = NEVER
        """When the last question was sent that was answered."""
        self._chain_from = NEVER
        """When the first answer of the present, unbroken run of answers came."""
        self._cluster: tuple[str, int] | None = None
        self._read_at = NEVER
        """When the assignment that is held was asked for."""
        self._shortest = float("inf")

    def take_units(self, units: Iterable[AssignedUnit]) -> None:
        """These are assigned now."""
        self._shortest = min(
            (waiting_seconds(one) for one in units if one.stop_within_seconds is not None),
            default=float("inf"),
        )

    def registered(self, answer: Registered, *, sent_at: float, now: float) -> None:
        """A server took this machine's registration: a new run of answers begins."""
        self._cluster = (answer.cluster, answer.epoch)
        self._chain_from = now
        self._heard = sent_at

    def answered(self, *, sent_at: float, now: float) -> None:
        """A server took a report. After a longer silence than some unit bears, a new run of answers begins."""
        if sent_at - self._heard > self._shortest:
            self._chain_from = now
        self._heard = max(self._heard, sent_at)

    def read(self, delivery: Delivery, *, asked_at: float) -> None:
        """The assignment that is held, or a newer one, came from a server that was asked at that time."""
        if (delivery.cluster, delivery.epoch) == self._cluster:
            self._read_at = max(self._read_at, asked_at)

    def is_outdated(self, asked_at: float) -> bool:
        """Whether an assignment that was asked for at that time has to be read anew before such a unit may be started."""
        return self._shortest != float("inf") and asked_at < self._chain_from

    def seconds_left(self, unit: AssignedUnit, held: Delivery, now: float) -> float | None:
        """How long the unit may run on without another answer; None when nothing was answered that counts for it."""
        if (held.cluster, held.epoch) != self._cluster:
            return None
        left = self._heard + waiting_seconds(unit) - now
        return left if left > 0 else None

    def may_start(self, unit: AssignedUnit, held: Delivery, now: float) -> bool:
        is_current = self._read_at >= self._chain_from > NEVER
        return is_current and self.seconds_left(unit, held, now) is not None
