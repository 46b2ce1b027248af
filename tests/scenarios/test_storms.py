"""Everything fails at random; nothing forbidden happens; and when it is over, all is as people want it.

ARGOSY_SEEDS=5000 pytest tests/scenarios/test_storms.py
"""

import os
import subprocess
import sys
from datetime import timedelta

import pytest

from argosy.errors import Invalid
from argosy.settings import EngineSettings
from argosy.testing import explore
from argosy.testing.cluster import Cluster, Shape, simulate
from argosy.testing.explore import VARIABLE, survive
from argosy.testing.faults import Storm, storm
from argosy.testing.loop import running
from scenarios.mutants import FOUR_MACHINES, MUTANTS, SOUND

HERE = "tests/scenarios/test_storms.py"
SIZES = {
    "one machine": Shape(machines=1),
    "two machines, two servers": Shape(machines=FOUR_MACHINES[:2], servers=2),
    "four machines, two servers": SOUND,
    "seven machines, three servers": Shape(machines=[*FOUR_MACHINES, {}, {}, {}], servers=3),
    "four machines, evened out at once": Shape(
        machines=FOUR_MACHINES,
        servers=2,
        engine=EngineSettings(rebalance_after=timedelta(seconds=15)),
    ),
}
EACH = 40
"""Storms of each size: two hundred in all, of two minutes each, and five more until nobody has anything left to do."""


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("size", SIZES)
def test_a_cluster_survives_any_storm(size: str) -> None:
    explore.explore(survive, SIZES[size], explore.seeds(EACH), test=f"{HERE} -k '{size}'")


async def digest(cluster: Cluster) -> str:
    await storm(cluster, Storm(seconds=60))
    return running().trace.digest()


def test_the_same_seed_is_the_same_storm_whatever_the_interpreters_hash_seed() -> None:
    program = (
        "from scenarios.test_storms import digest, SOUND; "
        "from argosy.testing.cluster import simulate; print(simulate(4, digest, SOUND))"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": "tests"},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for hash_seed in ("1", "2")
    }
    assert digests == {simulate(4, digest, SOUND)}


def test_a_failure_names_the_command_that_brings_it_back() -> None:
    mutant = MUTANTS["absence treated as a command"]
    with pytest.raises(AssertionError) as caught:
        explore.explore(survive, mutant.shape, range(10), test=HERE)
    command = caught.value.__notes__[-1]
    found = explore.first_failure(survive, mutant.shape, range(10))
    assert found is not None
    assert command == f"reproduce it: ARGOSY_SEEDS={found.seed}-{found.seed} pytest {HERE}"


@pytest.mark.parametrize(
    ("text", "expected"), [("3", range(3)), ("17-17", range(17, 18)), ("5-7", range(5, 8))]
)
def test_seeds_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, text: str, expected: range
) -> None:
    monkeypatch.setenv(VARIABLE, text)
    assert explore.seeds(20) == expected


def test_seeds_that_nobody_asks_for_are_new_in_each_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert len({explore.seeds(5).start for _ in range(5)}) > 1
    assert len(explore.seeds(5)) == 5


def test_seeds_that_are_none_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "many")
    with pytest.raises(Invalid, match="ARGOSY_SEEDS=many"):
        explore.seeds(20)
