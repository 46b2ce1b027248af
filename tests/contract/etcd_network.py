"""An etcd whose members live in network namespaces of their own, so that they can be cut off from each other.

Each member has two cables to this machine: one for clients, one to its peers. Unplugging the second one is a partition as
a switch makes it: packets vanish, connections stay. Needs root.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from contract.etcd_kit import EtcdCluster, Member


class PartitionedEtcd(EtcdCluster):
    """Members whose cables can be pulled."""

    def __init__(self, members: list[Member], cables: dict[Member, str]) -> None:
        super().__init__(members)
        self._cables = cables

    def cut_off(self, member: Member) -> None:
        """The member reaches no other, and no other reaches it; clients still reach all."""
        _ip("link", "set", self._cables[member], "down")

    def reconnect(self, member: Member) -> None:
        _ip("link", "set", self._cables[member], "up")


@contextmanager
def partitioned_etcd(directory: Path, *, members: int = 3) -> Iterator[PartitionedEtcd]:
    """An etcd that serves, in namespaces that are gone at the end."""
    tag = f"ae{os.getpid() % 100_000}"
    net = f"198.18.{os.getpid() % 200}"  # RFC 2544: nobody routes it; clients in .0/25, peers in .128/25
    with ExitStack() as cleanup:
        for bridge, address in ((f"{tag}c", f"{net}.1/25"), (f"{tag}p", None)):
            _ip("link", "add", bridge, "type", "bridge")
            cleanup.callback(_ip, "link", "del", bridge)
            if address:
                _ip("addr", "add", address, "dev", bridge)
            _ip("link", "set", bridge, "up")
        made, cables = [], {}
        for number in range(members):
            space = f"{tag}n{number}"
            _ip("netns", "add", space)
            cleanup.callback(_ip, "netns", "del", space)
            _ip("-n", space, "link", "set", "lo", "up")
            client, peer = f"{net}.{number + 2}", f"{net}.{number + 130}"
            _plug(space, f"{tag}c", f"{tag}c{number}", f"{client}/25")
            _plug(space, f"{tag}p", f"{tag}p{number}", f"{peer}/25")
            member = Member(
                directory,
                f"m{number}",
                client_url=f"http://{client}:2379",
                peer_url=f"http://{peer}:2380",
                metrics_url=f"http://{client}:2381",
                wrapper=("ip", "netns", "exec", space),
            )
            made.append(member)
            cables[member] = f"{tag}p{number}"
        cluster = PartitionedEtcd(made, cables)
        cleanup.callback(cluster.stop)
        cluster.start()
        yield cluster


def _plug(space: str, bridge: str, cable: str, address: str) -> None:
    inside = f"{cable}i"
    _ip("link", "add", cable, "type", "veth", "peer", "name", inside, "netns", space)
    _ip("link", "set", cable, "master", bridge, "up")
    _ip("-n", space, "addr", "add", address, "dev", inside)
    _ip("-n", space, "link", "set", inside, "up")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, stdin=subprocess.DEVNULL)
