"""The completion scripts: each shell can read its own, and bash's does what it should."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from argosy.cli import completion, completion_scripts, exits, main

SHELLS = [shell for shell in sorted(completion_scripts.SHELLS) if shutil.which(shell)]
"""bash is everywhere; the others where they are installed."""


@pytest.fixture(scope="module")
def scripts() -> dict[str, str]:
    verbs = completion.words_of_verbs()
    return {shell: make(verbs) for shell, make in completion_scripts.SHELLS.items()}


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_can_read_its_script(shell: str, scripts: dict[str, str], tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(scripts[shell])
    done = subprocess.run([shell, "-n", script], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", completion_scripts.SHELLS)
def test_a_script_knows_every_verb_and_option(shell: str, scripts: dict[str, str]) -> None:
    for verb, words in completion.words_of_verbs().items():
        # fish asks for the words of a verb one by one.
        assert all(word in scripts[shell] for word in verb.split())
        for option in words.options:
            for spelling in option.spellings:
                assert spelling.lstrip("-") in scripts[shell]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("argosy restar", ["restart"]),
        ("argosy list-u", ["list-units", "list-unit-files"]),
        ("argosy --json verif", ["verify"]),
        ("argosy --endpoint unix:///x statu", ["status"]),
        ("argosy start --repl", ["--replace"]),
        ("argosy status we", ["web@1.service", "web@2.service"]),
        # Bash itself puts the part before the `@`.
        ("argosy status web@", ["1.service", "2.service"]),
        ("argosy logs --machine 1", ["113f16a7"]),
        ("argosy verify one.s", ["one.service"]),
        ("argosy start on", ["one.service"]),
        ("argosy doctor x", []),
        ("argosy tok", ["token"]),
        ("argosy token c", ["create"]),
        ("argosy token create --ro", ["--role"]),
        ("argosy drain 1", ["113f16a7"]),
        ("argosy machine se", ["set"]),
        ("argosy exec we", ["web@1.service", "web@2.service"]),
        ("argosy exec 1", ["113f16a7"]),
    ],
)
def test_bash_offers(
    line: str, offered: list[str], scripts: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "one.service").touch()
    script = f"""
        {scripts["bash"]}
        argosy() {{ [[ $2 == units ]] && echo "web@1.service web@2.service" || echo 113f16a7; }}
        COMP_WORDBREAKS=$' \\t\\n"\\'@><=;|&(:'
        COMP_LINE={line!r} COMP_POINT={len(line)}
        _argosy
        printf '%s\\n' "${{COMPREPLY[@]}}"
        """
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=20
    )
    assert done.stderr == ""
    assert done.stdout.split() == offered


def test_a_shell_that_is_not_known_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["completion", "tcsh"]) == exits.USAGE
    assert capsys.readouterr().err.endswith("  -> one of bash, fish, zsh\n")


def test_nothing_is_said_when_no_server_can_be_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ARGOSY_ENDPOINT", f"unix://{tmp_path}/none")
    assert main.main(["complete", "units", "we"]) == exits.DONE
    assert capsys.readouterr() == ("", "")
