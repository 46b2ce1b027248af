"""Files that are no store of ours, or not usable: refused with the reason, and left exactly as they were."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from argosy.errors import StoreRefused
from argosy.store.base import Put
from argosy.store.sqlite import SqliteStore


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A closed store with some content, of several pages."""
    path = tmp_path / "store" / "state.db"
    store = await SqliteStore.open(path)
    puts = [store.txn([], [Put(f"units/{i}", b"x" * 500)]) for i in range(200)]
    await asyncio.gather(*puts)
    await store.close()
    return path


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


async def refusal(path: Path) -> StoreRefused:
    """What opening says; the file must be the same afterwards."""
    before = content(path)
    with pytest.raises(StoreRefused) as refused:
        await SqliteStore.open(path)
    assert content(path) == before
    assert refused.value.hint
    assert str(path.parent) in refused.value.message
    return refused.value


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def _foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE theirs (x)")
    db.close()


def _newer(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()


def _without_a_revision(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("DELETE FROM changes WHERE id >> 20 = 100")
    db.commit()
    db.close()


def _with_an_altered_value(path: Path) -> None:
    image = path.read_bytes()
    overwrite(path, image.index(b"x" * 500) + 250, b"y")


def _linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def _replaced_by(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        path.unlink()
        make(path)

    return spoil


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: os.truncate(path, 0), "damaged: it has only 0 bytes"),
    "cut in its header": (lambda path: os.truncate(path, 60), "damaged: it has only 60 bytes"),
    "cut in the middle": (lambda path: os.truncate(path, path.stat().st_size // 2), "damaged"),
    "cut to a page": (lambda path: os.truncate(path, 4096), "damaged"),
    "overwritten in the middle": (
        lambda path: overwrite(path, 3 * 4096, b"\xa5" * 4096),
        "damaged",
    ),
    "altered in one value": (_with_an_altered_value, "damaged: the checksum of 'units/"),
    "missing a revision": (_without_a_revision, "damaged: revision 100 is missing"),
    "text": (lambda path: path.write_text("hello " * 100), "is not an Argosy store"),
    "random bytes": (lambda path: path.write_bytes(os.urandom(8192)), "is not an Argosy store"),
    "another program's database": (_foreign, "is not an Argosy store"),
    "of a newer version": (_newer, "layout 99, made by a newer argosy"),
    "a directory": (_replaced_by(Path.mkdir), "Is a directory"),
    "a named pipe": (_replaced_by(os.mkfifo), "it is no regular file"),
    "a link": (_linked, "it is a link"),
    "a dangling link": (_replaced_by(lambda path: path.symlink_to("nowhere")), "it is a link"),
}


@pytest.mark.parametrize("spoiled", SPOILED)
async def test_a_file_that_cannot_be_trusted_is_refused_and_left_alone(
    path: Path, spoiled: str
) -> None:
    spoil, words = SPOILED[spoiled]
    spoil(path)
    assert words in (await refusal(path)).message


async def test_a_log_without_its_store_is_not_taken_for_a_new_store(path: Path) -> None:
    shutil.move(path, path.with_name("moved"))
    path.with_name("state.db-wal").write_bytes(b"x" * 5000)
    assert "is gone but its log state.db-wal is there" in (await refusal(path)).message
    assert content(path) is None and content(path.with_name("state.db-wal")) == b"x" * 5000


async def test_a_store_that_was_never_finished_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "state.db.new").write_bytes(b"SQLite format 3\0, cut by a power failure")
    store = await SqliteStore.open(tmp_path / "state.db")
    assert (await store.status()).keys == 0
    await store.close()
    assert not (tmp_path / "state.db.new").exists()


async def test_a_second_server_is_refused_and_told_who_the_first_is(path: Path) -> None:
    first = await SqliteStore.open(path)
    said = await refusal(path)
    assert said.message == f"the store {path} is in use by process {os.getpid()}"
    await first.txn([], [Put("still", b"works")])
    await first.close()
    second = await SqliteStore.open(path)
    assert (await second.range("still")).kvs
    await second.close()


async def test_a_store_open_in_another_program_is_refused(path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        assert "is open in another program" in (await refusal(path)).message
    finally:
        other.close()


async def test_nobody_else_may_read_the_store(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        store = await SqliteStore.open(tmp_path / "new" / "state.db")
        await store.txn([], [Put("a", b"secret")])
        files = list((tmp_path / "new").iterdir())
    finally:
        os.umask(old)
    assert len(files) >= 3
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    await store.close()


@pytest.fixture
def read_only(path: Path) -> Iterator[Path]:
    """The store's directory, not writable; for root only a read-only mount is that."""
    directory = path.parent
    if os.geteuid():
        directory.chmod(0o500)
        yield path
        directory.chmod(0o700)
        return
    subprocess.run(["mount", "--bind", directory, directory], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", directory], check=True)
        yield path
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


async def test_a_directory_that_cannot_be_written_is_refused(read_only: Path) -> None:
    read_only_lock = "cannot write in the store's directory"
    said = await refusal(read_only)
    assert read_only_lock in said.message or "cannot open the store" in said.message
    said = await refusal(read_only.with_name("other.db"))
    assert read_only_lock in said.message


async def test_a_place_where_no_directory_can_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreRefused, match="cannot make the store's directory"):
        await SqliteStore.open(tmp_path / "file" / "state.db")
