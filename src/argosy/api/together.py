"""Writes what many machines say in few transactions: whatever comes while some are under way goes together next.

Each change has a condition of its own and is written if that holds, whatever becomes of the others. A change that comes
alone is written at once, so nobody waits for company. Without this, a thousand machines that start their units at once
would be a thousand transactions, and as many revisions for everybody who follows the store.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from argosy.errors import ArgosyError, Indeterminate, StoreFull, Temporary
from argosy.store import base

MOST_OPS = base.MAX_TXN_OPS
MOST_BYTES = base.MAX_TXN_BYTES - 20_000
"""Leaves room for the conditions."""

Outcome = int | ArgosyError | None


@dataclass(slots=True, eq=False)
class _Change:
    guard: base.Compare
    ops: Sequence[base.Op]
    is_done: bool = False
    outcome: Outcome = None


class Together:
    """All writes of one kind to one store."""

    def __init__(self, store: base.Store) -> None:
        self._store = store
        self._waiting: deque[_Change] = deque()
        self._turn = asyncio.Lock()

    async def write(self, guard: base.Compare, ops: Sequence[base.Op]) -> int | None:
        """The revision at which the operations were carried out; None when the guard did not hold.

        ops: puts and deletions that fit one transaction. Raises as `Store.txn`.
        """
        change = _Change(guard, ops)
        self._waiting.append(change)
        async with self._turn:
            while not change.is_done:
                # All that wait, side by side: were it one transaction after the other, a busy server would fall behind.
                async with asyncio.TaskGroup() as tasks:
                    for portion in self._portions():
                        tasks.create_task(self._write(portion), name="write for many machines")
        if isinstance(change.outcome, ArgosyError):
            raise change.outcome
        return change.outcome

    async def _write(self, some: Sequence[_Change]) -> None:
        outcomes: Sequence[Outcome] = [_unknown()] * len(some)
        try:
            outcomes = await self._carry_out(some)
        finally:  # also when whoever does it for all is cancelled
            for change, outcome in zip(some, outcomes, strict=True):
                change.outcome, change.is_done = outcome, True

    def _portions(self) -> list[list[_Change]]:
        """All that wait, as much in each as fits one transaction; of several with one guard only the first: the others
        have to see what became of it.
        """
        portions: list[list[_Change]] = []
        guarded: set[str] = set()
        later: deque[_Change] = deque()
        count = size = 0
        for change in self._waiting:
            if change.guard.key in guarded:
                later.append(change)
                continue
            guarded.add(change.guard.key)
            more = sum(map(_size, change.ops))
            if not portions or count + len(change.ops) > MOST_OPS or size + more > MOST_BYTES:
                portions.append([])
                count = size = 0
            portions[-1].append(change)
            count, size = count + len(change.ops), size + more
        self._waiting = later
        return portions

    async def _carry_out(self, some: Sequence[_Change]) -> Sequence[Outcome]:
        if len(some) > 1:
            try:
                result = await self._store.txn(
                    [change.guard for change in some], [op for change in some for op in change.ops]
                )
            except (Temporary, StoreFull) as problem:
                return [problem] * len(some)
            except ArgosyError:
                pass  # one of them is at fault: the others must not suffer for it
            else:
                if result.succeeded:
                    return [result.revision] * len(some)
        return [await self._carry_out_alone(change) for change in some]

    async def _carry_out_alone(self, change: _Change) -> Outcome:
        try:
            result = await self._store.txn([change.guard], change.ops)
        except ArgosyError as problem:
            return problem
        return result.revision if result.succeeded else None


def _unknown() -> Indeterminate:
    return Indeterminate("who wrote it was interrupted; it may or may not have happened")


def _size(op: base.Op) -> int:
    return len(op.key) + (len(op.value) if isinstance(op, base.Put) else 0)
