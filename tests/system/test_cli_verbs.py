"""The verbs that change something, against a real server with real processes under it."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from argosy.cli import exits
from system.running import ARGOSY, App, eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

SLEEP = "[Service]\nExecStart=/bin/sleep 1000\n"
FAILS = dedent("""\
    [Unit]
    Description=Cannot work
    [Service]
    ExecStart=/bin/sh -c 'echo looking; echo not there >&2; exit 3'
    """)
NOWHERE = "[Service]\nExecStart=/bin/sleep 1000\n[X-Fleet]\nMachineMetadata=disk=ssd\n"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """One server and agent for all tests here; each test has units of names of its own."""
    directory = tmp_path_factory.mktemp("cli")
    app = App(directory / "files", directory / "state")
    app.directory.mkdir()
    (app.directory / "always.service").write_text(SLEEP)
    with app.cleaned_up():
        app.up()
        yield app


class Shell:
    """Command lines typed in a directory."""

    def __init__(self, cluster: App, directory: Path) -> None:
        self.cluster = cluster
        self.directory = directory

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.write_text(text)
        return path

    def __call__(self, *argv: str) -> tuple[int, str]:
        done = subprocess.run(
            [ARGOSY, *argv],
            cwd=self.directory,
            env=self.cluster.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout

    def active(self, name: str) -> str:
        return self.cluster.state_of(name)


@pytest.fixture
def argosy(cluster: App, tmp_path: Path) -> Shell:
    return Shell(cluster, tmp_path)


def test_a_local_file_is_submitted_and_started(argosy: Shell) -> None:
    argosy.write("first.service", SLEEP)
    code, said = argosy("start", "first.service")
    assert code == exits.DONE, said
    assert re.fullmatch(
        r"\+ first.service\n✓ first.service  running on \w{8}\.\.\./127.0.0.1\n", said
    )
    assert argosy.active("first.service") == "active"


def test_the_life_of_a_unit(argosy: Shell) -> None:
    argosy.write("life.service", SLEEP)
    for argv, state in [
        (["submit", "life.service"], ""),
        (["load", "life"], "inactive"),
        (["start", "life"], "active"),
        (["restart", "life"], "active"),
        (["stop", "life"], "inactive"),
        (["unload", "life"], ""),
        (["destroy", "life"], ""),
    ]:
        code, said = argosy(*argv)
        assert code == exits.DONE, (argv, said)
        assert argosy.active("life.service") == state, argv
    assert argosy("cat", "life")[0] == exits.NOT_FOUND


def test_a_restart_is_a_new_process(argosy: Shell) -> None:
    argosy.write("again.service", SLEEP)
    argosy("start", "again.service")
    [before] = argosy.cluster.client.states(["again.service"])
    assert argosy("restart", "again")[0] == exits.DONE
    [after] = argosy.cluster.client.states(["again.service"])
    assert after["main_pid"] not in (None, before["main_pid"])


def test_a_failing_unit_is_code_3_with_its_cause_and_last_lines(argosy: Shell) -> None:
    argosy.write("fails.service", FAILS)
    assert argosy("start", "fails.service") == (
        exits.UNHEALTHY,
        dedent("""\
            + fails.service
            ✗ fails.service  failed: ExecStart=/bin/sh -c 'echo looking; echo not there >&2; exit 3' exited with code 3
                | looking
                | not there
              -> argosy status fails.service
            """),
    )


def test_start_of_a_failed_unit_really_starts_it_again(argosy: Shell, tmp_path: Path) -> None:
    text = (
        f"[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/bin/test -e {tmp_path}/now\n"
    )
    argosy.write("later.service", text)
    assert argosy("start", "later.service")[0] == exits.UNHEALTHY
    (tmp_path / "now").touch()
    code, said = argosy("start", "later")
    assert code == exits.DONE, said
    assert "ran and stays active" in said


def test_a_unit_for_no_machine_is_code_2_with_the_reason_and_the_remedy(argosy: Shell) -> None:
    argosy.write("nowhere.service", NOWHERE)
    code, said = argosy("start", "nowhere.service")
    assert code == exits.CANNOT_PLACE
    assert "lacks disk=ssd" in said
    assert "to place it: add metadata disk=ssd" in said
    assert said.endswith("  -> argosy why nowhere.service\n")


def test_another_text_is_refused_with_the_difference_until_replace(argosy: Shell) -> None:
    path = argosy.write("text.service", SLEEP)
    argosy("start", "text.service")
    path.write_text(SLEEP.replace("1000", "2000"))
    code, said = argosy("start", "text.service")
    assert code == exits.PRECONDITION
    assert "-ExecStart=/bin/sleep 1000\n+ExecStart=/bin/sleep 2000\n" in said
    assert said.endswith("  -> argosy start --replace text.service\n")
    assert argosy("cat", "text") == (exits.DONE, SLEEP)
    code, said = argosy("start", "--replace", "text.service")
    assert code == exits.DONE
    assert "~ text.service  +1 -1 lines" in said
    assert argosy("cat", "text") == (exits.DONE, path.read_text())


def test_an_instance_takes_the_local_template_then_the_cluster_s(argosy: Shell) -> None:
    template = argosy.write("many@.service", "[Service]\nExecStart=/bin/sleep 10%i\n")
    assert argosy("start", "many@1")[0] == exits.DONE
    assert argosy("start", "many@2")[0] == exits.DONE
    assert argosy("submit", "many@.service")[0] == exits.DONE
    text = template.read_text()
    template.unlink()
    code, said = argosy("start", "many@3")
    assert code == exits.DONE, said
    assert argosy("cat", "many@3") == (exits.DONE, text)


def test_a_glob_means_the_cluster_s_units_never_files(argosy: Shell) -> None:
    for name in ("glob-a.service", "glob-b.service", "glob-c.service"):
        argosy.write(name, SLEEP)
    argosy("start", "glob-a.service", "glob-b.service")
    code, said = argosy("stop", "glob-*")
    assert code == exits.DONE
    assert "glob-a.service" in said
    assert "glob-c.service" not in said


def test_a_directory_with_a_slash_is_an_app(argosy: Shell) -> None:
    (argosy.directory / "pair").mkdir()
    argosy.write("pair/one.service", SLEEP)
    argosy.write("pair/two@.service", SLEEP + "[X-Service]\nReplicas=2\n")
    code, said = argosy("start", "pair/")
    assert code == exits.DONE, said
    assert [line for line in said.splitlines() if line.startswith("+")] == [
        "+ one.service",
        "+ two@.service",
        "+ two@1.service",
        "+ two@2.service",
    ]
    apps = {unit["app"] for unit in argosy.cluster.client.units(["one.service", "two@*"])}
    assert apps == {"pair"}


def test_an_app_that_was_moved_differs_in_its_variable_only(argosy: Shell) -> None:
    for place in ("here", "there"):
        (argosy.directory / place / "moved").mkdir(parents=True)
        argosy.write(f"{place}/moved/moved.service", SLEEP)
    assert argosy("submit", "here/moved/")[0] == exits.DONE
    code, said = argosy("submit", "there/moved/")
    assert code == exits.PRECONDITION
    changed = [line for line in said.splitlines() if re.match(r"[+-][^+-]", line)]
    assert changed == [
        f"-# variable ARGOSY_APP_DIR={argosy.directory}/here/moved",
        f"+# variable ARGOSY_APP_DIR={argosy.directory}/there/moved",
    ]


def test_a_slow_start_is_bounded_and_goes_on(argosy: Shell) -> None:
    argosy.write("slow.service", "[Service]\nType=oneshot\nExecStart=/bin/sleep 2\n")
    code, said = argosy("start", "slow.service", "--timeout", "0.5")
    assert code == exits.UNHEALTHY
    assert "activating (start)" in said
    assert "not done within 0.5 s; it goes on" in said
    eventually(lambda: argosy.active("slow.service") == "inactive", "it went on to its end")


def test_json_of_a_start(argosy: Shell) -> None:
    argosy.write("json.service", SLEEP)
    code, said = argosy("start", "json.service", "--json")
    assert code == exits.DONE
    told = json.loads(said)
    assert [unit["outcome"] for unit in told["units"]] == ["done"]
    assert told["units"][0]["state"]["active"] == "active"
    assert told["changes"][0]["change"] == "created"


def make_sparse(path: Path, size: int) -> None:
    path.touch()
    os.truncate(path, size)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("fifo.service", lambda path: os.mkfifo(path)),
        ("link.service", lambda path: path.symlink_to("/etc/shadow")),
        ("folder.service", lambda path: path.mkdir()),
        ("empty.service", lambda path: path.touch()),
        ("binary.service", lambda path: path.write_bytes(b"\x7fELF\0\0")),
        ("huge.service", lambda path: make_sparse(path, 2**31)),
        ("typo.service", lambda path: path.write_text(SLEEP + "[X-Fleet]\nMachinOf=x.service\n")),
    ],
)
def test_a_bad_file_is_refused_in_six_lines_and_changes_nothing(
    name: str, make: Callable[[Path], object], argosy: Shell
) -> None:
    make(argosy.directory / name)
    code, said = argosy("start", name)
    assert code == exits.USAGE, said
    assert len(said.splitlines()) <= 6
    assert name in said
    assert argosy.cluster.client.units([name]) == []


@pytest.mark.parametrize("name", ["../x.service", "-x.service", "a b.service", "x.nonsense"])
def test_a_bad_name_is_refused(name: str, argosy: Shell) -> None:
    code, said = argosy("start", "--", name)
    assert code in (exits.USAGE, exits.NOT_FOUND), said
    assert "Traceback" not in said


def test_following_logs_ends_with_ctrl_c_and_shows_what_comes(argosy: Shell) -> None:
    loop = "i=0; while :; do i=$$((i+1)); echo line $$i; sleep 0.05; done"
    argosy.write("talks.service", f"[Service]\nExecStart=/bin/sh -c '{loop}'\n")
    argosy("start", "talks.service")
    process = subprocess.Popen(
        [ARGOSY, "logs", "-f", "-n1", "talks"],
        env=argosy.cluster.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    first = int(process.stdout.readline().split()[1])
    numbers = [int(process.stdout.readline().split()[1]) for _ in range(5)]
    assert numbers == [first + step for step in range(1, 6)]
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=10)
    assert process.returncode == exits.INTERRUPTED
    assert all(line.startswith("line ") for line in rest.splitlines())


def test_following_events_tells_what_happens(argosy: Shell) -> None:
    argosy.write("told.service", SLEEP)
    argosy("start", "told.service")
    process = subprocess.Popen(
        [ARGOSY, "events", "-f", "-n", "100", "told"],
        env=argosy.cluster.environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        read_until(process, "unit.active")
        argosy("stop", "told.service")
        read_until(process, "unit.inactive")
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)


def read_until(process: subprocess.Popen[str], part: str) -> None:
    """Read lines about told.service until one has the part."""
    assert process.stdout is not None
    while part not in (line := process.stdout.readline()):
        assert "told.service" in line


def test_on_a_terminal_destroy_shows_what_a_glob_matches_and_asks(argosy: Shell) -> None:
    argosy.write("asked-1.service", SLEEP)
    argosy.write("asked-2.service", SLEEP)
    argosy("submit", "asked-1.service", "asked-2.service")
    said = type_on_terminal(argosy, ["destroy", "asked-*"], after="[y/N]", typed="n\n")
    assert "  asked-1.service\r\n  asked-2.service\r\n" in said
    assert "Nothing was destroyed." in said
    assert len(argosy.cluster.client.units(["asked-*"])) == 2
    said = type_on_terminal(argosy, ["destroy", "asked-*"], after="[y/N]", typed="y\n")
    assert "asked-2.service  destroyed" in said
    assert argosy.cluster.client.units(["asked-*"]) == []


def test_ctrl_c_ends_the_waiting_and_leaves_the_last_word(argosy: Shell) -> None:
    argosy.write("long.service", "[Service]\nType=oneshot\nExecStart=/bin/sleep 3\n")
    argosy("submit", "long.service")
    said = type_on_terminal(argosy, ["start", "long"], after="activating", typed="\x03")
    last = said.splitlines()[-2:]
    assert "· long.service  activating (start) on " in last[0]
    assert last[1] == "argosy: no longer waiting; what was asked for goes on"
    assert argosy.active("long.service") == "activating"


def type_on_terminal(argosy: Shell, argv: list[str], *, after: str, typed: str) -> str:
    """Run on a terminal of its own, type once `after` is seen; gives everything that it showed, without colours."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(ARGOSY, ["argosy", *argv], {**argosy.cluster.environ, "TERM": "xterm"})
    shown = ""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            shown += os.read(terminal, 4096).decode()
        except OSError:  # how a terminal's end shows
            break
        if typed and after in shown:
            os.write(terminal, typed.encode())
            typed = ""
    os.waitpid(pid, 0)
    os.close(terminal)
    return re.sub(r"\x1b\[[0-9;]*[mJF]", "", shown)
