"""`argosy up`, `down` and `run` by the real command: what a person sees, and what is left behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from system.running import ARGOSY, App, eventually

pytestmark = pytest.mark.timeout(120)

SLEEPER = "[Unit]\nDescription=Sleeps\n\n[Service]\nExecStart=/bin/sleep 1000\n"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    (tmp_path / "shop").mkdir()
    app = App(tmp_path / "shop", tmp_path / "state")
    with app.cleaned_up():
        yield app


def write(app: App, **texts: str) -> None:
    for name, text in texts.items():
        (app.directory / f"{name}.service").write_text(text)


def pid_of(app: App, unit: str) -> int | None:
    return next((row["main_pid"] for row in app.client.states([unit])), None)


# --- what a second `up` does ----------------------------------------------------------------------------------------


def test_a_second_up_applies_what_changed_and_says_what_that_was(app: App) -> None:
    write(app, same=SLEEPER, changed=SLEEPER, gone=SLEEPER)
    app.up()
    untouched = pid_of(app, "same.service")
    write(app, changed=SLEEPER.replace("1000", "2000"), new=SLEEPER)
    (app.directory / "gone.service").unlink()
    told = app.up()
    assert re.search(r"^ *\+ new\.service", told, re.MULTILINE)
    assert re.search(r"^ *~ changed\.service", told, re.MULTILINE)
    assert re.search(r"^ *- gone\.service", told, re.MULTILINE)
    assert "-ExecStart=/bin/sleep 1000" in told
    assert "+ExecStart=/bin/sleep 2000" in told
    assert pid_of(app, "same.service") == untouched
    eventually(lambda: not app.client.states(["gone.service"]), "the unit taken out is gone")


def test_an_up_without_changes_says_so_and_bounces_nothing(app: App) -> None:
    write(app, same=SLEEPER)
    app.up()
    pid = pid_of(app, "same.service")
    assert "nothing changed" in app.up()
    assert pid_of(app, "same.service") == pid


def test_an_up_starts_a_unit_anew_that_has_failed(app: App, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    write(app, moody=f"[Service]\nExecStart=/bin/sh -c 'test -e {gate} && exec sleep 1000'\n")
    app.up(status=3)
    gate.touch()
    app.up()
    assert app.state_of("moody.service") == "active"


def test_an_app_gets_the_variables_of_the_environment_that_was_chosen(app: App) -> None:
    (app.directory / "environments").mkdir()
    (app.directory / "environments" / "blue.env").write_text("COLOUR='deep blue'\n")
    write(app, paint="[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo paint it $COLOUR'\n")
    app.run("up", "--detach", "--env", "blue", str(app.directory))
    assert "paint it deep blue" in app.run("logs", "paint.service")
    refused = app.run("up", "--detach", "--env", "green", str(app.directory), status=6)
    assert "environments/green.env" in refused
    assert "blue" in refused


# --- endings --------------------------------------------------------------------------------------------------------


def test_units_outlive_a_killed_up_and_down_ends_them(app: App) -> None:
    write(app, one=SLEEPER)
    app.up()
    pid = pid_of(app, "one.service")
    os.kill(app.daemon_pid(), signal.SIGKILL)
    assert pid in app.processes()
    assert "one.service" in app.run("down")
    assert app.processes() == {}


def test_an_up_after_a_kill_finds_the_units_without_bouncing_them(app: App) -> None:
    write(app, one=SLEEPER)
    app.up()
    pid = pid_of(app, "one.service")
    os.kill(app.daemon_pid(), signal.SIGKILL)
    assert "nothing changed" in app.up()
    assert pid_of(app, "one.service") == pid


@contextmanager
def foreground(app: App) -> Iterator[subprocess.Popen[str]]:
    """`argosy up` in a terminal of its own."""
    with subprocess.Popen(
        [ARGOSY, "up", str(app.directory)],
        env=app.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as up:
        try:
            yield up
        finally:
            up.kill()


def wait_for_line(up: subprocess.Popen[str], part: str) -> None:
    assert up.stdout is not None
    for line in up.stdout:
        if part in line:
            return
    pytest.fail(f"it ended without a line with {part!r}")


def test_ctrl_c_ends_processes_that_hid_themselves_too(app: App) -> None:
    hide = "setsid sh -c 'sleep 1000 & sleep 1001 & wait' & exec sleep 1002"
    write(app, hider=f'[Service]\nExecStart=/bin/sh -c "{hide}"\n')
    with foreground(app) as up:
        eventually(
            lambda: sum("sleep 100" in command for command in app.processes().values()) >= 3,
            "all processes run",
        )
        wait_for_line(up, "Ctrl-C stops")
        up.send_signal(signal.SIGINT)
        rest, _ = up.communicate(timeout=30)
    assert up.returncode == 0, rest
    assert "Stopping everything" in rest
    assert app.processes() == {}


def test_down_ends_an_up_in_another_terminal(app: App) -> None:
    write(app, one=SLEEPER)
    with foreground(app) as up:
        wait_for_line(up, "Ctrl-C stops")
        app.run("down")
        rest, _ = up.communicate(timeout=30)
    assert up.returncode == 0, rest
    assert "Traceback" not in rest


def test_down_ends_an_up_that_still_waits_for_its_units(app: App) -> None:
    write(app, slow="[Service]\nType=oneshot\nExecStart=/bin/sleep 1000\n")
    with foreground(app) as up:
        eventually(
            lambda: app.client.is_there() and app.state_of("slow.service") == "activating",
            "it waits",
        )
        app.run("down")
        rest, _ = up.communicate(timeout=30)
    assert up.returncode in (0, 3), rest
    assert "Traceback" not in rest


def test_down_without_anything_up_says_so(app: App) -> None:
    assert "Nothing runs" in app.run("down")


# --- what goes wrong ------------------------------------------------------------------------------------------------


def test_a_failure_is_shown_with_its_cause_and_last_lines(app: App) -> None:
    write(app, good=SLEEPER)
    write(app, bad="[Service]\nExecStart=/bin/sh -c 'echo the disk is on fire; exit 7'\n")
    told = app.up(status=3)
    assert "the disk is on fire" in told
    assert "exited with code 7" in told
    assert app.state_of("good.service") == "active"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        pytest.param("[Service]\nExecStart\n", "broken.service:2:1: error:", id="no key and value"),
        pytest.param(
            "[Service]\nExecStart=/bin/true\n[X-Placement]\nMemroy=1G\n",
            "broken.service:4:1: error:",
            id="misspelt key",
        ),
        pytest.param("", "broken.service", id="empty"),
        pytest.param("\x00\x01\x02", "broken.service", id="binary"),
    ],
)
def test_a_bad_unit_file_is_refused_with_its_place_and_nothing_is_started(
    app: App, text: str, where: str
) -> None:
    write(app, fine=SLEEPER, broken=text)
    told = app.run("up", "--detach", str(app.directory), status=64)
    assert where in told
    assert "Traceback" not in told
    assert app.processes() == {}


def test_two_files_that_differ_in_case_only_are_refused(app: App) -> None:
    write(app, web=SLEEPER, Web=SLEEPER)
    told = app.run("up", "--detach", str(app.directory), status=64)
    assert "case" in told


def test_an_app_directory_with_a_link_or_a_pipe_is_refused_unread(app: App) -> None:
    (app.directory / "shadow.service").symlink_to("/etc/shadow")
    os.mkfifo(app.directory / "pipe.service")
    (app.directory / "dir.service").mkdir()
    with (app.directory / "huge.service").open("wb") as file:
        file.truncate(2 << 30)
    told = app.run("up", "--detach", str(app.directory), status=64)
    assert "root:" not in told
    for name in ("shadow", "pipe", "dir", "huge"):
        assert f"{name}.service" in told


def test_a_directory_without_units_and_one_that_is_not_there(app: App, tmp_path: Path) -> None:
    assert "no unit files" in app.run("up", "--detach", str(app.directory), status=6)
    assert "no directory" in app.run("up", "--detach", str(tmp_path / "nowhere"), status=6)


def test_a_state_directory_that_others_may_write_is_refused(app: App) -> None:
    write(app, one=SLEEPER)
    app.state.mkdir()
    app.state.chmod(0o777)
    told = app.run("up", "--detach", str(app.directory), status=7)
    assert "belong to you alone" in told


def test_a_port_that_is_taken_is_named(app: App) -> None:
    write(app, one=SLEEPER)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        listen = f"127.0.0.1:{port}"
        told = app.run("up", "--detach", "--listen", listen, str(app.directory), status=7)
    assert str(port) in told
    assert app.processes() == {}


def test_the_api_never_listens_beyond_loopback(app: App) -> None:
    write(app, one=SLEEPER)
    told = app.run("up", "--detach", "--listen", "0.0.0.0:8099", str(app.directory), status=7)
    assert "loopback" in told


def test_a_second_daemon_on_the_same_directory_is_refused(app: App) -> None:
    write(app, one=SLEEPER)
    app.up()
    second = subprocess.run(
        [ARGOSY.with_name("python"), "-m", "argosy.daemon", "--directory", str(app.state)],
        env=app.environ,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert second.returncode == 1
    assert str(app.daemon_pid()) in second.stderr
    assert "Traceback" not in second.stderr
    assert app.state_of("one.service") == "active"


def test_every_directive_that_has_no_effect_here_is_named_with_its_place(app: App) -> None:
    write(app, boxed="[Service]\nExecStart=/bin/sleep 1000\nPrivateTmp=yes\nProtectSystem=strict\n")
    (app.directory / "daily.timer").write_text(
        "[Timer]\nOnCalendar=daily\n\n[X-Fleet]\nMachineMetadata=none=here\n"
    )
    told = app.run("up", "--detach", "--timeout", "5s", str(app.directory), status=2)
    for line in (
        "boxed.service:3:1: warning: PrivateTmp=yes has no effect",
        "boxed.service:4:1: warning: ProtectSystem=strict has no effect",
        "daily.timer:2:1: warning: OnCalendar=daily has no effect",
    ):
        assert line in told
    assert app.state_of("boxed.service") == "active"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may run a unit as another user")
def test_a_unit_runs_as_the_user_and_group_that_it_names(app: App) -> None:
    write(
        app,
        other="[Service]\nType=oneshot\nUser=nobody\nGroup=daemon\nUMask=0027\n"
        "ExecStart=/bin/sh -c 'id -un; id -gn; umask; echo $HOME $USER'\n",
    )
    app.up()
    assert app.run("logs", "other.service").splitlines()[:3] == ["nobody", "daemon", "0027"]


# --- run ------------------------------------------------------------------------------------------------------------


def test_run_makes_a_unit_of_a_command_and_cat_gives_it_back_as_a_file(
    app: App, tmp_path: Path
) -> None:
    told = app.run("run", "-e", "GREETING=100% $HOME", "sh", "-c", 'echo "$GREETING"; sleep 1000')
    assert "sh.service" in told
    eventually(lambda: "100% $HOME" in app.run("logs", "sh.service"), "the words arrive unchanged")
    text = app.run("cat", "sh.service")
    file = tmp_path / "again.service"
    file.write_text(text)
    app.run("verify", "--no-systemd", str(file))
    app.run("start", str(file))
    assert app.state_of("again.service") == "active"
    app.run("run", "sh", "-c", "sleep 1000")
    assert app.state_of("sh-2.service") == "active"


def test_run_shows_the_unit_of_an_image_without_any_server(app: App) -> None:
    text = app.run(
        "run", "--dry-run", "--image", "-p", "8080:80", "-e", "A=b", "docker.io/library/nginx:1.27"
    )
    assert "[Container]\nImage=docker.io/library/nginx:1.27\n" in text
    assert "PublishPort=8080:80\n" in text
    assert app.processes() == {}
