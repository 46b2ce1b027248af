"""Python's garbage collector in a process that keeps millions of objects for long.

A full collection looks at every object. In a server with a thousand machines and 13,000 units that took 0.7 s, in which it
answered nobody, and while records came in there was one every few seconds. So what has survived is set aside as permanent
again and again, and a collection looks at what is new. Reference counts still free what is permanent, all but cycles;
for those everything is looked at once a day.
Source: gc.freeze() in Python's documentation; the figure: bench/hollow_agents.py.
"""

from __future__ import annotations

import asyncio
import gc

SET_ASIDE_SECONDS = 5.0
ALL_AFTER_SECONDS = 86400.0


async def keep_pauses_short() -> None:
    """Until cancelled; then the collector is as Python has it."""
    loop = asyncio.get_running_loop()
    all_at = loop.time() + ALL_AFTER_SECONDS
    try:
        while True:
            if loop.time() >= all_at:
                all_at = loop.time() + ALL_AFTER_SECONDS
                gc.unfreeze()
            gc.collect()
            gc.freeze()
            await asyncio.sleep(SET_ASIDE_SECONDS)
    finally:
        gc.unfreeze()
