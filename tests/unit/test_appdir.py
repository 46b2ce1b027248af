"""Reading apps from disk: what a directory can hold that must not be read."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from argosy import appdir
from argosy.errors import Invalid, NotFound
from argosy.units.text import MAX_BYTES

UNIT = b"[Service]\nExecStart=/bin/true\n"


def test_an_apps_files_are_read_and_others_left_alone(tmp_path: Path) -> None:
    (tmp_path / "environments").mkdir()
    for name in ("web@.service", "db.container", "argosy.toml", "environments/prod.env"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "README.md").write_bytes(b"x")
    (tmp_path / "big.bin").write_bytes(b"\0" * (MAX_BYTES + 1))
    (tmp_path / "environments" / "notes.txt").write_bytes(b"x")
    assert appdir.read_app(tmp_path) == {
        "argosy.toml": b"argosy.toml",
        "db.container": b"db.container",
        "environments/prod.env": b"environments/prod.env",
        "web@.service": b"web@.service",
    }


def make_link(path: Path) -> None:
    path.symlink_to("/etc/shadow")


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_directory(path: Path) -> None:
    path.mkdir()


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def make_two_gigabytes(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2 << 30)


def make_binary(path: Path) -> None:
    path.write_bytes(b"\x7fELF\0\0")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (make_link, "it is a link"),
        (make_fifo, "it is a FIFO"),
        (make_directory, "it is a directory"),
        (make_socket, "it is a socket"),
        (make_two_gigabytes, "it has more than 1048576 bytes"),
        (make_binary, "it is binary"),
    ],
)
def test_what_is_no_unit_file_is_refused_with_its_reason(
    tmp_path: Path, make: Callable[[Path], None], reason: str
) -> None:
    (tmp_path / "good.service").write_bytes(UNIT)
    make(tmp_path / "bad.service")
    with pytest.raises(Invalid, match=reason) as refused:
        appdir.read_app(tmp_path)
    assert refused.value.problems[0].startswith("bad.service:1:1: error: cannot be read")
    with pytest.raises(Invalid, match=reason):
        appdir.read_unit_file(tmp_path / "bad.service")


def test_a_device_is_refused() -> None:
    with pytest.raises(Invalid, match="it is a device"):
        appdir.read_unit_file(Path("/dev/zero"))


def test_every_file_that_cannot_be_taken_is_named(tmp_path: Path) -> None:
    make_link(tmp_path / "a.service")
    make_fifo(tmp_path / "b.service")
    with pytest.raises(Invalid) as refused:
        appdir.read_app(tmp_path)
    assert len(refused.value.problems) == 2


def test_a_directory_of_environments_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "prod.env").write_bytes(b"A=1\n")
    directory = tmp_path / "app"
    directory.mkdir()
    (directory / "environments").symlink_to(elsewhere)
    assert appdir.read_app(directory) == {}


def test_a_file_of_exactly_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.service"
    path.write_bytes(b"#" * MAX_BYTES)
    assert len(appdir.read_unit_file(path)) == MAX_BYTES


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        appdir.read_unit_file(tmp_path / "a.service")
    with pytest.raises(NotFound):
        appdir.read_app(tmp_path / "app")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Invalid, match="is no directory"):
        appdir.read_app(tmp_path / "file")


def test_a_name_that_is_no_text_does_not_break_the_message(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\n.service")).symlink_to("x")
    with pytest.raises(Invalid) as refused:
        appdir.read_app(tmp_path)
    assert str(refused.value).isprintable()
