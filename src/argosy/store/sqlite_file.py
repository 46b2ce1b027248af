"""The SQLite file under `sqlite.py`: layout, opening with every check, and the commit. Blocking; one thread at a time.

The file is a journal of changes, not a mirror of keys: a commit only appends rows, everything is read once, at opening.
A new store is made under another name and renamed when it is complete, so a file that is there is never taken for a new
store, whatever has happened to it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import stat
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from argosy.errors import ArgosyError, Indeterminate, StoreFull, StoreRefused, StoreUnavailable
from argosy.store.base import KeyValue, WatchBatch
from argosy.store.index import Index, Unpublished

APPLICATION_ID = 0x4152_4753
"""`ARGS` at offset 68 of the file: how `file` and we tell our stores from other people's databases."""
LAYOUT = 1
"""Kept as SQLite's user_version. A higher one is refused: an older argosy must not write into a newer one's file."""
RESERVE_BYTES = 4 << 20
"""Disk space kept aside, so that deletions still work when the disk is full."""
VACUUM_PAGES = 256
"""How many free pages go back to the file system with each commit while the disk is full."""
BUSY_SECONDS = 1.0
"""How long another program may hold the file at opening; our own servers are kept apart by the lock."""
POSITION_BITS = 20
"""A row's id is its revision and its position in that revision: order, uniqueness and lookup without another index."""

_SCHEMA = """
CREATE TABLE changes (
    id INTEGER PRIMARY KEY,           -- revision * 2^20 + position within the transaction
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    create_revision INTEGER NOT NULL,
    version INTEGER NOT NULL,         -- 0: the key was deleted
    lease INTEGER NOT NULL,           -- 0: none
    checksum INTEGER NOT NULL         -- CRC-32 of all of the above
);
CREATE TABLE leases (id INTEGER PRIMARY KEY, ttl_seconds INTEGER NOT NULL);
CREATE TABLE facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO facts VALUES ('compacted_revision', 0), ('last_lease', 0);
"""

_Row = tuple[int, str, bytes, int, int, int, int]


class Work(NamedTuple):
    """What one commit writes down."""

    decided: Unpublished
    dropped: Sequence[tuple[int, str]]
    """(revision, key) of versions that compaction forgot."""
    compacted_revision: int


class StoreFile:
    """An open store file. Made by `open_store`."""

    def __init__(self, path: Path, db: sqlite3.Connection, *, compacted_revision: int) -> None:
        self.compacted_revision = compacted_revision
        """What the file says; the index may be ahead of it until the next commit."""
        self._path = path
        self._db = db
        self._reserve = beside(path, ".reserve")
        self._has_reserve = False
        self.restore_reserve()

    def commit(self, work: Work, *, sparing: bool = False) -> None:
        """Write all of it down, durably, or nothing.

        sparing: the disk is full and the work makes room: use the space kept aside.
        Raises StoreFull or StoreUnavailable when nothing was written, Indeterminate when nobody can tell.
        """
        if sparing and self._has_reserve:
            self._reserve.unlink(missing_ok=True)
            self._has_reserve = False
        committing = False
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._write(work)
            committing = True
            self._db.execute("COMMIT")
        except Exception as problem:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            if isinstance(problem, sqlite3.Error):
                raise self._failed(problem, committing=committing) from problem
            raise
        self.compacted_revision = work.compacted_revision
        if sparing:
            self._give_space_back()

    def _write(self, work: Work) -> None:
        decided = work.decided
        rows = [row for batch in decided.batches for row in _rows(batch)]
        self._db.executemany("INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        if decided.granted:
            self._db.executemany("INSERT INTO leases VALUES (?, ?)", decided.granted)
            self._set_fact("last_lease", decided.granted[-1].id)
        if decided.ended:
            ended = [(lease_id,) for lease_id in decided.ended]
            self._db.executemany("DELETE FROM leases WHERE id = ?", ended)
        if work.dropped:
            self._db.executemany(
                "DELETE FROM changes WHERE id >= ? AND id < ? AND key = ?",
                [
                    (revision << POSITION_BITS, (revision + 1) << POSITION_BITS, key)
                    for revision, key in work.dropped
                ],
            )
        if work.compacted_revision != self.compacted_revision:
            self._set_fact("compacted_revision", work.compacted_revision)

    def _set_fact(self, name: str, value: int) -> None:
        self._db.execute("UPDATE facts SET value = ? WHERE name = ?", (value, name))

    def _failed(self, problem: sqlite3.Error, *, committing: bool) -> ArgosyError:
        """What a failed commit means. The proof that a full disk wrote nothing is in docs/design/store.md."""
        if _primary_code(problem) == sqlite3.SQLITE_FULL:
            return StoreFull(
                f"no space left on the disk of the store {self._path}; nothing was written",
                hint=f"df -h {self._path.parent}",
            )
        if not committing:
            return StoreUnavailable(
                f"the store {self._path} cannot be written: {problem}; nothing was written",
                hint="dmesg | tail",
            )
        return Indeterminate(
            f"the disk of the store {self._path} failed during a commit: {problem}",
            hint="dmesg | tail",
        )

    def _give_space_back(self) -> None:
        """Let the next deletions have the space this one freed. What fails here fails no promise."""
        with contextlib.suppress(sqlite3.Error):
            self._db.execute(f"PRAGMA incremental_vacuum({VACUUM_PAGES})").fetchall()
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def restore_reserve(self) -> bool:
        """Keep space aside again after it was used. Returns whether it is there now."""
        try:
            fd = os.open(
                self._reserve, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
        except OSError:
            return False
        try:
            os.posix_fallocate(fd, 0, RESERVE_BYTES)
        except OSError:
            self._reserve.unlink(missing_ok=True)
            self._has_reserve = False
        else:
            self._has_reserve = True
        finally:
            os.close(fd)
        return self._has_reserve

    def bytes_used(self) -> int:
        """Size of the file and its log on disk."""
        used = 0
        for path in (self._path, beside(self._path, "-wal")):
            with contextlib.suppress(FileNotFoundError):
                used += path.stat().st_size
        return used

    def close(self) -> None:
        """SQLite moves its log into the file and removes it; errors there lose nothing, the log is read next time."""
        with contextlib.suppress(sqlite3.Error):
            self._db.close()


def open_store(path: Path) -> tuple[StoreFile, Index, list[tuple[int, str]]]:
    """Open the store at `path`, or make a new one when there is no file at all; needs the lock.

    Returns the file, everything in it, and versions that may be dropped.
    Raises StoreRefused when the file is not ours, damaged, from a newer version or not writable; StoreFull when there is
    no space to make a new one.
    """
    if not os.path.lexists(path):
        _create(path)
    _check_header(path)
    try:
        db = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            _configure(db)
            index, leftovers = _load(db)
            file = StoreFile(path, db, compacted_revision=index.compacted_revision)
            return file, index, leftovers
        except BaseException:
            db.close()
            raise
    except sqlite3.Error as problem:
        if _primary_code(problem) == sqlite3.SQLITE_BUSY:
            raise StoreRefused(
                f"the store {path} is open in another program", hint=f"fuser -v {path}"
            ) from problem
        raise _damaged(path, str(problem)) from problem
    except StoreRefused as problem:
        raise _damaged(path, problem.message) from problem


def _create(path: Path) -> None:
    log = beside(path, "-wal")
    if log.exists() and log.stat().st_size:
        raise StoreRefused(
            f"the store {path} is gone but its log {log.name} is there: not making a new store over it",
            hint=f"put {path.name} back beside {log.name}, or move {log.name} away",
        )
    new = beside(path, ".new")
    for leftover in (new, beside(new, "-journal"), beside(new, "-wal"), log):
        leftover.unlink(missing_ok=True)
    try:
        os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        with contextlib.closing(sqlite3.connect(new, isolation_level=None)) as db:
            db.execute("PRAGMA synchronous = EXTRA")
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            marks = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {LAYOUT};"
            db.executescript(f"BEGIN; {marks} {_SCHEMA} COMMIT;")
            db.execute("PRAGMA journal_mode = WAL").fetchall()
        new.rename(path)
        _sync_directory(path.parent)
    except (OSError, sqlite3.Error) as problem:
        new.unlink(missing_ok=True)
        full = getattr(problem, "errno", None) == errno.ENOSPC or (
            isinstance(problem, sqlite3.Error) and _primary_code(problem) == sqlite3.SQLITE_FULL
        )
        kind = StoreFull if full else StoreRefused
        raise kind(
            f"cannot make a new store at {path}: {problem}", hint=f"df -h {path.parent}"
        ) from problem


def _check_header(path: Path) -> None:
    """Look at the file before SQLite does, which would replay a stranger's log into a stranger's database."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as problem:
        reason = "it is a link" if problem.errno == errno.ELOOP else str(problem.strerror)
        raise StoreRefused(
            f"cannot open the store {path}: {reason}", hint=f"ls -l {path}"
        ) from problem
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise StoreRefused(
                f"cannot open the store {path}: it is no regular file", hint=f"ls -l {path}"
            )
        header = os.pread(fd, 100, 0)
    finally:
        os.close(fd)
    if len(header) < 100:
        raise _damaged(path, f"it has only {len(header)} bytes")
    application_id = int.from_bytes(header[68:72], "big")
    layout = int.from_bytes(header[60:64], "big")
    if not header.startswith(b"SQLite format 3\0") or application_id != APPLICATION_ID:
        raise StoreRefused(
            f"{path} is not an Argosy store; it was left as it is", hint=f"file {path}"
        )
    if layout > LAYOUT:
        raise StoreRefused(
            f"the store {path} has layout {layout}, made by a newer argosy; this one knows layouts up to {LAYOUT}",
            hint="argosy version",
        )


def _configure(db: sqlite3.Connection) -> None:
    """Durable at each commit; nobody else in the file, which also spares SQLite its shared-memory file."""
    db.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
    [(mode,)] = db.execute("PRAGMA journal_mode = WAL").fetchall()
    if mode != "wal":
        raise StoreRefused(f"SQLite cannot keep a write-ahead log here (journal mode {mode})")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA trusted_schema = OFF")


def _load(db: sqlite3.Connection) -> tuple[Index, list[tuple[int, str]]]:
    [(verdict,)] = db.execute("PRAGMA quick_check(1)").fetchall()
    if verdict != "ok":
        raise StoreRefused(verdict)
    facts = dict(db.execute("SELECT name, value FROM facts"))
    if facts.keys() != {"compacted_revision", "last_lease"}:
        raise StoreRefused("its table of facts is incomplete")
    return Index.restored(
        _changes(db),
        compacted_revision=facts["compacted_revision"],
        leases=dict(db.execute("SELECT id, ttl_seconds FROM leases")),
        last_lease=facts["last_lease"],
    )


def _changes(db: sqlite3.Connection) -> Iterator[KeyValue]:
    rows: Iterator[_Row] = db.execute("SELECT * FROM changes ORDER BY id")
    for row_id, key, value, create_revision, version, lease, checksum in rows:
        kv = KeyValue(key, value, create_revision, row_id >> POSITION_BITS, version, lease)
        if checksum != _checksum(row_id, kv):
            raise StoreRefused(f"the checksum of {key!r} at revision {kv.mod_revision} is wrong")
        yield kv


def _rows(batch: WatchBatch) -> Iterator[_Row]:
    first = batch.revision << POSITION_BITS
    for row_id, event in enumerate(batch.events, first):
        kv = event.kv
        checksum = _checksum(row_id, kv)
        yield row_id, kv.key, kv.value, kv.create_revision, kv.version, kv.lease, checksum


def _checksum(row_id: int, kv: KeyValue) -> int:
    head = f"{row_id} {kv.create_revision} {kv.version} {kv.lease} {kv.key}\n"
    return zlib.crc32(kv.value, zlib.crc32(head.encode()))


def _damaged(path: Path, how: str) -> StoreRefused:
    return StoreRefused(
        f"the store {path} is damaged: {how}; it was left as it is",
        hint=f"restore {path} from a backup, or move it and {path.name}-wal away to start empty",
    )


def _primary_code(problem: sqlite3.Error) -> int:
    return int(getattr(problem, "sqlite_errorcode", 0)) & 0xFF


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def beside(path: Path, suffix: str) -> Path:
    """The file next to the store's, `state.db.lock` for `state.db`."""
    return path.with_name(path.name + suffix)
