"""A process that writes into a SQLite store until it is killed; run by the tests, not a test itself.

Reads lines `STORE ACKNOWLEDGED` from standard input. For each it forks a writer, prints the writer's process id, and waits
for its end before it reads the next line. Forking from one interpreter that has everything imported makes a life cost
milliseconds, so that hundreds of kills fit in a test.

A writer runs several tasks. Each puts its next number under two keys in one transaction, and appends
`TASK NUMBER REVISION` to the file ACKNOWLEDGED after the store's answer, not before.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path

from argosy.store.base import Compacted, Put
from argosy.store.sqlite import SqliteStore

TASKS = 8
VALUE = b"x" * 300


async def write(store: SqliteStore, task: int, acknowledged: int) -> None:
    left, right = f"pair/{task}/left", f"pair/{task}/right"
    found = (await store.range(left)).kvs
    number = int(found[0].value.split()[0]) if found else 0
    while True:
        number += 1
        value = b"%d %s" % (number, VALUE)
        result = await store.txn([], [Put(left, value), Put(right, value)])
        os.write(acknowledged, b"%d %d %d\n" % (task, number, result.revision))
        if number % 10 == 0:
            lease = await store.grant(60)
            await store.txn([], [Put(f"leased/{task}", b"", lease.id)])
            await store.revoke(lease.id)
        if number % 50 == 0:
            with contextlib.suppress(Compacted):  # another task was faster
                await store.compact(result.revision - 40)


async def live(path: Path, acknowledged: int) -> None:
    store = await SqliteStore.open(path)
    os.write(acknowledged, b"open\n")
    await asyncio.gather(*(write(store, task, acknowledged) for task in range(TASKS)))


def main() -> None:
    for line in sys.stdin:
        path, acknowledged = line.split()
        writer = os.fork()
        if not writer:
            try:
                fd = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                asyncio.run(live(Path(path), fd))
            finally:
                os._exit(1)  # never the parent's loop; a traceback is on standard error
        print(writer, flush=True)
        os.waitpid(writer, 0)


if __name__ == "__main__":
    main()
