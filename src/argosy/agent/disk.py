"""What an agent keeps on its machine's disk: its last assignment, every text that it names, and what it has started.

With these a machine that reboots brings all its units back with no server in reach. Files are written whole, beside
their final place, made durable and renamed, so a crash leaves the old or the new one. A file that cannot be read is no
reason to run nothing else: it counts as missing and is asked for again; in the place of the assignment stands the one
before.

    assignment.json     Delivery: cluster, epoch, revision, assignment
    assignment.old      the one before
    started.json        name -> Started
    texts/DIGEST        exact text of a unit
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from argosy.agent.planner import Started
from argosy.model.ids import Digest, UnitName
from argosy.model.link import Delivery

T = TypeVar("T")


class Disk(Protocol):
    """What an agent remembers. Raises OSError when it cannot write; nothing is changed then."""

    def load(self) -> tuple[Delivery | None, dict[UnitName, Started]]:
        """What was saved last; None and an empty map when nothing (readable) was."""
        ...

    def save_assignment(self, delivery: Delivery) -> None: ...

    def save_started(self, started: Mapping[UnitName, Started]) -> None: ...

    def text(self, digest: Digest) -> bytes | None:
        """The text, None when it is not there or not what its digest says."""
        ...

    def save_text(self, digest: Digest, text: bytes) -> None: ...

    def keep_texts(self, digests: Collection[Digest]) -> None:
        """Forget all other texts."""
        ...


class DirectoryDisk:
    """A Disk in a directory of its own, which it makes (0700)."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._texts = directory / "texts"
        self._texts.mkdir(mode=0o700, parents=True, exist_ok=True)

    def load(self) -> tuple[Delivery | None, dict[UnitName, Started]]:
        delivery = _read(self._directory / "assignment.json", Delivery)
        delivery = delivery or _read(self._directory / "assignment.old", Delivery)
        started = _read(self._directory / "started.json", dict[UnitName, Started])
        return delivery, started or {}

    def save_assignment(self, delivery: Delivery) -> None:
        path = self._directory / "assignment.json"
        _write(path, msgspec.json.encode(delivery), old=self._directory / "assignment.old")

    def save_started(self, started: Mapping[UnitName, Started]) -> None:
        _write(self._directory / "started.json", msgspec.json.encode(started))

    def text(self, digest: Digest) -> bytes | None:
        try:
            text = (self._texts / digest).read_bytes()
        except OSError:
            return None
        return text if hashlib.sha256(text).hexdigest() == digest else None

    def save_text(self, digest: Digest, text: bytes) -> None:
        _write(self._texts / digest, text)

    def keep_texts(self, digests: Collection[Digest]) -> None:
        for path in self._texts.iterdir():
            if path.name not in digests:
                path.unlink(missing_ok=True)


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError):
        return None


def _write(path: Path, content: bytes, *, old: Path | None = None) -> None:
    """old: where what is replaced is kept."""
    beside = path.with_name(f".{path.name}.new")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fdatasync(file.fileno())
    if old is not None and _read(path, Delivery) is not None:
        path.replace(old)
    beside.replace(path)
