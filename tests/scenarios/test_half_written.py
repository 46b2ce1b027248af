"""What a power cut, a full disk or a wrong text leaves behind: the agent goes on with what it has, and stops nothing."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from argosy.agent.disk import DirectoryDisk
from argosy.agent.planner import Started
from argosy.api.gate import MachineGate
from argosy.model.ids import Digest, UnitName
from argosy.model.link import Delivery
from argosy.testing.cluster import Cluster, simulate
from argosy.testing.machine import MemoryDisk
from argosy.testing.members import Node, Parts

UNITS = ("api.service", "db.service", "web.service")


class RealDisk(MemoryDisk):
    """The disk that agents have, in a directory of the host."""

    def __init__(self, directory: Path) -> None:
        self.is_full = False
        self.real = DirectoryDisk(directory)

    @property
    def delivery(self) -> Delivery | None:  # type: ignore[override]
        return self.real.load()[0]

    @property
    def started(self) -> dict[UnitName, Started]:  # type: ignore[override]
        return self.real.load()[1]

    def load(self) -> tuple[Delivery | None, dict[UnitName, Started]]:
        return self.real.load()

    def save_assignment(self, delivery: Delivery) -> None:
        self.real.save_assignment(delivery)

    def save_started(self, started: Mapping[UnitName, Started]) -> None:
        self.real.save_started(started)

    def text(self, digest: Digest) -> bytes | None:
        return self.real.text(digest)

    def save_text(self, digest: Digest, text: bytes) -> None:
        self.real.save_text(digest, text)


async def running_units(cluster: Cluster) -> Node:
    for name in UNITS:
        await cluster.submit(name)
    await cluster.settle(within=10)
    await cluster.sleep(1)
    return cluster.nodes["m1"]


def reboot_without_servers(cluster: Cluster) -> None:
    cluster.kill_server("s1")
    cluster.kill_machine("m1")


@pytest.mark.parametrize("part", ["nothing", "half", "all but a byte"])
def test_whatever_file_is_half_written_the_machine_comes_up_and_is_whole_when_servers_are_back(
    part: str, tmp_path: Path
) -> None:
    async def story(cluster: Cluster) -> None:
        directory = tmp_path / "agent"
        cluster.nodes["m1"].machine.disk = RealDisk(directory)
        cluster.rejoin("m1")  # with the other disk
        await running_units(cluster)
        await cluster.restart(
            "web.service"
        )  # so that the assignment before the last has all of them, too
        await cluster.settle(within=10)
        files = sorted(path for path in directory.rglob("*") if path.is_file())
        assert {"assignment.json", "assignment.old", "started.json"} < {one.name for one in files}
        for path in files:
            content = path.read_bytes()
            reboot_without_servers(cluster)
            size = {"nothing": 0, "half": len(content) // 2}.get(part, len(content) - 1)
            path.write_bytes(content[:size])
            cluster.boot_machine("m1")
            await cluster.sleep(5)
            up = [name for name in UNITS if cluster.where(name)]
            # A text that is cut off is one unit; without the last assignment there is the one before.
            assert len(up) >= len(UNITS) - 1, path
            cluster.start_server("s1")
            await cluster.settle(within=40)
            assert cluster.is_active(*UNITS)

    simulate(1, story, machines=1)


def test_an_agent_that_was_killed_with_a_full_disk_stops_nothing_that_came_meanwhile() -> None:
    async def story(cluster: Cluster) -> None:
        node = await running_units(cluster)
        node.machine.disk.is_full = True
        await cluster.submit("late.service")
        await cluster.wait_until(lambda: cluster.is_active("late.service"), within=5)
        node.kill_agent()
        cluster.kill_server("s1")
        node.machine.disk.is_full = False
        node.start_agent()
        await cluster.sleep(120)
        assert [run.ended for run in cluster.runs("late.service")] == [None]
        cluster.start_server("s1")
        await cluster.settle(within=40)
        assert all(len(cluster.runs(name)) == 1 for name in (*UNITS, "late.service"))

    simulate(1, story, machines=1)


def test_a_restart_is_not_missed_because_the_disk_was_full_when_the_unit_was_started() -> None:
    async def story(cluster: Cluster) -> None:
        node = cluster.nodes["m1"]
        await cluster.sleep(1)
        node.machine.disk.is_full = True
        await running_units(cluster)
        node.kill_agent()
        await cluster.restart("web.service")
        node.machine.disk.is_full = False
        node.start_agent()
        await cluster.sleep(5)
        await cluster.restart("web.service")
        await cluster.wait_until(lambda: len(cluster.runs("web.service")) >= 2, within=10)
        await cluster.settle()
        assert all(len(cluster.runs(name)) == 1 for name in UNITS if name != "web.service")

    simulate(1, story, machines=1)


def test_what_could_not_be_kept_is_kept_when_the_disk_has_room_again() -> None:
    async def story(cluster: Cluster) -> None:
        node = cluster.nodes["m1"]
        disk = node.machine.disk
        await cluster.sleep(1)
        disk.is_full = True
        await running_units(cluster)
        assert not disk.started
        disk.is_full = False
        await cluster.sleep(3)
        assert disk.delivery is not None
        assert {unit.name for unit in disk.delivery.assignment.units} == set(UNITS)
        assert disk.started.keys() == set(UNITS)

    simulate(1, story, machines=1)


class TellsOtherTexts(MachineGate):
    """A server whose store was tampered with."""

    is_honest = False

    async def text(self, digest: Digest) -> bytes:
        text = await super().text(digest)
        return text if self.is_honest else text + b"ExecStartPost=/bin/evil\n"


def test_a_text_that_is_not_what_its_digest_says_is_never_installed() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.submit("web.service")
        await cluster.sleep(60)
        assert cluster.nodes["m1"].machine.statuses() == {}
        TellsOtherTexts.is_honest = True
        await cluster.settle(within=10)

    try:
        simulate(1, story, machines=1, parts=Parts(gate=TellsOtherTexts))
    finally:
        TellsOtherTexts.is_honest = False


def test_a_text_that_was_altered_on_the_disk_is_asked_for_again() -> None:
    async def story(cluster: Cluster) -> None:
        node = await running_units(cluster)
        disk, machine = node.machine.disk, node.machine
        digests = {
            Digest(hashlib.sha256(unit.text).hexdigest()) for unit in machine._units.values()
        }
        cluster.kill_machine("m1")
        for digest in digests:
            disk._texts[digest] += b"ExecStartPost=/bin/evil\n"
        cluster.boot_machine("m1")
        await cluster.settle(within=40)
        assert all(b"evil" not in unit.text for unit in machine._units.values())

    simulate(1, story, machines=1)
