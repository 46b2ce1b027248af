"""`argosy verify` beside the machine's own systemd-analyze."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from argosy.cli import exits, main, systemd_analyze

needs_systemd = pytest.mark.skipif(
    shutil.which(systemd_analyze.PROGRAM) is None, reason="this machine has no systemd-analyze"
)
TEXT = "[Service]\nExecStart=/nowhere/at/all\n"


@needs_systemd
@pytest.mark.parametrize("name", ["web.service", "web@.service"])
def test_what_only_systemd_sees_is_told_at_its_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(TEXT)
    assert main.main(["verify"]) == exits.DONE
    said = capsys.readouterr().out
    assert said.startswith(f"{name}:2:1: warning: systemd: Command /nowhere/at/all is not exec")
    assert said.endswith("1 file: 0 errors, 1 warning\n")


@needs_systemd
def test_what_both_see_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("web.service").write_text("[Service]\nExecStart=/bin/true\nExecStartt=/bin/true\n")
    assert main.main(["verify"]) == exits.DONE
    assert capsys.readouterr().out.count("web.service:3:") == 1


def test_without_systemd_analyze_our_own_checks_are_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    Path("web.service").write_text(TEXT)
    assert main.main(["verify"]) == exits.DONE
    assert capsys.readouterr().out == "1 file: no problems\n"
