"""Pure: which machines' silence is believed, and for how long. The one place where silence turns into a decision.

A machine is *suspect* when its presence ended, and *lost* when it stayed away for the rest of `lost_after`; its units
move then, except for those that say otherwise (`MoveAfter=`), earlier or later. Two things hold the verdict back:
patience after the engine began to lead or got its store back, and the brake when many machines vanish together, because
then it is far more likely that the network, the store or this engine is at fault.

The times of a unit that must not run twice are here too, since they are the other side of the same coin; they are
derived in `docs/design/presence.md`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass, field
from datetime import timedelta

from argosy.model.ids import MachineId
from argosy.model.silence import MARGIN, shortest_move_after, vouched_for
from argosy.model.unit import Requirements, WhenCutOff
from argosy.settings import PresenceSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is believed now."""

    lost: frozenset[MachineId]
    """Machines that are given up, as people are told."""
    silent: Mapping[MachineId, timedelta] = field(default_factory=dict)
    """Machines whose silence is believed, with the longest of its limits (see `judge`) that it has reached: units that may
    move after so long, or sooner, are to run elsewhere."""
    braked: frozenset[MachineId] = frozenset()
    """Machines whose silence would be believed but for the brake; empty when it is off."""
    look_again_after: timedelta | None = None
    """When the verdict could change without any event; None when only an event can change it."""


def judge(
    *,
    absent_for: Mapping[MachineId, timedelta],
    hosting: Mapping[MachineId, Collection[timedelta]],
    known_lost: Set[MachineId],
    trusted_for: timedelta,
    settings: PresenceSettings,
    known_braked: Set[MachineId] = frozenset(),
    removed: Set[MachineId] = frozenset(),
) -> Verdict:
    """Decide whose silence is believed.

    absent_for: for each machine without presence, how long it has been without.
    hosting: machines that have units which could move, with the silences after which these may (`silence_needed`). The
        brake counts shares of these, so that machines which died long ago and host nothing do not hold it on.
    known_lost: the verdict before; a lost machine stays lost until its presence is back.
    trusted_for: how long this engine has had an unbroken view of the store.
    known_braked: for whom the brake was on; it stays on for those until this engine can judge for itself.
    removed: machines that people took away. They say nothing of the network, and are nobody's to be told of as lost.
    """
    still_lost = frozenset(known_lost & absent_for.keys())
    waits: list[timedelta] = []
    reached: dict[MachineId, timedelta] = {}
    for machine, absence in absent_for.items():
        # The presence's own time to live is the first part of the silence.
        silence = settings.suspect_after + absence
        if machine in still_lost:
            silence = max(silence, settings.lost_after)
        limits = {settings.lost_after, *hosting.get(machine, ())}
        waits += (limit - silence for limit in limits if limit > silence)
        passed = [limit for limit in limits if limit <= silence]
        if passed:
            reached[machine] = max(passed)
    fresh = reached.keys() - still_lost
    braked: frozenset[MachineId] = frozenset()
    if (fresh or known_braked) and trusted_for < settings.patience:
        waits.append(settings.patience - trusted_for)
        reached = {machine: reached[machine] for machine in still_lost}
        fresh = set()
        braked = frozenset(known_braked & absent_for.keys())
    hosts = hosting.keys() - still_lost - removed
    vanishing = absent_for.keys() & hosts
    if fresh & vanishing and _is_braked(len(vanishing), len(hosts), settings):
        braked = frozenset(fresh & vanishing)
        reached = {machine: limit for machine, limit in reached.items() if machine not in braked}
    lost = {machine for machine, limit in reached.items() if limit >= settings.lost_after}
    return Verdict(
        lost=frozenset(lost - removed),
        silent=reached,
        braked=braked,
        look_again_after=min(waits, default=None),
    )


def silence_needed(needs: Requirements, settings: PresenceSettings) -> timedelta:
    """How long a machine must have been silent before the unit moves.

    Never less than the presence's own time to live, and for a unit that must not run twice never less than it takes to
    be certain of its end.
    """
    asked = needs.move_after or settings.lost_after
    least = settings.suspect_after
    if needs.when_cut_off is WhenCutOff.STOP:
        least = shortest_move_after(settings)
    return max(asked, least)


def stop_within(needs: Requirements, settings: PresenceSettings) -> timedelta | None:
    """How long after its machine was last heard of a unit has ended for certain; None for one that goes on.

    Two thirds of it are for being heard of again, the last third for stopping (`agent/permit.py`).
    """
    if needs.when_cut_off is not WhenCutOff.STOP:
        return None
    return silence_needed(needs, settings) - vouched_for(settings) - MARGIN


def silence_to_end(
    stop_within_seconds: float, settings: PresenceSettings, *, is_removed: bool = False
) -> timedelta:
    """The silence after which a unit that its assignment gives so long has ended.

    is_removed: whether people took its machine away. That one may have been heard until then, and its server may not have
        noticed for as long as it vouches.
    """
    silence = timedelta(seconds=stop_within_seconds) + vouched_for(settings) + MARGIN
    return silence + settings.suspect_after if is_removed else silence


def _is_braked(vanishing: int, hosting: int, settings: PresenceSettings) -> bool:
    return vanishing >= settings.brake_minimum and vanishing > hosting * settings.brake_share
