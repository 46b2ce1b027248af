"""Files of the systemd runtime: whose they are, what people changed, and what a death between two writes leaves."""

from __future__ import annotations

import hashlib
import itertools
import shutil
from pathlib import Path

import pytest

from argosy.errors import RuntimeRefused
from argosy.model.ids import Digest, UnitName
from argosy.runtime.base import RunnableUnit
from argosy.runtime.systemd import pulled_in
from argosy.runtime.systemd.unit_files import UnitFiles

NAME = UnitName("web@1.service")
OLD = b"[Service]\nExecStart=/bin/old\n"
NEW = b"[Service]\nExecStart=/bin/new\n"


def unit(text: bytes, name: str = NAME, **environment: str) -> RunnableUnit:
    digest = Digest(hashlib.sha256(text + repr(environment).encode()).hexdigest())
    return RunnableUnit(name=UnitName(name), digest=digest, text=text, environment=environment)


def look(files: UnitFiles) -> tuple[bool, str]:
    owned = files.owned(NAME)
    assert owned is not None
    return files.look({NAME: owned})[NAME]


@pytest.mark.parametrize("before", [None, OLD])
def test_whatever_write_was_the_last_the_unit_is_ours_and_taken_for_no_edit(
    tmp_path: Path, before: bytes | None
) -> None:
    done, cut = tmp_path / "done", tmp_path / "cut"
    for directory in (done, cut):
        directory.mkdir()
    complete = UnitFiles(done)
    if before is not None:
        complete.install(unit(before, A="1"))
        shutil.copytree(done, cut, dirs_exist_ok=True)
    complete.install(unit(NEW, A="2"))
    # The mark is written first: a death between the two writes leaves it beside the older text.
    (cut / f"{NAME}.d").mkdir(exist_ok=True)
    shutil.copy(done / f"{NAME}.d/10-argosy.conf", cut / f"{NAME}.d/10-argosy.conf")
    assert look(UnitFiles(cut)) == (False, "")
    UnitFiles(cut).install(unit(NEW, A="2"))
    assert look(UnitFiles(cut)) == (True, "")


def test_a_write_that_fails_leaves_nothing_of_a_new_unit(tmp_path: Path) -> None:
    name = "a" * 240 + ".service"  # with room for the directory, and none for the file beside it
    with pytest.raises(RuntimeRefused, match="File name too long"):
        UnitFiles(tmp_path).install(unit(NEW, name))
    assert list(tmp_path.iterdir()) == []


def test_links_and_bad_marks_are_nobodys_and_followed_by_nobody(tmp_path: Path) -> None:
    files = UnitFiles(tmp_path)
    files.install(unit(NEW))
    secret = tmp_path / "secret"
    secret.write_bytes(NEW)
    (tmp_path / NAME).unlink()
    (tmp_path / NAME).symlink_to(secret)
    assert look(files) == (True, f"{tmp_path / NAME} was changed by hand")
    drop_in = tmp_path / f"{NAME}.d/10-argosy.conf"
    for content in (b"", b"[Service]\n", b"# argosy {}\n", b'# argosy {"digest": 1}\n', b"\xff"):
        drop_in.write_bytes(content)
        assert list(files.read()) == []
    drop_in.unlink()
    drop_in.symlink_to(secret)
    assert list(files.read()) == []
    assert secret.read_bytes() == NEW


def test_owners_see_their_own_units_only(tmp_path: Path) -> None:
    UnitFiles(tmp_path, owner="one").install(unit(NEW))
    assert [owned.name for owned in UnitFiles(tmp_path, owner="one").read()] == [NAME]
    assert list(UnitFiles(tmp_path, owner="two").read()) == []


def test_links_of_install_follow_the_units_and_spare_those_of_people(tmp_path: Path) -> None:
    files = UnitFiles(tmp_path)
    text = NEW + b"[Install]\nWantedBy=%p.target a.target\nRequiredBy=a.target %H.target\n"
    web = files.install(unit(text))
    targets = [files.install(unit(b"[Unit]\n", name)) for name in ("web.target", "a.target")]
    theirs = tmp_path / "a.target.wants/theirs.service"
    theirs.parent.mkdir()
    theirs.symlink_to("/etc/systemd/system/theirs.service")
    links = {f"web.target.wants/{NAME}", f"a.target.wants/{NAME}", f"a.target.requires/{NAME}"}

    def present() -> set[str]:
        found = itertools.chain(tmp_path.glob("*.wants/*"), tmp_path.glob("*.requires/*"))
        return {str(path.relative_to(tmp_path)) for path in found} - {
            "a.target.wants/theirs.service"
        }

    units = {owned.name: owned for owned in (web, *targets)}
    assert pulled_in.relink(tmp_path, units) == {"web.target", "a.target"}
    assert present() == links
    assert all((tmp_path / link).resolve() == tmp_path / NAME for link in links)
    assert pulled_in.relink(tmp_path, units) == set()
    del units[UnitName("web.target")]
    assert pulled_in.relink(tmp_path, units) == {"web.target"}
    assert present() == {link for link in links if link.startswith("a.target")}
    assert pulled_in.relink(tmp_path, {}) == {"a.target"}
    assert present() == set()
    assert theirs.is_symlink() and not (tmp_path / "web.target.wants").exists()
