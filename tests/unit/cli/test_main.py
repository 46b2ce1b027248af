"""The command line as such: finding verbs, global options, errors and exit codes."""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from argosy import errors
from argosy.cli import exits, main, version

ALL_VERBS = [verb for group in main.VERBS.values() for verb in group]
ARGOSY = Path(sys.executable).with_name("argosy")


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ARGOSY_STATE_DIR", str(tmp_path))
    monkeypatch.delenv("ARGOSY_ENDPOINT", raising=False)
    monkeypatch.delenv("ARGOSY_DEBUG", raising=False)


@pytest.mark.parametrize("verb", ALL_VERBS)
def test_every_verb_has_a_help_that_says_what_it_is_for(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main([*verb.split(), "--help"]) == exits.DONE
    shown = capsys.readouterr().out
    assert f"usage: argosy {verb}" in shown
    text = (importlib.import_module(main.module_name(verb)).__doc__ or "").strip()
    assert text
    assert "".join(text.split()) in "".join(shown.split())
    assert "--json" in shown


def test_the_overview_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--help"]) == exits.DONE
    lines = capsys.readouterr().out.splitlines()
    assert [line[2:18].strip() for line in lines if line.startswith("  ")] == ALL_VERBS


def test_help_may_be_asked_for_before_the_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--help", "version"]) == exits.DONE
    assert "usage: argosy version" in capsys.readouterr().out


def test_without_a_verb_the_overview_is_shown_as_a_usage_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main.main([]) == exits.USAGE
    assert "Change what runs:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("strat", "argosy start"),
        ("list-unit", "argosy list-units"),
        ("stat", "argosy status"),
        ("ssh", "argosy exec"),
        ("ps", "argosy list-units"),
        ("xyzzy", "argosy --help"),
    ],
)
def test_a_verb_that_is_none_gets_the_nearest(
    typed: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main([typed]) == exits.USAGE
    assert capsys.readouterr().err == f"argosy: there is no verb '{typed}'\n  -> {meant}\n"


def test_global_options_stand_before_or_after_the_verb(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main.main(["--json", "version"]) == exits.DONE
    before = json.loads(capsys.readouterr().out)
    assert main.main(["version", "--json"]) == exits.DONE
    assert json.loads(capsys.readouterr().out) == before


def test_an_option_before_the_verb_is_not_forgotten_when_it_is_not_repeated(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main.main(["--endpoint", "http://127.0.0.1:1", "list-units"]) == exits.UNREACHABLE
    assert "http://127.0.0.1:1" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [
        ["version", "--nonsense"],
        ["start"],
        ["--nonsense"],
        ["logs", "--lines", "many"],
        ["start", "--timeout", "soon", "web"],
        ["--endpoint", "ftp://nowhere", "status"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_code_64_with_something_to_type_next(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(argv) == exits.USAGE
    said = capsys.readouterr().err.splitlines()
    assert len(said) <= 6
    assert said[0].startswith("argosy: ")
    assert said[-1].startswith("  -> ")


def test_no_server_is_code_7_and_says_how_to_start_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["list-units"]) == exits.UNREACHABLE
    assert capsys.readouterr().err == (
        f"argosy: no server answers at unix://{tmp_path}/argosy.sock: No such file or directory\n"
        "  -> start one: argosy up\n"
    )


def test_with_json_errors_are_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["list-units", "--json"]) == exits.UNREACHABLE
    told = json.loads(capsys.readouterr().err)["error"]
    assert told["kind"] == "ServerUnreachable"
    assert told["hint"] == "start one: argosy up"


def run_failing_with(problem: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    def fail(args: argparse.Namespace) -> int:
        raise problem

    monkeypatch.setattr(version, "run", fail)
    return main.main(["version"])


def test_a_bug_is_no_traceback_but_says_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_failing_with(KeyError("oops"), monkeypatch) == exits.FAILED
    said = capsys.readouterr().err
    assert said.splitlines() == [
        "argosy: this is a bug of argosy: KeyError: 'oops'",
        "  -> run it again with ARGOSY_DEBUG=1 and report what it prints",
    ]


def test_debugging_shows_the_traceback_of_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGOSY_DEBUG", "1")
    with pytest.raises(KeyError):
        run_failing_with(KeyError("oops"), monkeypatch)


def test_debugging_shows_where_an_error_came_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ARGOSY_DEBUG", "1")
    assert main.main(["list-units"]) == exits.UNREACHABLE
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_is_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_failing_with(KeyboardInterrupt(), monkeypatch) == exits.INTERRUPTED
    assert capsys.readouterr() == ("", "")


def test_a_reader_that_goes_away_is_quiet() -> None:
    command = f"{ARGOSY} --help; echo $? >&2"
    shell = ["bash", "-c", f"({command}) | true"]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=20)
    # Whether it noticed depends on who was faster; either way it says nothing else.
    assert done.stderr in ("0\n", f"{exits.BROKEN_PIPE}\n")


def test_output_that_cannot_be_written_is_an_error_like_others() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([ARGOSY, "--help"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == exits.FAILED
    assert done.stderr == "argosy: No space left on device\n  -> argosy doctor\n"


def test_a_terminal_without_a_sign_gets_a_question_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    (tmp_path / "ü.service").write_text("[Service]\n")
    done = subprocess.run(
        [ARGOSY, "verify", "--no-systemd", tmp_path / "ü.service"], capture_output=True, text=True
    )
    assert done.returncode == exits.FAILED
    assert "/?.service:1:1: error" in done.stdout


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (errors.Invalid("x"), 64),
        (errors.NotFound("x"), 6),
        (errors.AlreadyExists("x"), 4),
        (errors.StaleRevision("x"), 4),
        (errors.ServerUnreachable("x"), 7),
        (errors.StoreUnavailable("x"), 7),
        (errors.Indeterminate("x"), 7),
        (errors.StoreFull("x"), 1),
        (errors.Unsupported("x"), 1),
        (exits.Failed("x", code=3, hint="y"), 3),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_error_has_its_exit_code(problem: errors.ArgosyError, code: int) -> None:
    assert exits.code_of(problem) == code


def test_many_problems_are_told_in_six_lines(capsys: pytest.CaptureFixture[str]) -> None:
    problems = tuple(f"web.service:{line}:1: error: wrong" for line in range(1, 20))
    exits.report(errors.Invalid("the app is wrong", problems=problems), verb="up")
    assert capsys.readouterr().err.splitlines() == [
        "argosy: the app is wrong",
        "  web.service:1:1: error: wrong",
        "  web.service:2:1: error: wrong",
        "  web.service:3:1: error: wrong",
        "  ... and 16 more",
        "  -> argosy up --help",
    ]


def test_a_message_that_is_the_first_problem_is_not_told_twice(
    capsys: pytest.CaptureFixture[str],
) -> None:
    problems = ("a.service:1:1: error: first", "a.service:2:1: error: second")
    exits.report(errors.Invalid(f"{problems[0]}, and 1 more", problems=problems), verb="start")
    assert capsys.readouterr().err.splitlines() == [
        "argosy: a.service:1:1: error: first",
        "  a.service:2:1: error: second",
        "  -> argosy start --help",
    ]


def test_nothing_in_a_message_moves_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    exits.report(errors.Invalid("a\x1b[2Jb\nc", hint="d\re"))
    assert capsys.readouterr().err == "argosy: a?[2Jb c\n  -> d e\n"


def test_help_imports_nothing_that_it_does_not_need() -> None:
    code = (
        "import sys; from argosy.cli import main; main.main(['--help']);"
        "print(','.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20
    )
    loaded = set(done.stderr.split(","))
    heavy = {"asyncio", "http.client", "msgspec", "rich", "socket", "starlette", "subprocess"}
    assert loaded & heavy == set()
    assert "argosy.client" not in loaded
