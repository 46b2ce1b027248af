"""Which of the machines that may have a unit gets it.

First the even spread over metadata keys, where the unit asks for it (`Spread=zone`): machines in the zone with the fewest
units of its service. Then fleet's rule: the machine with the fewest units, global ones included; ties go to the smallest
id. Exact, over all machines: nothing is sampled, so equal boards give equal choices.
"""

from __future__ import annotations

from argosy.model.unit import Unit
from argosy.scheduler.board import Board


def preferred(board: Board, unit: Unit, among: int) -> tuple[int, int]:
    """The best machines of a set that is not empty, all equally good, and the number of units each has."""
    for key in unit.requirements.spread:
        _, among = board.spread(unit.service, key).levels.lowest(among)
    load, best = board.load.lowest(among)
    return best, load


def reason(board: Board, unit: Unit, *, among: int, load: int, machine: int) -> str:
    """Why this machine (a set of one) of those that fit, in words.

    load: the units it had before.
    """
    needs = unit.requirements
    if needs.machine_of:
        return f"with {', '.join(needs.machine_of)}"
    if needs.machine_id is not None:
        return "the machine it asks for"
    count = among.bit_count()
    if count == 1:
        return "the only machine that fits"
    words = f"fewest units ({load}) of {count} machines that fit"
    if not needs.spread:
        return words
    metadata = board.metadata(machine)
    zones = ", ".join(f"{key}={metadata.get(key, '')}" for key in needs.spread)
    return f"fewest of {unit.service} in {zones}, then {words}"
