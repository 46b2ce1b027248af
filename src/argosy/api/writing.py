"""Changes of units into transactions: one where they fit, chunks where they do not.

Every record that is written or deleted is compared with what the decision was made on. A change that fits one
transaction is all or nothing. A larger one has been checked as a whole before, and goes in chunks of whole units; if one
meets somebody else's write, the error says how far it came.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from argosy.api.journal import Journal
from argosy.api.services import Api
from argosy.errors import StaleRevision
from argosy.model.event import Event
from argosy.model.ids import UnitName
from argosy.model.unit import Unit
from argosy.store import base, codec, keys

BYTES_PER_TXN = base.MAX_TXN_BYTES - 20_000
OPS_PER_TXN = base.MAX_TXN_OPS
_UnitOps = tuple[base.Compare, list[base.Op]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """What becomes of one unit's record."""

    name: UnitName
    seen_revision: int
    """mod_revision of the record that the decision was made on; 0 when there was none."""
    unit: Unit | None
    """None: the record goes."""
    event: Event
    text: bytes | None = None
    """The unit's new text, when it has one."""


class PartlyWritten(StaleRevision):
    """A change of several chunks met somebody else's write: it may not be sent again without a look at what it would do
    a second time.
    """


async def commit(api: Api, writes: Sequence[Write]) -> int:
    """Carry the writes out; returns the store's revision after them.

    Raises StaleRevision when a record is not as it was seen and nothing was written, PartlyWritten when chunks before it
    were; StoreFull, Indeterminate.
    """
    texts = _texts(writes)
    units = [_unit_ops(api.journal, write) for write in writes]
    whole = _Chunk(
        compares=[compare for compare, _ in units],
        ops=[*texts, *(op for _, ops in units for op in ops)],
    )
    if whole.fits:
        return await _send(api, whole, written=0, total=len(writes))
    for chunk in _text_chunks(texts):
        await _send(api, chunk, written=0, total=len(writes))
    revision = written = 0
    for chunk in _unit_chunks(units):
        revision = await _send(api, chunk, written=written, total=len(writes))
        written += len(chunk.compares)
    return revision


@dataclass(frozen=True, slots=True)
class _Chunk:
    compares: list[base.Compare]
    ops: list[base.Op]

    @property
    def fits(self) -> bool:
        size = sum(len(op.key) + len(op.value) for op in self.ops if isinstance(op, base.Put))
        keys_size = 2 * sum(len(compare.key) for compare in self.compares)
        return len(self.ops) <= OPS_PER_TXN and size + keys_size <= BYTES_PER_TXN


async def _send(api: Api, chunk: _Chunk, *, written: int, total: int) -> int:
    result = await api.services.store.txn(chunk.compares, chunk.ops)
    if result.succeeded:
        return result.revision
    met = "somebody else changed one of the units at the same time"
    again = "run the same command again"
    if written:
        raise PartlyWritten(f"{met}; {written} of {total} were written before", hint=again)
    raise StaleRevision(f"{met}; nothing was written", hint=again)


def _texts(writes: Sequence[Write]) -> list[base.Op]:
    by_key = {
        keys.text(write.unit.digest): write.text
        for write in writes
        if write.unit is not None and write.text is not None
    }
    return [base.Put(key, text) for key, text in by_key.items()]


def _unit_ops(journal: Journal, write: Write) -> _UnitOps:
    key = keys.unit(write.name)
    compare = base.Compare(key, base.Target.MOD, "=", write.seen_revision)
    record: base.Op = (
        base.Delete(key) if write.unit is None else base.Put(key, codec.encode(write.unit))
    )
    return compare, [record, journal.put(write.event)]


def _text_chunks(texts: Sequence[base.Op]) -> Iterator[_Chunk]:
    chunk = _Chunk([], [])
    for op in texts:
        larger = _Chunk([], [*chunk.ops, op])
        if chunk.ops and not larger.fits:
            yield chunk
            larger = _Chunk([], [op])
        chunk = larger
    if chunk.ops:
        yield chunk


def _unit_chunks(units: Sequence[_UnitOps]) -> Iterator[_Chunk]:
    chunk = _Chunk([], [])
    for compare, ops in units:
        larger = _Chunk([*chunk.compares, compare], [*chunk.ops, *ops])
        if chunk.ops and not larger.fits:
            yield chunk
            larger = _Chunk([compare], list(ops))
        chunk = larger
    if chunk.ops:
        yield chunk
