"""Token buckets: how often somebody may do something, with some haste allowed after a rest. Times are the loop's."""

from __future__ import annotations

import asyncio

from argosy.api.problems import Refused


class Bucket:
    """per_second: how often in the long run. burst: how often at once."""

    __slots__ = ("_burst", "_left", "_per_second", "_seen_at")

    def __init__(self, *, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = burst
        self._seen_at = 0.0

    def has(self, amount: float = 1) -> bool:
        """Take so many, if that many are left."""
        now = asyncio.get_running_loop().time()
        self._left = min(self._burst, self._left + (now - self._seen_at) * self._per_second)
        self._seen_at = now
        if self._left < amount:
            return False
        self._left -= amount
        return True

    def take(self, amount: float = 1) -> None:
        """Take so many. Raises Refused, 429."""
        if not self.has(amount):
            raise Refused(
                429, "too much at a time", hint=f"{self._per_second:g} a second are taken"
            )
