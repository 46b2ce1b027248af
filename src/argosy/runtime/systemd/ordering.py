"""Pure: names of units so that each comes after those that it has to wait for.

Not for correctness, which is systemd's: jobs are asked for a bounded number at a time (`jobs.py`), and none of them should
wait for one that has not been asked for yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from argosy.model.ids import UnitName
from argosy.runtime.systemd.unit_files import Owned


def ordered(names: Sequence[UnitName], units: Mapping[UnitName, Owned]) -> list[UnitName]:
    """The names, each once, by After= and Before= among them, else as they are. A cycle is systemd's to break."""
    wanted = dict.fromkeys(names)
    first: dict[UnitName, list[UnitName]] = {name: [] for name in wanted}
    for name in wanted:
        if (owned := units.get(name)) is None:
            continue
        first[name] += [other for other in wanted.keys() & owned.after if other != name]
        for other in wanted.keys() & owned.before - {name}:
            first[other].append(name)
    done: dict[UnitName, None] = {}
    entered: set[UnitName] = set()
    for root in wanted:
        stack = [root]
        while stack:
            name = stack[-1]
            entered.add(name)
            following = next((other for other in first[name] if other not in entered), None)
            if following is None:
                done.setdefault(stack.pop())
            else:
                stack.append(following)
    return list(done)
