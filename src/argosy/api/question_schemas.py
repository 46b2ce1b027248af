"""What travels about machines that are asked something: commands, journals, facts.

Bytes are base64 in JSON. When something goes wrong on the way, the last line of a stream is a `problem`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from argosy.api.schemas import Answer, Request

Side = Annotated[int, Meta(ge=0, le=10_000)]
Word = Annotated[str, Meta(max_length=128 * 1024, description="Without NUL.")]


class ExecRequest(Request, frozen=True):
    argv: Annotated[tuple[Word, ...], Meta(min_length=1, max_length=10_000)]
    """A program and its arguments; no shell is in between."""
    terminal: bool = False
    """Run it on a terminal of its own: then its standard error is part of its output."""
    rows: Side = 24
    columns: Side = 80
    term: Annotated[str, Meta(pattern=r"^[0-9A-Za-z._+-]{0,64}$(?!\n)")] = ""
    """Its $TERM."""


class InputRequest(Request, frozen=True):
    data: Annotated[bytes, Meta(max_length=256 * 1024)] = b""
    end: bool = False
    """Nothing more will come."""
    rows: Side = 0
    """New size of the terminal; 0 when it is as before."""
    columns: Side = 0


class ProblemView(Answer, frozen=True):
    kind: str
    """Name of a class of `errors.py`."""
    message: str
    hint: str


class ExecLine(Answer, frozen=True, omit_defaults=True):
    """A line of a command's stream; what it does not have is left out. The first has the `id`, the last `exit_code`."""

    id: str = ""
    """Input goes to `/v1/machines/MACHINE/exec/ID/input`."""
    out: bytes = b""
    err: bytes = b""
    exit_code: int | None = None
    """The command's own, or 128 and the number of the signal that ended it."""
    signal: str = ""
    """`SIGKILL`, when one ended it."""
    problem: ProblemView | None = None


class JournalQuery(Request, frozen=True):
    unit: Annotated[str, Meta(max_length=255, pattern=r"^[^\x00-\x20\x7f]*$(?!\n)")] = ""
    """Any unit of the machine, also one that the cluster knows nothing of."""
    lines: Annotated[int, Meta(ge=0, le=100_000)] = 100
    follow: bool = False
    after: Annotated[str, Meta(max_length=1024, pattern=r"^[\x21-\x7e]*$(?!\n)")] = ""
    since: datetime | None = None
    priority: Annotated[str, Meta(max_length=16)] = ""
    """This severity and worse: `emerg` ... `debug`, or 0 to 7."""


class JournalLine(Answer, frozen=True, omit_defaults=True):
    """An entry of a machine's journal, or the problem that ends the stream."""

    at: datetime | None = None
    unit: str = ""
    priority: str = ""
    text: str = ""
    cursor: str = ""
    """Give it back as `after` to go on behind this line."""
    problem: ProblemView | None = None


class DiskView(Answer, frozen=True):
    path: str
    total_bytes: int
    free_bytes: int
    free_inodes_share: float


class FactsView(Answer, frozen=True):
    """How a machine is, as its agent says at this moment."""

    machine: str
    at: datetime
    """The machine's clock."""
    clock_ahead_seconds: float
    """How far that is ahead of this server's, give or take the time that the answer took."""
    version: str
    runtime: str
    kernel: str
    booted_at: datetime | None
    load: tuple[float, float, float]
    """Of the last 1, 5 and 15 minutes."""
    memory_total_bytes: int
    memory_available_bytes: int
    disks: tuple[DiskView, ...]
    certificate_expires: datetime | None
    is_exec_allowed: bool = msgspec.field(name="exec")
