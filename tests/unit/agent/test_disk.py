"""What an agent remembers survives it, and a damaged memory is a missing one."""

from __future__ import annotations

import hashlib
from pathlib import Path

from argosy.agent.disk import DirectoryDisk
from argosy.agent.planner import Started
from argosy.model.assignment import AssignedUnit, Assignment
from argosy.model.ids import Digest, MachineId, UnitName
from argosy.model.link import Delivery
from argosy.model.unit import DesiredState

TEXT = b"[Service]\nExecStart=/bin/true\n"
DIGEST = Digest(hashlib.sha256(TEXT).hexdigest())
WEB = UnitName("web.service")
DELIVERY = Delivery(
    cluster="c" * 32,
    epoch=2,
    revision=17,
    assignment=Assignment(
        machine=MachineId("1" * 32),
        units=(AssignedUnit(name=WEB, digest=DIGEST, desired=DesiredState.LAUNCHED),),
    ),
)


def test_everything_saved_is_there_for_the_next_agent(tmp_path: Path) -> None:
    disk = DirectoryDisk(tmp_path)
    disk.save_assignment(DELIVERY)
    disk.save_started({WEB: Started(version=DIGEST, generation=3)})
    disk.save_text(DIGEST, TEXT)
    after = DirectoryDisk(tmp_path)
    assert after.load() == (DELIVERY, {WEB: Started(version=DIGEST, generation=3)})
    assert after.text(DIGEST) == TEXT


def test_a_new_disk_remembers_nothing(tmp_path: Path) -> None:
    disk = DirectoryDisk(tmp_path / "agent")
    assert disk.load() == (None, {})
    assert disk.text(DIGEST) is None


def test_a_damaged_file_counts_as_missing(tmp_path: Path) -> None:
    disk = DirectoryDisk(tmp_path)
    disk.save_assignment(DELIVERY)
    disk.save_text(DIGEST, TEXT)
    (tmp_path / "assignment.json").write_bytes(b'{"cluster": ')
    (tmp_path / "texts" / DIGEST).write_bytes(b"[Service]\nExecStart=/bin/evil\n")
    assert disk.load() == (None, {})
    assert disk.text(DIGEST) is None


def test_texts_that_nothing_names_are_forgotten(tmp_path: Path) -> None:
    disk = DirectoryDisk(tmp_path)
    disk.save_text(DIGEST, TEXT)
    disk.keep_texts({DIGEST})
    assert disk.text(DIGEST) == TEXT
    disk.keep_texts(set())
    assert disk.text(DIGEST) is None
