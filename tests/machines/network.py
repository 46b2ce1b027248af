"""The network of one kit: a switch in a network namespace of its own, and a cable from there to each machine.

Nothing of the host's firewall is in the way, because the bridge is not in the host's namespace; the host is plugged into
the switch like a machine, at address .1. No machine has a default route: nothing gets out.

A machine gets a fresh namespace at each boot. So a machine that loses power also loses its connections without a goodbye,
as a real one does: its kernel is ours, and would send it for processes that were killed.

Who may hear whom is one table of the switch, applied by each machine's namespace to what comes in: dropped without a word.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from machines import delay_line


def ip(*words: str, namespace: str | None = None, may_fail: bool = False) -> str:
    inside = ("-n", namespace) if namespace else ()
    done = subprocess.run(["ip", *inside, *words], capture_output=True, text=True)
    if done.returncode != 0 and not may_fail:
        raise OSError(f"ip {' '.join((*inside, *words))}: {done.stderr.strip()}")
    return done.stdout


def is_free(subnet: int) -> bool:
    """No address or route of this host lies in the subnet of that number."""
    return f"{_prefix(subnet)}." not in ip("route", "show", "table", "all")


def _prefix(subnet: int) -> str:
    return f"10.213.{subnet}"


class Network:
    """The switch, the host's cable to it, and the namespaces of the machines, all named by the subnet's number."""

    def __init__(self, subnet: int) -> None:
        self.subnet = subnet
        self.host_address = f"{_prefix(subnet)}.1"
        self._switch = f"argosy-{subnet}-switch"
        self._host_link = f"argosy{subnet}"
        self._deaf: dict[str, set[str]] = {}  # who hears nothing from whom, by address
        self._plugged: dict[str, str] = {}  # the namespaces that exist now, by address
        self._slow: dict[int, tuple[float, float]] = {}  # delay and loss, by machine
        self._delay_lines: dict[int, subprocess.Popen[str]] = {}

    def create(self) -> None:
        ip("netns", "add", self._switch)
        # The host's firewall tables do not exist in there, and the empty ones need not be asked.
        ip("link", "add", "bridge", "type", "bridge", namespace=self._switch)
        ip("link", "set", "bridge", "up", namespace=self._switch)
        ip("link", "add", self._host_link, "type", "veth", "peer", "host", "netns", self._switch)
        ip("link", "set", "host", "master", "bridge", "up", namespace=self._switch)
        ip("address", "add", f"{self.host_address}/24", "dev", self._host_link)
        ip("link", "set", self._host_link, "up")

    def address(self, number: int) -> str:
        """The address of the machine of that number, counted from 0."""
        return f"{_prefix(self.subnet)}.{10 + number}"

    def plug(self, number: int) -> str:
        """Make the namespace of a machine and its cable; returns the namespace's path."""
        address, name, port = self.address(number), self._namespace(number), f"port{number}"
        ip("netns", "add", name)
        # Of one name and hardware address over all boots, as a card in a machine: others remember it for a while.
        card = ("peer", "name", "eth0", "address", f"02:00:00:00:00:{number:02x}", "netns", name)
        ip("link", "add", port, "type", "veth", *card, namespace=self._switch)
        ip("link", "set", port, "master", "bridge", "up", namespace=self._switch)
        ip("link", "set", "lo", "up", namespace=name)
        ip("address", "add", f"{address}/24", "dev", "eth0", namespace=name)
        ip("link", "set", "eth0", "up", namespace=name)
        self._plugged[address] = name
        self._tell(address)
        if number in self._slow:
            self._insert_delay_line(number)
        return f"/run/netns/{name}"

    def unplug(self, number: int) -> None:
        """Pull the cable for good and delete the namespace."""
        self._plugged.pop(self.address(number), None)
        self._remove_delay_line(number)
        ip("link", "delete", f"port{number}", namespace=self._switch, may_fail=True)
        ip("netns", "delete", self._namespace(number), may_fail=True)

    def set_cable(self, number: int, *, is_plugged: bool) -> None:
        """The machine sees its link go down or come up."""
        state = "up" if is_plugged else "down"
        ip("link", "set", f"port{number}", state, namespace=self._switch)

    def set_speed(self, number: int, *, delay: float, loss: float) -> None:
        """Frames take `delay` seconds longer each way, and the part `loss` of them gets lost; 0 and 0 is a good cable."""
        self._slow.pop(number, None)
        if delay or loss:
            self._slow[number] = (delay, loss)
        if self.address(number) in self._plugged:
            self._remove_delay_line(number)
            if number in self._slow:
                self._insert_delay_line(number)

    def separate(self, one: Iterable[str], other: Iterable[str], *, both_ways: bool = True) -> None:
        """Nothing from `one` reaches `other`, nor back; adds to what is separated already."""
        ones, others = set(one), set(other)
        for address in others:
            self._deaf.setdefault(address, set()).update(ones - {address})
            self._tell(address)
        if both_ways:
            self.separate(others, ones, both_ways=False)

    def join(self) -> None:
        """Everybody hears everybody."""
        deafened = list(self._deaf)
        self._deaf.clear()
        for address in deafened:
            self._tell(address)

    def _insert_delay_line(self, number: int) -> None:
        """Machine, a bridge of its own, delay line, the common bridge."""
        near, far, own = f"near{number}", f"far{number}", f"slow{number}"
        words = [sys.executable, "-SE", delay_line.__file__, near, far]
        line = subprocess.Popen(
            ["ip", "netns", "exec", self._switch, *words, *map(str, self._slow[number])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._delay_lines[number] = line
        assert line.stdout is not None
        if line.stdout.readline() != "ready\n":
            raise OSError(f"the slow cable of machine {number} did not start: see standard error")
        ip("link", "add", own, "type", "bridge", namespace=self._switch)
        for device, bridge in ((far, "bridge"), (near, own), (f"port{number}", own)):
            ip("link", "set", device, "master", bridge, "up", namespace=self._switch)
        ip("link", "set", own, "up", namespace=self._switch)

    def _remove_delay_line(self, number: int) -> None:
        line = self._delay_lines.pop(number, None)
        if line is None:
            return
        line.communicate()  # it ends with its input, and its devices with it
        ip("link", "delete", f"slow{number}", namespace=self._switch, may_fail=True)
        ip("link", "set", f"port{number}", "master", "bridge", namespace=self._switch)

    def _namespace(self, number: int) -> str:
        return f"argosy-{self.subnet}-{number}"

    def _tell(self, address: str) -> None:
        """One transaction of the firewall: the machine is never half deaf."""
        namespace = self._plugged.get(address)
        if namespace is None:
            return
        rules = [
            f"-A PREROUTING -s {other} -j DROP" for other in sorted(self._deaf.get(address, ()))
        ]
        table = "\n".join(["*raw", ":PREROUTING ACCEPT", ":OUTPUT ACCEPT", *rules, "COMMIT", ""])
        subprocess.run(
            ["ip", "netns", "exec", namespace, "iptables-restore"],
            input=table.encode(),
            check=True,
            capture_output=True,
        )


def remove(subnet: int) -> None:
    """Delete everything that a Network of this subnet may have left, finished or not."""
    ip("link", "delete", f"argosy{subnet}", may_fail=True)
    for namespace in json.loads(ip("-j", "netns", "list") or "[]"):
        name = namespace["name"]
        if name.startswith(f"argosy-{subnet}-") and Path("/run/netns", name).exists():
            ip("netns", "delete", name)
