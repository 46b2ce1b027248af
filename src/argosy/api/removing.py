"""Taking a machine out of the cluster: nothing of it stays, its certificate is worth nothing, and its units move at once.

Its identity goes first, in a transaction of its own with the event: from then on no server answers it. What it has
reported may be more than one transaction holds, and goes after that; nobody writes there any more.
"""

from __future__ import annotations

from argosy.api.services import Api
from argosy.errors import NotFound, StaleRevision
from argosy.model.event import Event
from argosy.model.ids import MachineId
from argosy.store import base, keys

ATTEMPTS = 5


async def remove_machine(api: Api, machine: MachineId, *, reason: str = "") -> int:
    """Remove it; returns the store's revision after it. Doing it again after a failure half-way carries it to its end.

    Raises NotFound when nothing is known of it, StaleRevision when it registered anew again and again meanwhile.
    """
    store = api.services.store
    own = (
        keys.machine(machine),
        keys.identity(machine),
        keys.orders(machine),
        keys.presence(machine),
    )
    for _ in range(ATTEMPTS):
        found = [kv for key in own for kv in (await store.range(key)).kvs]
        prefix = keys.observed_of(machine)
        observed = await store.range(prefix, base.prefix_end(prefix), keys_only=True, limit=1)
        if not found and not observed.kvs:
            raise NotFound(f"there is no machine {machine}", hint="argosy machines")
        told = Event(
            at=api.services.clock(),
            kind="machine.removed",
            machine=machine,
            message=reason or "its certificate is worth nothing any more",
            by=api.by,
        )
        result = await store.txn(
            [base.unchanged(kv) for kv in found],
            [*(base.Delete(key) for key in own), api.journal.put(told)],
        )
        if result.succeeded:
            # A deletion of a range is one operation, however many keys it has. If the machine has joined again by now,
            # its first report, which is a full one, does this.
            not_back = base.absent(keys.identity(machine))
            await store.txn([not_back], [base.Delete(prefix, base.prefix_end(prefix))])
            return (await api.feed.catch_up()).revision
    raise StaleRevision(
        f"machine {machine} registers anew all the time", hint="stop its agent, then try again"
    )
