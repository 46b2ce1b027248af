"""Changes of units into transactions: one where they fit, chunks where they do not.

Every record that is written or deleted is compared with what the decision was made on. A change that fits one
transaction is all or nothing. A larger one has been checked as a whole before, and goes in chunks of whole units, each
with the texts of its own: a text that stood alone for a moment could be collected as unused. If a chunk meets somebody
else's write, the error says how far it came.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from argosy.api.journal import Journal
from argosy.api.services import Api
from argosy.errors import StaleRevision
from argosy.model.event import Event
from argosy.model.ids import UnitName
from argosy.model.unit import Unit
from argosy.store import base, codec, keys

BYTES_PER_TXN = base.MAX_TXN_BYTES - 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """What becomes of one unit's record."""

    name: UnitName
    seen_revision: int
    """mod_revision of the record that the decision was made on; 0 when there was none."""
    unit: Unit | None
    """None: the record goes."""
    event: Event
    """Whoever did it is filled in when it is written."""
    text: bytes | None = None
    """The unit's new text, when it has one."""
    beyond: codec.Beyond | None = None
    """What the record has that this program does not know, where that stays true: the text is the same."""


class PartlyWritten(StaleRevision):
    """A change of several chunks met somebody else's write: it may not be sent again without a look at what it would do
    a second time.
    """


async def commit(api: Api, writes: Sequence[Write]) -> int:
    """Carry the writes out; returns the store's revision after them. There must be one at least.

    Raises StaleRevision when a record is not as it was seen and nothing was written, PartlyWritten when chunks before it
    were; StoreFull, Indeterminate.
    """
    revision = written = 0
    for chunk in _chunks(writes, api.journal, api.by):
        result = await api.services.store.txn(chunk.compares, chunk.ops)
        if not result.succeeded:
            raise _stale(written, len(writes))
        revision = result.revision
        written += len(chunk.compares)
    return revision


def _stale(written: int, total: int) -> StaleRevision:
    met = "somebody else changed one of the units at the same time"
    again = "run the same command again"
    if written:
        return PartlyWritten(f"{met}; {written} of {total} were written before", hint=again)
    return StaleRevision(f"{met}; nothing was written", hint=again)


@dataclass(slots=True)
class _Chunk:
    """One transaction."""

    compares: list[base.Compare] = field(default_factory=list)
    ops: list[base.Op] = field(default_factory=list)
    texts: set[str] = field(default_factory=set)
    size: int = 0

    def add(self, compare: base.Compare, ops: Sequence[base.Op], text: base.Put | None) -> bool:
        """Take a unit in, if it still fits."""
        if text is not None and text.key not in self.texts:
            ops = [text, *ops]
        size = len(compare.key) + sum(map(_size, ops))
        is_over = len(self.ops) + len(ops) > base.MAX_TXN_OPS or self.size + size > BYTES_PER_TXN
        if is_over and self.ops:
            return False
        self.compares.append(compare)
        self.ops += ops
        self.size += size
        if text is not None:
            self.texts.add(text.key)
        return True


def _chunks(writes: Sequence[Write], journal: Journal, by: str) -> Iterator[_Chunk]:
    chunk = _Chunk()
    for write in writes:
        key = keys.unit(write.name)
        compare = base.Compare(key, base.Target.MOD, "=", write.seen_revision)
        if write.unit is None:
            record: base.Op = base.Delete(key)
        else:
            record = base.Put(key, codec.encode(write.unit, beyond=write.beyond))
        ops = [record, journal.put(msgspec.structs.replace(write.event, by=by))]
        text = None
        if write.unit is not None and write.text is not None:
            text = base.Put(keys.text(write.unit.digest), write.text)
        if not chunk.add(compare, ops, text):
            yield chunk
            chunk = _Chunk()
            chunk.add(compare, ops, text)
    yield chunk


def _size(op: base.Op) -> int:
    return len(op.key) + (len(op.value) if isinstance(op, base.Put) else 0)
