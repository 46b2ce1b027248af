"""What people ask a machine through a server, and how the machine's agent answers: output, its journal, a command, facts.

Agents connect to servers and never the other way round, so a server cannot call a machine: it hands a question to the
stream that the machine's agent keeps open, and the agent sends parts of an answer until it is complete or nobody wants it
any more.

Neighbouring versions: a question has exactly one of its subjects; an agent that finds none of those it knows says that
it is too old for it.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from argosy.model.ids import UnitName


class ReadLogs(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Output of units, as `Runtime.logs` gives it."""

    names: tuple[UnitName, ...] = ()
    patterns: tuple[str, ...] = ()
    """Globs: units of the machine that match, and with `follow` those that come to be there and match."""
    lines: int = 100
    follow: bool = False
    after: str = ""


class ReadJournal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The machine's own journal (journalctl(1))."""

    unit: str = ""
    """Any unit of the machine, also one that Argosy has nothing to do with; empty for all."""
    lines: int = 100
    follow: bool = False
    after: str = ""
    """A cursor: everything behind it, instead of the last `lines`."""
    since: datetime | None = None
    priority: str = ""
    """This severity and worse: `emerg` ... `debug`, or 0 to 7; empty for all."""


class Exec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Run a command as the agent's user. Never through a shell."""

    argv: tuple[str, ...]
    has_terminal: bool = False
    """Give it a terminal of its own; its standard error is then part of its output."""
    rows: int = 24
    columns: int = 80
    term: str = ""
    """Kind of terminal, for $TERM."""


class AskFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the machine is."""


class Question(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One question, or with `is_over` the word that nobody wants its answer any more."""

    id: str
    """32 hex digits, random."""
    by: str = ""
    """Who asks, for the machine's own log."""
    is_over: bool = False
    logs: ReadLogs | None = None
    journal: ReadJournal | None = None
    exec: Exec | None = None
    facts: AskFacts | None = None


class Input(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a person sends to a command while it runs."""

    data: bytes = b""
    is_end: bool = False
    """Nothing more will come."""
    rows: int = 0
    """The new size of the person's terminal; 0 when it is as before."""
    columns: int = 0


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of output or of the journal; the fields of `runtime.base.LogLine`."""

    at: datetime
    unit: str
    text: str
    stream: str = "stdout"
    cursor: str = ""


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why there is no answer, or no more of it."""

    kind: str
    """Name of a class of `errors.py`."""
    message: str
    hint: str = ""


class Disk(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file system that matters to Argosy."""

    path: str
    total_bytes: int
    free_bytes: int
    free_inodes_share: float = 1.0


class Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a machine is, as its agent sees it."""

    at: datetime
    """The machine's clock when it answered."""
    version: str = ""
    runtime: str = ""
    """`systemd` or `process`."""
    kernel: str = ""
    booted_at: datetime | None = None
    load: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Of the last 1, 5 and 15 minutes."""
    memory_total_bytes: int = 0
    memory_available_bytes: int = 0
    disks: tuple[Disk, ...] = ()
    certificate_expires: datetime | None = None
    is_exec_allowed: bool = True


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A part of an answer. One without anything is a sign of life, and the first: the agent has taken the question."""

    lines: tuple[Line, ...] = ()
    out: bytes = b""
    """What a command wrote to standard output, or to its terminal."""
    err: bytes = b""
    exit_code: int | None = None
    """How the command ended: its own code, or 128 and the number of the signal, as shells have it."""
    signal: str = ""
    """`SIGKILL`, when a signal ended it."""
    facts: Facts | None = None
    problem: Problem | None = None

    @property
    def size(self) -> int:
        """About how much memory it takes."""
        return 64 + len(self.out) + len(self.err) + sum(len(one.text) + 160 for one in self.lines)


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A batch of parts, in order."""

    parts: tuple[Part, ...] = ()
    is_last: bool = False
    """The answer is complete."""
