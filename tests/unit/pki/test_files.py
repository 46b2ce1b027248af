"""Keys on disk."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from argosy.errors import Invalid, NotFound
from argosy.pki import files


def test_a_key_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        files.write_private(tmp_path / "k", b"secret")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600
    assert files.read_private(tmp_path / "k") == b"secret"
    assert [path.name for path in tmp_path.iterdir()] == ["k"]


def test_a_link_in_a_keys_place_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"as it was")
    (tmp_path / "k").symlink_to(victim)
    with pytest.raises(Invalid):
        files.read_private(tmp_path / "k")
    files.write_private(tmp_path / "k", b"secret")
    assert victim.read_bytes() == b"as it was"
    assert not (tmp_path / "k").is_symlink()


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    files.write_private(tmp_path / "k", b"secret")
    (tmp_path / "k").chmod(0o640)
    with pytest.raises(Invalid, match="read by others"):
        files.read_private(tmp_path / "k")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        files.read_public(tmp_path / "k")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(Invalid, match="no regular file"):
        files.read_public(tmp_path / "fifo")
    (tmp_path / "large").write_bytes(b"x" * (files.MAX_BYTES + 1))
    with pytest.raises(Invalid, match="too large"):
        files.read_public(tmp_path / "large")
