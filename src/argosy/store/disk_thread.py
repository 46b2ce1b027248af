"""The one thread that waits for the disk, and an event loop that lets it finish even when it is busy itself.

Why the second half: a thread that comes back from the disk needs the interpreter lock, and asks a running thread for it
only after 5 ms without any change of hands. An event loop that is never idle lets go of the lock in every `select` and
takes it back within microseconds, before the other thread has woken up, which starts its 5 ms anew. Measured with turns of
0.8 ms: single commits took up to 22 seconds. So while a call is under way the loop now and then stands aside for long
enough that the other thread wakes up; with that, 16 ms at most. An idle loop loses nothing by it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

FIRST_STAND_ASIDE = 0.001
"""Seconds until the loop stands aside; then twice as long each time, for a disk that is slow and needs no lock."""
LONGEST_STAND_ASIDE = 0.02
STAND_ASIDE_FOR = 0.0005
"""Seconds: a woken thread needs some 50 to 100 microseconds to take the lock, and some more for what it does with it."""


class DiskThread:
    """Runs blocking calls in order, one at a time."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")

    async def run(self, call: Callable[[], T]) -> T:
        """What `call` returns or raises. When the caller is cancelled, a call that has begun still ends by itself."""
        loop = asyncio.get_running_loop()
        done = loop.run_in_executor(self._executor, call)
        pause = FIRST_STAND_ASIDE
        timer: asyncio.TimerHandle

        def stand_aside() -> None:
            nonlocal timer, pause
            time.sleep(STAND_ASIDE_FOR)
            pause = min(2 * pause, LONGEST_STAND_ASIDE)
            timer = loop.call_later(pause, stand_aside)

        timer = loop.call_later(pause, stand_aside)
        try:
            return await done
        finally:
            timer.cancel()

    def stop(self) -> None:
        """No more calls; the thread ends when those that were asked for have ended."""
        self._executor.shutdown(wait=False)
