"""Pure: which machines are believed to be lost. The one place where silence turns into a decision.

A machine is *suspect* when its presence lease ended, and *lost* when it stayed away for the rest of `lost_after`. Two
things hold the verdict back: patience after the engine began to lead or got its store back, and the brake when many
machines vanish together, because then it is far more likely that the network, the store or this engine is at fault.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import timedelta

from argosy.model.ids import MachineId
from argosy.settings import PresenceSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is believed now."""

    lost: frozenset[MachineId]
    """Machines whose units are to run elsewhere."""
    braked: frozenset[MachineId] = frozenset()
    """Machines that would be lost but for the brake; empty when it is off."""
    look_again_after: timedelta | None = None
    """When the verdict could change without any event; None when only an event can change it."""


def judge(
    *,
    absent_for: Mapping[MachineId, timedelta],
    hosting: Set[MachineId],
    known_lost: Set[MachineId],
    trusted_for: timedelta,
    settings: PresenceSettings,
) -> Verdict:
    """Decide which machines are lost.

    absent_for: for each machine without a presence lease, how long it has been without one.
    hosting: machines that have units which could move; only these can be lost with any effect, and the brake counts
        shares of these, so that machines which died long ago and host nothing do not hold it on.
    known_lost: the verdict before; a lost machine stays lost until its presence is back.
    trusted_for: how long this engine has had an unbroken view of the store.
    """
    still_lost = frozenset(known_lost & absent_for.keys())
    vanishing = {machine for machine in absent_for if machine in hosting} - still_lost
    # The lease's own time to live is the first part of the silence.
    needed = settings.lost_after - settings.suspect_after
    waits = [needed - absent_for[machine] for machine in vanishing if absent_for[machine] < needed]
    overdue = frozenset(machine for machine in vanishing if absent_for[machine] >= needed)
    if overdue and trusted_for < settings.patience:
        waits.append(settings.patience - trusted_for)
        overdue = frozenset()
    look_again_after = min(waits) if waits else None
    if overdue and _is_braked(len(vanishing), len(hosting - still_lost), settings):
        return Verdict(lost=still_lost, braked=overdue, look_again_after=look_again_after)
    return Verdict(lost=still_lost | overdue, look_again_after=look_again_after)


def _is_braked(vanishing: int, hosting: int, settings: PresenceSettings) -> bool:
    return vanishing >= settings.brake_minimum and vanishing > hosting * settings.brake_share
