"""A cluster's records as one file: lines of JSON that `less` shows, refused unless every byte is as it was written.

    {"format": "argosy backup", "version": 1, "cluster": {...}, "revision": 812, "created_at": "..."}
    {"key": "units/web.service", "value": "eyJ...", "sha256": "..."}        one for each record, in order of their keys
    {"records": 1, "sha256": "..."}                                          of every byte before this line

The last line is also what a file that was cut lacks. Which records there are is `transfer.py`'s subject.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from argosy.errors import StoreRefused
from argosy.model.cluster import Cluster
from argosy.store.base import Store
from argosy.store.transfer import Contents, Progress, Record, raised, read, unheeded, write

FORMAT = "argosy backup"
VERSION = 1


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """First line: of what the file is a backup."""

    format: str
    version: int
    cluster: Cluster
    revision: int
    """Of the store at which everything was read."""
    created_at: datetime


class _Line(msgspec.Struct, frozen=True):
    key: str
    value: bytes
    sha256: str
    """Of the key, a NUL and the value: says which record is damaged."""


class _Trailer(msgspec.Struct, frozen=True):
    records: int
    sha256: str


async def write_backup(store: Store, path: Path) -> Header:
    """Write the store's records, at one revision, to the file, for its owner alone. A file of that name is replaced.

    The file is there whole and on disk, or not at all. Raises OSError, and what `transfer.read` raises.
    """
    header, lines = await _backup(store)
    replace_file(path, lines)
    return header


async def backup_bytes(store: Store) -> bytes:
    """What `write_backup` writes. Raises what `transfer.read` raises."""
    _, lines = await _backup(store)
    return b"".join(lines)


def read_backup(path: Path) -> tuple[Header, Contents]:
    """What the file has, after all of it was checked. Raises StoreRefused, with the place, and OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor is no path
        return _checked(file.read(), str(path))


async def restore_backup(path: Path, store: Store, *, progress: Progress = unheeded) -> Cluster:
    """Put what the file has into an empty store, as the cluster's next epoch; returns the cluster's record.

    The epoch says to every machine that what comes now is newer than what it holds, although revisions start over.
    Nothing is written unless all of the file is sound. Raises as `read_backup` and `transfer.write`.
    """
    _, contents = read_backup(path)
    cluster = raised(contents.cluster, now=datetime.now(UTC))
    cluster = msgspec.structs.replace(cluster, restored=cluster.epoch)
    await write(store, contents._replace(cluster=cluster), progress=progress)
    return cluster


async def _backup(store: Store) -> tuple[Header, Iterator[bytes]]:
    contents = await read(store)
    header = Header(
        format=FORMAT,
        version=VERSION,
        cluster=contents.cluster,
        revision=contents.revision,
        created_at=datetime.now(UTC),
    )
    return header, _lines(header, contents.records)


def _lines(header: Header, records: tuple[Record, ...]) -> Iterator[bytes]:
    whole = hashlib.sha256()
    encoder = msgspec.json.Encoder()
    lines = (_Line(key, value, _digest(key, value)) for key, value in records)
    for item in (header, *lines):
        line = encoder.encode(item) + b"\n"
        whole.update(line)
        yield line
    yield encoder.encode(_Trailer(len(records), whole.hexdigest())) + b"\n"


def _digest(key: str, value: bytes) -> str:
    return hashlib.sha256(key.encode() + b"\0" + value).hexdigest()


def _checked(data: bytes, name: str) -> tuple[Header, Contents]:
    body, newline, last = data.removesuffix(b"\n").rpartition(b"\n")
    if not newline or not data.endswith(b"\n"):
        raise _damaged(name, "it is cut, or no backup at all")
    body += newline
    first, *lines = body.removesuffix(b"\n").split(b"\n")
    header = _header(first, name)
    records = tuple(_record(line, number, name) for number, line in enumerate(lines, 2))
    expected = _Trailer(len(records), hashlib.sha256(body).hexdigest())
    if last != msgspec.json.encode(expected):
        raise _damaged(
            name, "it was cut or altered: its last line does not fit the lines before it"
        )
    return header, Contents(header.cluster, header.revision, records)


def _header(line: bytes, name: str) -> Header:
    try:
        header = msgspec.json.decode(line, type=Header)
    except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
        raise _damaged(name, f"its first line is not that of a backup: {problem}") from problem
    if header.format != FORMAT:
        raise _damaged(name, f"its format is {header.format!r}")
    if header.version > VERSION:
        raise StoreRefused(
            f"{name} was written by a newer Argosy (version {header.version} of the format)",
            hint="restore it with that version",
        )
    return header


def _record(line: bytes, number: int, name: str) -> Record:
    try:
        record = msgspec.json.decode(line, type=_Line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
        raise _damaged(name, f"line {number} is no record: {problem}") from problem
    if record.sha256 != _digest(record.key, record.value):
        raise _damaged(name, f"line {number} ({record.key}) was altered")
    return Record(record.key, record.value)


def _damaged(name: str, why: str) -> StoreRefused:
    return StoreRefused(
        f"{name} is not a sound backup: {why}", hint="nothing was written; use another backup"
    )


def replace_file(path: Path, lines: Iterable[bytes]) -> None:
    """Write a file for its owner alone: to a new one beside it, sync, rename, sync the directory. Raises OSError."""
    descriptor, made = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor is no path
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        Path(made).replace(path)
    except BaseException:
        Path(made).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
