"""The agents that speak to this server over the network: for each machine its gate, and how much it may ask.

An agent is not trusted with more than its own machine, and not with that server's time either: whoever gets hold of one
machine's key must not be able to keep the server from the others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

from argosy.api.buckets import Bucket
from argosy.api.gate import MachineGate
from argosy.api.picture import Picture
from argosy.api.sessions import Sessions
from argosy.api.streams import SIGN_OF_LIFE_SECONDS
from argosy.errors import Temporary
from argosy.model.ids import MachineId
from argosy.store import codec

REQUESTS_PER_SECOND = 50.0
BYTES_PER_SECOND = 1024.0 * 1024
BYTES_AT_ONCE = 32 * BYTES_PER_SECOND
"""A full report of ten thousand units has a few mebibytes."""
BULK_PER_SECOND = 100.0
"""Of requests that carry what somebody asked for: output of units, of commands."""
STREAMS = 2
"""Assignments that one machine may follow at a time. One more ends the oldest: that may be a connection whose other end
is gone without a word, which TCP takes minutes to notice, and the agent that is back must not wait for it."""


class Door:
    """One machine's."""

    def __init__(self, gate: MachineGate, holder: str) -> None:
        self.gate = gate
        self.holder = holder
        self._requests = Bucket(per_second=REQUESTS_PER_SECOND, burst=2 * REQUESTS_PER_SECOND)
        self._bulk = Bucket(per_second=BULK_PER_SECOND, burst=2 * BULK_PER_SECOND)
        self._bytes = Bucket(per_second=BYTES_PER_SECOND, burst=BYTES_AT_ONCE)
        self._streams: deque[asyncio.Event] = deque()

    def count(self, *, is_bulk: bool, size: int) -> None:
        """Note a request with so many bytes, which may end up in the store unless it is one in bulk.

        Raises Refused when there were too many.
        """
        if is_bulk:
            self._bulk.take()
        else:
            self._requests.take()
            self._bytes.take(size)

    @contextmanager
    def stream(self) -> Iterator[asyncio.Event]:
        """While a stream is open; yields what is set when it is to end for a newer one."""
        while len(self._streams) >= STREAMS:
            self._streams.popleft().set()
        ended = asyncio.Event()
        self._streams.append(ended)
        try:
            yield ended
        finally:
            if ended in self._streams:
                self._streams.remove(ended)


class Agents:
    """All machines that have spoken to this server."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self._doors: dict[MachineId, Door] = {}

    def door(self, machine: MachineId) -> Door:
        found = self._doors.get(machine)
        if found is None:
            gate = MachineGate(self.sessions, machine, holder="")
            found = self._doors[machine] = Door(gate, "")
        return found

    def held_by(self, machine: MachineId, holder: str) -> MachineGate:
        """The gate of the machine for an agent that says it is this one."""
        door = self.door(machine)
        if door.holder != holder:
            door.gate = MachineGate(self.sessions, machine, holder=holder)
            door.holder = holder
        return door.gate

    def check(self, picture: Picture) -> None:
        """Forget the machines that are not in the cluster any more."""
        for machine in [one for one in self._doors if one not in picture.identities]:
            del self._doors[machine]
            self.sessions.dismiss(machine)


async def assignment_lines(door: Door, closing: asyncio.Event) -> AsyncGenerator[bytes, None]:
    """The machine's assignments as lines, from the present one on; an empty line now and then as a sign of life.

    The first chunk comes when the stream is open, and is empty. Raises Temporary before that; afterwards the stream ends
    when the store's does.
    """
    with door.stream() as ended:
        async with door.gate.assignments() as deliveries:
            yield b""
            ending = [
                asyncio.create_task(closing.wait(), name="wait for the server to stop"),
                asyncio.create_task(ended.wait(), name="wait for a newer stream"),
            ]
            coming = asyncio.ensure_future(anext(deliveries))
            try:
                while not (closing.is_set() or ended.is_set()):
                    await asyncio.wait(
                        {*ending, coming},
                        timeout=SIGN_OF_LIFE_SECONDS,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                    if not coming.done():
                        yield b"\n"
                        continue
                    try:
                        delivery = coming.result()
                    except Temporary:
                        return
                    coming = asyncio.ensure_future(anext(deliveries))
                    yield codec.encode(delivery) + b"\n"
            finally:
                for task in (*ending, coming):
                    task.cancel()
                await asyncio.gather(*ending, coming, return_exceptions=True)
