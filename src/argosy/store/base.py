"""The contract of a store, in etcd v3's terms, so that etcd is the third implementation and not a translation.

A store is a sorted map from keys to values with one revision that grows by one with every transaction that changes
something. Everything else follows from the revision: a range is read *at* one, a watch resumes *from* one, a compare
asks *at which* one a key changed last. `memory.py` is the reference, `sqlite.py` the embedded one, `etcd/` is
for several machines; the same contract tests run on each (`tests/contract/test_store.py`).

What surprises: `txn` with a failed compare is an answer (`succeeded=False`), not an error; and a write that raises
`Indeterminate` may have happened, so it is never sent again: read, and decide from what is there.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from argosy.errors import ArgosyError, Invalid, Temporary

MAX_KEY_BYTES = 1024
MAX_VALUE_BYTES = 1_500_000
"""etcd refuses requests over 1.5 MiB (--max-request-bytes 1572864); the same bound holds everywhere."""
MAX_TXN_BYTES = 1_540_000
"""Keys and values of one transaction together: leaves room for the framing under the same bound."""
MAX_TXN_OPS = 128
"""etcd's --max-txn-ops default."""


class KeyValue(NamedTuple):
    """One key at one revision."""

    key: str
    value: bytes
    create_revision: int
    """Revision at which the key came into being, after its last deletion."""
    mod_revision: int
    """Revision of its last change."""
    version: int
    """1 when created, one more with each put."""
    lease: int = 0
    """0: lives until deleted. Otherwise the key goes when that lease ends."""


class RangeResult(NamedTuple):
    """Answer to a range: keys in order, as they were at `revision`."""

    revision: int
    """The revision that was read; equal to the one asked for, or the store's newest."""
    kvs: tuple[KeyValue, ...]
    more: bool = False
    """Whether `limit` left some out."""
    total: int = 0
    """How many keys the range has in all, whatever `limit` says."""


class Target(enum.StrEnum):
    """What of a key a compare looks at. A key that does not exist has 0 for each, and no VALUE compare holds for it."""

    VERSION = "version"
    CREATE = "create_revision"
    MOD = "mod_revision"
    LEASE = "lease"
    VALUE = "value"


class Compare(NamedTuple):
    """`key`'s `target` `operator` `operand`; operators are `=`, `!=`, `<`, `>`."""

    key: str
    target: Target
    operator: str
    operand: int | bytes


def absent(key: str) -> Compare:
    """Holds when the key does not exist."""
    return Compare(key, Target.CREATE, "=", 0)


def unchanged(kv: KeyValue) -> Compare:
    """Holds when nobody wrote or deleted the key since it was read."""
    return Compare(kv.key, Target.MOD, "=", kv.mod_revision)


class Put(NamedTuple):
    key: str
    value: bytes
    lease: int = 0


class Delete(NamedTuple):
    """Delete `key`, or with `end` every key from `key` (included) to `end` (excluded)."""

    key: str
    end: str | None = None


class Get(NamedTuple):
    """Read `key`, or with `end` the range, inside a transaction: sees the puts and deletions before it."""

    key: str
    end: str | None = None


Op = Put | Delete | Get


class TxnResult(NamedTuple):
    """Answer to a transaction."""

    succeeded: bool
    """Whether every compare held, and so `success` was carried out instead of `failure`."""
    revision: int
    """The store's revision after it; unchanged when nothing was written."""
    responses: tuple[RangeResult | int, ...]
    """One for each operation carried out, in order: a range for Get, the number of keys deleted for Delete, 1 for Put."""


class EventKind(enum.StrEnum):
    PUT = "put"
    DELETE = "delete"


class WatchEvent(NamedTuple):
    """One key changed. For DELETE, `kv` has the key, an empty value and the revision of the deletion as mod_revision."""

    kind: EventKind
    kv: KeyValue
    previous: KeyValue | None
    """What was there before, unless that was compacted away, or the watch did not ask for it."""


class WatchBatch(NamedTuple):
    """All events of one revision that the watch asked for, never split, in the order of the transaction's operations.

    A batch without events is a sign that the watch has seen everything up to `revision`.
    """

    revision: int
    events: tuple[WatchEvent, ...]


class Lease(NamedTuple):
    id: int
    ttl_seconds: int


class StoreStatus(NamedTuple):
    revision: int
    compacted_revision: int
    """Revisions below this one cannot be read or watched any more."""
    keys: int
    bytes_used: int


class Compacted(ArgosyError):
    """The revision asked for was compacted: relist, then watch from the list's revision + 1."""

    def __init__(self, asked: int, compacted_revision: int) -> None:
        super().__init__(f"revision {asked} was compacted; the oldest kept is {compacted_revision}")
        self.compacted_revision = compacted_revision


class FutureRevision(ArgosyError):
    """The revision asked for is newer than the store: the store went back, or belongs to somebody else."""


class LeaseNotFound(ArgosyError):
    """The lease has ended, or never was."""


class WatchLost(Temporary):
    """The watch cannot go on (the store closed, or this watcher was too slow); watch again from the last revision + 1."""


def prefix_end(prefix: str) -> str:
    """The end of the range of all keys that start with `prefix`, which must not be empty.

    Keys are compared as UTF-8 bytes, as etcd does, which is also the order of their code points.
    """
    head = prefix.rstrip(
        "\U0010ffff"
    )  # the last code point has no successor: a longer range has the same keys
    if not head:
        raise Invalid(f"there is no end to the keys that start with {prefix!r}")
    successor = ord(head[-1]) + 1
    return head[:-1] + chr(0xE000 if successor == 0xD800 else successor)  # surrogates are no UTF-8


class Store(Protocol):
    """A store. All methods may raise `StoreUnavailable`; nothing was changed then."""

    async def range(
        self,
        start: str,
        end: str | None = None,
        *,
        revision: int = 0,
        limit: int = 0,
        keys_only: bool = False,
    ) -> RangeResult:
        """Read one key, or with `end` all keys from `start` (included) to `end` (excluded), in order.

        Linearizable: with revision 0 it sees every write acknowledged before the call. An absent key gives an empty
        answer. limit 0 means all. keys_only leaves the values empty.
        Raises Compacted, FutureRevision, Invalid (a key that is empty or too long).
        """
        ...

    async def txn(
        self, compares: Sequence[Compare], success: Sequence[Op], failure: Sequence[Op] = ()
    ) -> TxnResult:
        """Check all compares and carry out `success` if all hold, else `failure`. Atomic, durable when it returns.

        Every change in it has the same revision, one above the store's; a transaction that changes nothing takes no
        revision. In one branch a key may be put once, and not both put and deleted. At most MAX_TXN_OPS compares and
        operations in each branch, at most MAX_TXN_BYTES of keys and values together.
        Raises Invalid (too large, key twice, key empty or too long), LeaseNotFound (a Put names a lease that ended),
        StoreFull, Indeterminate. After any of them but Indeterminate nothing was written.
        """
        ...

    def watch(
        self,
        start: str,
        end: str | None = None,
        *,
        start_revision: int = 0,
        with_previous: bool = True,
    ) -> AbstractAsyncContextManager[AsyncIterator[WatchBatch]]:
        """Follow one key or a range. Registered when the context is entered: no change after that is missed.

        start_revision: the first revision to report; 0 means the first after the one the store has on entering.
        with_previous: whether events must say what was there before; etcd looks that up for each of them.
        Every revision that touches the range is delivered once, in order, whole.
        The iterator raises Compacted when start_revision (or, for a slow watcher, the next one it needs) was
        compacted, WatchLost when it cannot go on. Entering raises Compacted too.
        """
        ...

    async def grant(self, ttl_seconds: int) -> Lease:
        """A new lease that lives ttl_seconds (at least 1; whole seconds, as etcd's LeaseGrant) without renewal.

        The store may lengthen a TTL that it finds too short (etcd: below one and a half election timeouts, 2 s); the
        answer has the one that holds.
        """
        ...

    async def keep_alive(self, lease_id: int) -> int:
        """Renew the lease to its full TTL and return that TTL in seconds. Costs no write. Raises LeaseNotFound."""
        ...

    async def revoke(self, lease_id: int) -> None:
        """End the lease now and delete its keys in one transaction. Raises LeaseNotFound."""
        ...

    async def compact(self, revision: int) -> None:
        """Forget how things were before `revision`. Watches further back end with Compacted.

        Raises Compacted when that was done already, FutureRevision.
        """
        ...

    async def status(self) -> StoreStatus:
        """Figures about the store, for `doctor` and metrics."""
        ...

    async def close(self) -> None:
        """Finish what was accepted, end all watches with WatchLost, let go of files and connections.

        A watch may end before it has told the newest changes; who watches again from its last revision + 1 misses none.
        Leases are not revoked: a store that opens again gives each its full TTL anew (as etcd does after a change of
        leader).
        """
        ...
