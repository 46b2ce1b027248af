"""Many seeds of one story, and the one command that brings a failure back.

Seeds that nobody asks for are new in each run, so that every run of the tests looks where none has looked before; a
failure says which seed it was.

ARGOSY_SEEDS=5000 pytest tests/scenarios/test_storms.py         seeds 0 to 4999
ARGOSY_SEEDS=17-17 pytest tests/scenarios/test_storms.py        seed 17 alone
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable
from typing import NamedTuple

from argosy.errors import Invalid
from argosy.testing.cluster import CALM, QUIET, Cluster, Shape, Story, simulate
from argosy.testing.faults import Storm, let_orders_stand, storm

VARIABLE = "ARGOSY_SEEDS"
EVENED_WITHIN = 180.0
"""Seconds for all the moves that even out machines that came back; a unit that hangs keeps others waiting for a minute."""


class Found(NamedTuple):
    """A seed under which a story fails, and how."""

    seed: int
    problem: Exception


def seeds(count: int) -> range:
    """The seeds to try: so many that nobody has tried, or what the environment's ARGOSY_SEEDS says: a count, or FIRST-LAST.

    Raises Invalid when it says neither.
    """
    text = os.environ.get(VARIABLE)
    if text is None:
        new = secrets.randbelow(1 << 32)
        return range(new, new + count)
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", text.strip())
    if match is None:
        raise Invalid(
            f"{VARIABLE}={text} is neither a number of seeds nor FIRST-LAST",
            hint=f"{VARIABLE}=1000 or {VARIABLE}=17-17",
        )
    first, last = match.groups()
    return range(int(first)) if last is None else range(int(first), int(last) + 1)


def explore(story: Story[object], shape: Shape, which: Iterable[int], *, test: str) -> None:
    """Tell the story under each seed. The first failure is raised, with the command that reproduces it as its note.

    test: what to give to pytest to run this story.
    """
    for seed in which:
        try:
            simulate(seed, story, shape)
        except Exception as problem:
            problem.add_note(f"reproduce it: {VARIABLE}={seed}-{seed} pytest {test}")
            raise


def first_failure(story: Story[object], shape: Shape, which: Iterable[int]) -> Found | None:
    """The first of these seeds under which the story fails; None when none does."""
    for seed in which:
        try:
            simulate(seed, story, shape)
        except Exception as problem:
            return Found(seed, problem)
    return None


async def survive(cluster: Cluster, how: Storm | None = None) -> None:
    """A storm, then the end of all faults: everything becomes as people want it, and stays so without a write."""
    await storm(cluster, how)
    cluster.heal()
    await cluster.sleep(1)
    await let_orders_stand(cluster)
    await cluster.settle()
    evening_out = cluster.settings.rebalance_after.total_seconds()
    await cluster.expect_quiet(calm=evening_out + EVENED_WITHIN if evening_out < QUIET else CALM)
