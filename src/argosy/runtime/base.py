"""The contract of a runtime: what an agent asks of the thing that runs units on its machine.

Words and states are systemd's, because the first real implementation is systemd and the other (`process/`) behaves like
it. A runtime owns the units it installed and touches no other. Units outlive the runtime object and the process that
holds it: `close` lets go, `open` finds again what runs. Stopping is always somebody's explicit call.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from argosy.errors import RuntimeRefused
from argosy.model.ids import Digest, UnitName
from argosy.model.observed import UnitStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnableUnit:
    """A unit to install."""

    name: UnitName
    digest: Digest
    text: bytes
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables added before those of the text, as by a drop-in; the text's own win."""
    stop_within: float | None = None
    """Of a unit that is armed (`Runtime.arm`): seconds that stopping it may take, whatever its text says; what is left of
    it is killed then."""


class JobResult(enum.StrEnum):
    """How a job ended: the values of systemd's JobRemoved signal."""

    DONE = "done"
    FAILED = "failed"
    DEPENDENCY = "dependency"
    """Something it requires failed, so it was not tried."""
    TIMEOUT = "timeout"
    CANCELED = "canceled"
    """A later job for the unit took its place."""
    SKIPPED = "skipped"
    """The unit's type has no such operation (reload without ExecReload)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of a unit's output."""

    at: datetime
    unit: UnitName
    text: str
    """Without its newline; invalid UTF-8 is shown as backslash escapes, control characters are kept."""
    stream: str = "stdout"
    """`stdout`, `stderr`, or `argosy` for what the runtime itself has to say about the unit."""
    cursor: str = ""
    """Opaque place of the line; a later call can go on after it."""


class Runtime(Protocol):
    """Runs units. Calls for different units do not wait for each other, except where the units' own ordering says so.

    All methods raise RuntimeBusy when the call cannot be taken now, RuntimeRefused when it never will.
    """

    async def open(self) -> None:
        """Make ready and find the units that this runtime installed before; they keep running through it."""
        ...

    async def close(self) -> None:
        """Let go. Nothing stops."""
        ...

    def statuses(self) -> Mapping[UnitName, UnitStatus]:
        """Every unit that this runtime has, as last heard of. No I/O. A unit whose text
        cannot be loaded is in it with `load` other than `loaded`.
        """
        ...

    def changes(self) -> AbstractAsyncContextManager[AsyncIterator[frozenset[UnitName]]]:
        """The names whose status changed (or went away) since the last item; coalesced, so a slow reader misses nothing.
        Registered when entered; the first item has every unit.
        """
        ...

    async def install(self, units: Sequence[RunnableUnit]) -> Mapping[UnitName, RuntimeRefused]:
        """Put the units' files in place, replacing older texts, with one reload for all. Starts and stops nothing: a
        running unit keeps running with its old text until it is started again.

        Returns the units that could not be installed, with the error; the others are installed.
        """
        ...

    async def remove(self, names: Collection[UnitName]) -> None:
        """Take the units' files away and forget them. Units not there are ignored. Units must be stopped: one that is
        not is stopped first, to the end.
        """
        ...

    async def start(self, names: Sequence[UnitName]) -> Mapping[UnitName, JobResult]:
        """Start units, as one transaction: After= and Before= order them, Requires=, Wants=, BindsTo= pull others in.

        Returns when each named unit's job ended (for Type=notify: when it said it is ready). A unit that is active
        is DONE at once. Units without order between them start side by side.
        """
        ...

    async def stop(self, names: Sequence[UnitName]) -> Mapping[UnitName, JobResult]:
        """Stop units, in the reverse of their order, with those that require or are bound to them. Returns when
        ExecStopPost has run and no descendant of theirs is left. A unit that is not active is DONE at once.
        """
        ...

    async def restart(self, names: Sequence[UnitName]) -> Mapping[UnitName, JobResult]:
        """Stop, then start, as one transaction. A unit that is not active is started."""
        ...

    async def reload(self, names: Sequence[UnitName]) -> Mapping[UnitName, JobResult]:
        """Run ExecReload."""
        ...

    async def arm(self, names: Collection[UnitName], *, within: float) -> None:
        """Have these units stopped `within` seconds from now, unless they are armed again before.

        What waits for it needs neither this object nor its process: it holds when the agent is killed, or stands still.
        A unit that does not run keeps it for its next start. It is taken back by installing another text or by removing
        the unit; names that the runtime does not have are ignored. Units stopped by it say so (`UnitStatus.cut_off`).
        """
        ...

    def logs(
        self,
        names: Collection[UnitName],
        *,
        lines: int = 100,
        follow: bool = False,
        after: str = "",
    ) -> AsyncGenerator[LogLine, None]:
        """Lines of these units, merged by time, oldest first: the last `lines` of them, or all since the cursor `after`.
        With `follow` it goes on with new lines for ever. A unit that was removed or replaced keeps its older lines
        until the space is needed. Names never seen give nothing. Whoever leaves before its end closes it (`aclosing`).
        """
        ...
