"""A sorted set of strings that stays fast at a hundred thousand and a million of them.

A list of short sorted lists: adding or removing one key moves at most a chunk, not the whole. Python compares strings
by code point, which is also the order of their UTF-8 bytes, so this is etcd's order of keys.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable

CHUNK = 1000
"""A chunk is split in two when it grows past twice this; about the size where one memmove equals one bisect."""


class SortedKeys:
    def __init__(self, keys: Iterable[str] = ()) -> None:
        ordered = sorted(set(keys))
        self._chunks = [ordered[i : i + CHUNK] for i in range(0, len(ordered), CHUNK)]
        self._last = [chunk[-1] for chunk in self._chunks]
        """The greatest key of each chunk, to find the chunk of a key by bisection."""

    def add(self, key: str) -> None:
        """Add a key that is not there yet."""
        if not self._chunks:
            self._chunks.append([key])
            self._last.append(key)
            return
        at = min(bisect_left(self._last, key), len(self._chunks) - 1)
        chunk = self._chunks[at]
        insort(chunk, key)
        if len(chunk) > 2 * CHUNK:
            self._chunks[at : at + 1] = [chunk[:CHUNK], chunk[CHUNK:]]
            self._last[at : at + 1] = [chunk[CHUNK - 1], chunk[-1]]
        else:
            self._last[at] = chunk[-1]

    def remove(self, key: str) -> None:
        """Remove a key that is there."""
        at = bisect_left(self._last, key)
        chunk = self._chunks[at]
        del chunk[bisect_left(chunk, key)]
        if chunk:
            self._last[at] = chunk[-1]
        else:
            del self._chunks[at], self._last[at]

    def between(self, start: str, end: str) -> list[str]:
        """All keys from `start` (included) to `end` (excluded), in order."""
        first = bisect_left(self._last, start)
        found: list[str] = []
        for chunk in self._chunks[first:]:
            if chunk[0] >= end:
                break
            low = bisect_left(chunk, start) if chunk[0] < start else 0
            high = bisect_left(chunk, end) if chunk[-1] >= end else len(chunk)
            found += chunk[low:high]
        return found
