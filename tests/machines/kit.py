"""Machines of a test: booted together, plugged into one switch, gone at the end whatever happens.

    async with Machines(3) as machines:
        first, second, third = machines
        await first.run(["ping", "-c1", second.name])

Neighbours: `machine.py` is one of them, `network.py` what is between them, `claims.py` keeps two kits on one host apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from machines import claims, installation, root
from machines.machine import Machine, in_thread
from machines.network import Network


class Machines:
    """So many machines, named m1, m2, ... or as told. Start them by `async with`, or by `start` and `close`.

    argosy: with the wheel of this checkout installed
    docker: with Docker installed, and allowed what it needs
    shared: directories of the host that every machine sees at the same place, read-only
    """

    def __init__(
        self,
        count: int = 1,
        *,
        names: Sequence[str] | None = None,
        argosy: bool = True,
        docker: bool = False,
        shared: Sequence[Path] = (),
    ) -> None:
        self._names = list(names) if names is not None else [f"m{n + 1}" for n in range(count)]
        self._argosy = argosy
        self._docker = docker
        self._shared = shared
        self._machines: dict[str, Machine] = {}
        self._layers: list[
            Path
        ] = []  # the same for all of them, though the source may change meanwhile
        self._claim: claims.Claim | None = None
        self._network: Network | None = None

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await in_thread(self.close)

    def __iter__(self) -> Iterator[Machine]:
        return iter(self._machines.values())

    def __len__(self) -> int:
        return len(self._machines)

    def __getitem__(self, name: str) -> Machine:
        return self._machines[name]

    @property
    def network(self) -> Network:
        assert self._network is not None, "the machines are not started"
        return self._network

    @property
    def host_address(self) -> str:
        """Where the machines find the host, and what the test runs on it."""
        return self.network.host_address

    async def start(self) -> Self:
        """Boot all of them, side by side; returns when every one is up. What started is gone again if one fails."""
        try:
            await in_thread(self._claim_network)
            self._layers = await in_thread(self._find_layers)
            for name in self._names:
                self._place(name)
            async with asyncio.TaskGroup() as tasks:
                for machine in self:
                    tasks.create_task(self._first_boot(machine), name=f"boot {machine.name}")
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Cut every machine's power and delete all that was made for them."""
        claim, self._claim = self._claim, None
        if claim is None:
            return
        try:
            for machine in self:
                machine.kill()
        finally:
            claim.release()

    async def add(self, name: str, *, like: Machine | None = None) -> Machine:
        """One more machine, up when this returns; `like` another, it boots from a copy of its disk.

        The kit's other machines do not know its name, only its address.
        """
        machine = self._place(name)
        await self._first_boot(machine, image=like.disk if like else None)
        return machine

    async def clone(self, original: Machine, name: str) -> Machine:
        """Another machine from a copy of the disk, as people copy images: same machine id, same keys, same everything."""
        return await self.add(name, like=original)

    def partition(self, *groups: Iterable[Machine]) -> None:
        """Machines of different groups hear nothing of each other, and nothing tells them so; the host hears all of them.

        Replaces an earlier partition. Machines in no group keep all connections.
        """
        self.heal()
        members = [[machine.address for machine in group] for group in groups]
        for position, group in enumerate(members):
            for other in members[position + 1 :]:
                self.network.separate(group, other)

    def heal(self) -> None:
        """End of the partition."""
        self.network.join()

    def _claim_network(self) -> None:
        self._claim = claims.claim()
        self._network = Network(self._claim.number)
        self._network.create()

    def _find_layers(self) -> list[Path]:
        base = root.base()
        argosy = installation.layers(base) if self._argosy else []
        docker = [root.docker(base)] if self._docker else []
        return [*argosy, *docker, base]

    def _place(self, name: str) -> Machine:
        assert self._claim is not None, "the machines are not started"
        assert name not in self._machines, f"there is a machine {name} already"
        self._machines[name] = Machine(
            name,
            number=len(self._machines),
            directory=self._claim.directory / name,
            lower=self._layers,
            group=claims.group(self._claim.number, name),
            network=self.network,
            docker=self._docker,
            shared=self._shared,
        )
        return self._machines[name]

    async def _first_boot(self, machine: Machine, *, image: Path | None = None) -> None:
        named = [(self.host_address, "host"), *((other.address, other.name) for other in self)]
        lines = ["127.0.0.1 localhost", "::1 localhost", *(" ".join(pair) for pair in named), ""]
        files = {"etc/hosts": "\n".join(lines)}
        await in_thread(machine.prepare, image=image, files=files)
        await machine.boot()
