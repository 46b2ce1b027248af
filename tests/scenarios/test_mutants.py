"""The kit finds the bugs it is made for. Without this, a clean run would prove nothing."""

import pytest

from argosy.testing.cluster import Story
from argosy.testing.explore import first_failure
from scenarios.mutants import MUTANTS, SOUND, Mutant
from scenarios.stories import full_disks, leader_stands_still_at_work, many_vanish, partitions

SEEDS = range(40)
"""Each bug is found within these; the code as it is survives all of them (the storms in `test_storms.py`)."""


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS.keys())
def test_the_kit_finds(mutant: Mutant) -> None:
    found = first_failure(mutant.story, mutant.shape, SEEDS)
    assert found is not None
    assert str(found.problem).startswith(mutant.noticed_by), found


STORIES = (full_disks, leader_stands_still_at_work, many_vanish, partitions)


@pytest.mark.parametrize("story", STORIES)
def test_the_code_as_it_is_survives_their_stories(story: Story[None]) -> None:
    assert first_failure(story, SOUND, SEEDS[:20]) is None
