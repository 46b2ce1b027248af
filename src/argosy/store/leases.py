"""When leases run out, by the event loop's clock: on a virtual-time loop a test decides when.

Which leases exist, and which keys hang on them, is the index's business; this only keeps the time. Renewing is one
assignment: a timer that finds its lease renewed sets itself again, so five thousand heartbeats cost no timers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class LeaseTimers:
    """One timer for each lease. `expire` is called with the id when a lease was not renewed in time."""

    def __init__(self, expire: Callable[[int], None]) -> None:
        self._expire = expire
        self._deadlines: dict[int, float] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}

    def start(self, lease_id: int, seconds: float) -> None:
        """The lease runs out after `seconds`; one that is running already starts over."""
        self.stop(lease_id)
        loop = asyncio.get_running_loop()
        self._deadlines[lease_id] = loop.time() + seconds
        self._timers[lease_id] = loop.call_later(seconds, self._ring, lease_id)

    def is_running(self, lease_id: int) -> bool:
        return lease_id in self._timers

    def renew(self, lease_id: int, seconds: float) -> None:
        """Move the deadline of a running lease, never to an earlier time."""
        self._deadlines[lease_id] = asyncio.get_running_loop().time() + seconds

    def stop(self, lease_id: int) -> None:
        """Forget the lease; nothing happens when it is not running."""
        self._deadlines.pop(lease_id, None)
        timer = self._timers.pop(lease_id, None)
        if timer is not None:
            timer.cancel()

    def stop_all(self) -> None:
        for lease_id in tuple(self._timers):
            self.stop(lease_id)

    def _ring(self, lease_id: int) -> None:
        loop = asyncio.get_running_loop()
        deadline = self._deadlines[lease_id]
        if deadline > loop.time():
            self._timers[lease_id] = loop.call_at(deadline, self._ring, lease_id)
        else:
            self.stop(lease_id)
            self._expire(lease_id)
