"""`argosy verify`: files as paths that can be opened, what systemd says beside it, and nothing of it sent anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import pytest

from argosy.cli import exits, main, systemd_analyze

GOOD = "[Service]\nExecStart=/bin/true\n"
BAD = "[Service]\nExecStart=/bin/true\n[X-Fleet]\nMachinOf=db.service\n"


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def verify(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    code = main.main(["verify", "--no-systemd", *argv])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_a_good_file_has_no_problems(capsys: pytest.CaptureFixture[str]) -> None:
    Path("web.service").write_text(GOOD)
    assert verify(capsys, "web.service") == (exits.DONE, "1 file: no problems\n")


def test_an_error_has_file_line_column_and_the_nearest_spelling(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("shop").mkdir()
    Path("shop/web.service").write_text(BAD)
    assert verify(capsys, "shop/web.service") == (
        exits.FAILED,
        dedent("""\
            shop/web.service:4:1: error: unknown key 'MachinOf' in [X-Fleet] (did you mean 'MachineOf'?)
                MachinOf=db.service
                ^
            1 file: 1 error, 0 warnings
            """),
    )


def test_a_directory_is_judged_as_a_whole(capsys: pytest.CaptureFixture[str]) -> None:
    Path("one.service").write_text(GOOD + "[X-Fleet]\nMachineOf=two.service\n")
    Path("two.service").write_text(GOOD + "[X-Fleet]\nMachineOf=one.service\n")
    code, said = verify(capsys)
    assert code == exits.FAILED
    assert "MachineOf goes in a circle" in said
    assert said.endswith("2 files: 1 error, 0 warnings\n")


def test_files_named_one_by_one_may_mean_units_that_are_elsewhere(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("one.service").write_text(GOOD + "[X-Fleet]\nMachineOf=two.service\n")
    assert verify(capsys, "one.service")[0] == exits.DONE


def test_json_is_the_diagnostics(capsys: pytest.CaptureFixture[str]) -> None:
    Path("web.service").write_text(BAD)
    code, said = verify(capsys, "web.service", "--json")
    assert code == exits.FAILED
    [found] = json.loads(said)
    assert (found["file"], found["line"], found["severity"]) == ("web.service", 4, "error")


def test_an_empty_directory_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    code, said = verify(capsys)
    assert code == exits.USAGE
    assert "there are no unit files here" in said


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    code, said = verify(capsys, "none.service")
    assert code == exits.NOT_FOUND
    assert said.startswith("argosy: there is no file none.service\n")


def test_what_systemd_says_gets_its_place() -> None:
    output = (
        "/srv/web.service:3: Unknown key 'Foo' in section [Service], ignoring.\n"
        "/lib/systemd/system/other.service:1: Unknown key, ignoring.\n"
        "web@i.service: Command /srv/run is not executable: No such file or directory\n"
        "bad.service: Service has no ExecStart=, ExecStop=, or SuccessAction=. Refusing.\n"
    )
    by_path = {
        "/srv/web.service": "web.service",
        "/srv/web@.service": "web@.service",
        "/srv/bad.service": "bad.service",
    }
    texts = {"web@.service": b"[Service]\nType=exec\nExecStart=-/srv/run %i\n"}
    found = systemd_analyze.read(output, by_path, texts)
    assert [(one.file, one.line, one.severity.value) for one in found] == [
        ("web.service", 3, "warning"),
        ("web@.service", 3, "warning"),
        ("bad.service", 1, "error"),
    ]
    assert found[0].message == "systemd: Unknown key 'Foo' in section [Service], ignoring."
