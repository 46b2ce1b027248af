"""What an agent remembers survives it, and a damaged memory is a missing one."""

from __future__ import annotations

import hashlib
from pathlib import Path
from random import Random

import msgspec

from argosy.agent.disk import DirectoryDisk
from argosy.agent.planner import Started
from argosy.agent.servers import Servers
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


def test_every_file_may_end_at_any_byte(tmp_path: Path) -> None:
    disk = DirectoryDisk(tmp_path)
    started = {WEB: Started(version=DIGEST, generation=3)}
    before = msgspec.structs.replace(DELIVERY, revision=16)
    disk.save_assignment(before)
    disk.save_assignment(DELIVERY)
    disk.save_started(started)
    disk.save_text(DIGEST, TEXT)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {
        "assignment.json",
        "assignment.old",
        "started.json",
        DIGEST,
    }
    for path in files:
        whole = path.read_bytes()
        for size in range(len(whole)):
            path.write_bytes(whole[:size])
            after = DirectoryDisk(tmp_path)
            delivery = before if path.name == "assignment.json" else DELIVERY
            assert after.load() == (delivery, {} if path.name == "started.json" else started)
            assert after.text(DIGEST) == (None if path.name == DIGEST else TEXT)
        path.write_bytes(whole)


def test_an_unreadable_assignment_does_not_take_the_place_of_the_one_before(tmp_path: Path) -> None:
    disk = DirectoryDisk(tmp_path)
    disk.save_assignment(DELIVERY)
    disk.save_assignment(msgspec.structs.replace(DELIVERY, revision=18))
    (tmp_path / "assignment.json").write_bytes(b"{")
    disk.save_assignment(msgspec.structs.replace(DELIVERY, revision=19))
    (tmp_path / "assignment.json").write_bytes(b"{")
    assert disk.load()[0] == DELIVERY


def test_where_the_servers_are_may_be_half_written(tmp_path: Path) -> None:
    path = tmp_path / "servers.json"
    told = ["https://10.0.0.1:7440", "https://10.0.0.2:7440"]
    Servers(["https://10.0.0.9:7440"], path, chance=Random(1)).learn(told)
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        servers = Servers(["https://10.0.0.9:7440"], path, chance=Random(1))
        assert servers.all == ("https://10.0.0.9:7440",)
