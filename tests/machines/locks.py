"""Units of which there must never be two, and the evidence: each says 20 times a second that it runs, under which fence.

Machines of one host share its clock, so signs of life on several of them can be put in one order.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

from machines.cluster import Cluster

LOCK = b"""[Service]
# It does not want to end.
ExecStart=/bin/sh -c "trap '' TERM; while :; do echo $$(date +%%s.%%N) $$ARGOSY_FENCE >>/var/log/%n; sleep 0.05; done"
TimeoutStopSec=1
[X-Placement]
WhenCutOff=stop
"""


class Life(NamedTuple):
    """Of a lock on a machine under one fence: its first and its last sign of life."""

    first: float
    last: float
    machine: str
    fence: int


async def lives_of(c: Cluster, lock: str) -> list[Life]:
    """In order of time."""
    found: dict[tuple[str, int], Life] = {}
    for machine in c.machines:
        log = (await machine.run(["cat", f"/var/log/{lock}"], check=False)).stdout
        for line in log.splitlines():
            at, _, fence = line.strip("\0").partition(" ")
            if not fence.isdecimal():
                continue  # a power cut left half a line
            key = (machine.name, int(fence))
            first = found[key].first if key in found else float(at)
            found[key] = Life(first, float(at), *key)
    return sorted(found.values())


async def overlaps(c: Cluster, lock: str) -> list[str]:
    """Where a life began before another had ended, or under a fence that is not newer."""
    return [
        f"{before} and {after}"
        for before, after in itertools.pairwise(await lives_of(c, lock))
        if after.first <= before.last or after.fence <= before.fence
    ]
