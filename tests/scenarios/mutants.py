"""Bugs on purpose: each a small change of a real class, of a kind that other orchestrators have had."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta
from typing import Any, NamedTuple

import msgspec

from argosy.agent.agent import Agent
from argosy.agent.planner import Started
from argosy.api.sessions import Session, Sessions
from argosy.errors import Indeterminate, Temporary
from argosy.model.assignment import Assignment
from argosy.model.ids import UnitName
from argosy.model.link import Delivery
from argosy.settings import EngineSettings, PresenceSettings
from argosy.store import base, keys
from argosy.testing.cluster import Shape, Story
from argosy.testing.explore import survive
from argosy.testing.members import Parts
from argosy.testing.store import FaultyStore
from scenarios.stories import (
    full_disks,
    leader_stands_still_at_work,
    many_vanish,
    partitions,
)

FOUR_MACHINES: list[dict[str, str]] = [{"disk": "ssd"}, {"disk": "hdd"}, {}, {}]


class StopsWhenCutOff(Agent):
    """Absence treated as a command: no stream of assignments counts as an assignment to run nothing."""

    async def _read_stream(self) -> None:
        try:
            await super()._read_stream()
        except Temporary:
            held = self._delivery
            if held is not None:
                nothing = Assignment(machine=self._machine.id)
                revision = held.revision + 1
                self._accept(msgspec.structs.replace(held, revision=revision, assignment=nothing))
            raise


class TakesAnyAssignment(Agent):
    """Accepts an assignment that is older than the one it has."""

    def _accept(self, delivery: Delivery) -> None:
        self._delivery = None
        super()._accept(delivery)


class BouncesOnStart(Agent):
    """Forgets, when it starts, what it has started before."""

    def __init__(self, *args: Any, **others: Any) -> None:
        super().__init__(*args, **others)
        self._started = {
            UnitName(name): Started(version=started.version, generation=-1)
            for name, started in self._started.items()
        }


class ObeysItsDisk(Agent):
    """Takes for the newest assignment what its disk has, though the disk may have been full."""

    def __init__(self, *args: Any, **others: Any) -> None:
        super().__init__(*args, **others)
        self._has_heard = True


class NeverArms(Agent):
    """Leaves it to itself to stop in time what must not run twice."""

    async def _arm(self, names: Iterable[UnitName]) -> None:
        return


class StartsUnasked(Agent):
    """Starts what must not run twice by what its disk says, with no server in reach."""

    def _may_start(self, name: UnitName) -> bool:
        return True


class VouchesBlindly(Sessions):
    """Answers machines whether its own lease still lives or not."""

    def vouch(self, session: Session) -> None:
        return


class RetriesBlindly(FaultyStore):
    """Sends a transaction again when it got no answer."""

    async def txn(
        self,
        compares: Sequence[base.Compare],
        success: Sequence[base.Op],
        failure: Sequence[base.Op] = (),
    ) -> base.TxnResult:
        try:
            return await super().txn(compares, success, failure)
        except Indeterminate:
            return await super().txn(compares, success, failure)


class WatchesFromNow(FaultyStore):
    """Watches from the present instead of from the revision that was read."""

    def watch(
        self,
        start: str,
        end: str | None = None,
        *,
        start_revision: int = 0,
        with_previous: bool = True,
    ) -> AbstractAsyncContextManager[AsyncIterator[base.WatchBatch]]:
        return super().watch(start, end)


class CommitsUnguarded(FaultyStore):
    """Writes without asking whether this engine still leads."""

    async def txn(
        self,
        compares: Sequence[base.Compare],
        success: Sequence[base.Op],
        failure: Sequence[base.Op] = (),
    ) -> base.TxnResult:
        is_election = base.absent(keys.LEADER) in compares
        kept = [one for one in compares if is_election or one.key != keys.LEADER]
        return await super().txn(kept, success, failure)


def impatient() -> EngineSettings:
    """Believes in a machine's loss at once after a change of leader."""
    return EngineSettings(presence=PresenceSettings(patience=timedelta()))


def brakeless() -> EngineSettings:
    """Believes in the loss of any number of machines at once."""
    return EngineSettings(presence=PresenceSettings(brake_share=1.0))


def shape(**parts: Any) -> Shape:
    """Four machines, two servers, and what is broken."""
    return Shape(machines=FOUR_MACHINES, servers=2, parts=Parts(**parts))


class Mutant(NamedTuple):
    """A bug, a story that meets it, and the invariants of which one has to notice."""

    shape: Shape
    noticed_by: tuple[str, ...]
    story: Story[None] = survive


SOUND = shape()
MUTANTS = {
    "absence treated as a command": Mutant(shape(agent=StopsWhenCutOff), ("S6", "S4")),
    "an older assignment accepted": Mutant(shape(agent=TakesAnyAssignment), ("S4",)),
    "units bounced by the agent's restart": Mutant(shape(agent=BouncesOnStart), ("S6",)),
    "a transaction blindly sent again": Mutant(shape(client=RetriesBlindly), ("S11",)),
    "a watch that resumes at the wrong revision": Mutant(shape(client=WatchesFromNow), ("after",)),
    "commits without the leader's guard": Mutant(
        shape(client=CommitsUnguarded), ("S3",), leader_stands_still_at_work
    ),
    "no patience after a change of leader": Mutant(replace(SOUND, engine=impatient()), ("P2",)),
    "no brake when many machines vanish": Mutant(
        replace(SOUND, engine=brakeless()), ("L5",), many_vanish
    ),
    "an older assignment obeyed after a full disk": Mutant(
        shape(agent=ObeysItsDisk), ("S4",), full_disks
    ),
    "nothing that ends what is cut off": Mutant(shape(agent=NeverArms), ("S1",), partitions),
    "a start without a server's word": Mutant(shape(agent=StartsUnasked), ("S1",), partitions),
    "a server that vouches without a lease": Mutant(
        shape(sessions=VouchesBlindly), ("S1",), partitions
    ),
}
