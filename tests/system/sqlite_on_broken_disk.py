"""A process whose disk breaks during a commit; run by test_sqlite_reopen.py with failing_fsync.c preloaded.

Prints what each caller was told, one a line.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from argosy.errors import ArgosyError
from argosy.store.base import Put
from argosy.store.sqlite import SqliteStore


def told(answer: object) -> str:
    return type(answer).__name__ + (f": {answer}" if isinstance(answer, ArgosyError) else "")


async def main(path: Path) -> None:
    store = await SqliteStore.open(path)
    await store.txn([], [Put("certain", b"")])
    async with store.watch("a", "z") as watch:
        Path(os.environ["FAIL_FSYNC_WHEN"]).touch()
        committing = asyncio.ensure_future(store.txn([], [Put("uncertain", b"")]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # the commit has begun; what comes now waits for the next one
        waiting = store.txn([], [Put("never", b"")])
        for answer in await asyncio.gather(
            committing, waiting, anext(watch), return_exceptions=True
        ):
            print(told(answer))
    late = store.range("uncertain"), store.txn([], [Put("late", b"")])
    for late_answer in await asyncio.gather(*late, return_exceptions=True):
        print(told(late_answer))
    await store.close()


asyncio.run(main(Path(sys.argv[1])))
