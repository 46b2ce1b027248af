"""Unit texts in the store: exact bytes under their digest, immutable, shared by all units that have the same text.

A text goes when nothing refers to it any more. Nobody counts references; who takes one away looks for texts without any.
Two hands could meet there: one that submits a unit with a text that the other is about to delete. So a submission always
puts the text, also where it is there already, and a deletion holds only if nobody has put the text since it was found
unused.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable

from argosy.api.feed import Feed
from argosy.errors import NotFound, Temporary
from argosy.model.ids import Digest
from argosy.store import base, keys

log = logging.getLogger(__name__)
DELETED_AT_ONCE = 100
CACHED_BYTES = 32 * 1024 * 1024


async def read(store: base.Store, digest: Digest) -> bytes:
    """Raises NotFound."""
    found = await store.range(keys.text(digest))
    if not found.kvs:
        raise NotFound(f"there is no text {digest}")
    return found.kvs[0].value


class CachedTexts:
    """Texts that were read lately, up to CACHED_BYTES: many machines ask for the same ones at the same time."""

    def __init__(self, store: base.Store) -> None:
        self._store = store
        self._kept: OrderedDict[Digest, bytes] = OrderedDict()
        self._bytes = 0

    async def read(self, digest: Digest) -> bytes:
        """Raises NotFound."""
        if digest not in self._kept:
            text = await read(self._store, digest)
            if digest not in self._kept:
                self._kept[digest] = text
                self._bytes += len(text)
        self._kept.move_to_end(digest)
        text = self._kept[digest]
        while self._bytes > CACHED_BYTES and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest)
        return text


async def read_all(store: base.Store, digests: Iterable[Digest]) -> dict[Digest, bytes]:
    """Those that are there."""
    found = {digest: await store.range(keys.text(digest)) for digest in set(digests)}
    return {digest: result.kvs[0].value for digest, result in found.items() if result.kvs}


async def tidy(store: base.Store, feed: Feed) -> None:
    """Collect garbage after a change that is done: trouble with it is no trouble with the change."""
    try:
        await collect_garbage(store, feed)
    except (Temporary, base.Compacted) as problem:
        log.info("unused texts stay for now: %s", problem)


async def collect_garbage(store: base.Store, feed: Feed) -> int:
    """Delete the texts that no unit and no assignment refers to; returns how many.

    A unit that was just destroyed is still assigned until the engine has seen to it: its text goes the next time.
    """
    picture = await feed.catch_up()
    used = {unit.digest for unit in picture.units.values()}
    used |= {unit.digest for units in picture.assignments.values() for unit in units.values()}
    seen_at = picture.revision
    found = await store.range(
        keys.TEXTS, base.prefix_end(keys.TEXTS), revision=seen_at, keys_only=True
    )
    unused = [kv.key for kv in found.kvs if Digest(keys.last_part(kv.key)) not in used]
    deleted = 0
    for start in range(0, len(unused), DELETED_AT_ONCE):
        some = unused[start : start + DELETED_AT_ONCE]
        compares = [base.Compare(key, base.Target.MOD, "<", seen_at + 1) for key in some]
        result = await store.txn(compares, [base.Delete(key) for key in some])
        deleted += len(some) if result.succeeded else 0
    return deleted
