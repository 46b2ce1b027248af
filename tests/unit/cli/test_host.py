"""What `argosy doctor` makes of a host: each thing that can be wrong is made wrong."""

from __future__ import annotations

import resource
import socket
from pathlib import Path

import pytest

from argosy.cli import exits, main
from argosy.cli.findings import Finding, Level
from argosy.cli.host import look_at_host


def finding(state: Path, subject: str) -> Finding:
    [found] = [one for one in look_at_host(state) if one.subject == subject]
    return found


def test_a_private_state_directory_is_good(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert finding(tmp_path, "state") == Finding(Level.GOOD, "state", f"{tmp_path} is yours alone")


def test_a_state_directory_open_to_others_is_bad_and_the_command_to_close_it_is_given(
    tmp_path: Path,
) -> None:
    tmp_path.chmod(0o755)
    found = finding(tmp_path, "state")
    assert found.level is Level.BAD
    assert found.next_step == f"chmod 700 {tmp_path}"


def test_no_state_directory_is_nothing_bad(tmp_path: Path) -> None:
    assert finding(tmp_path / "none", "state").level is Level.GOOD


def test_a_file_in_the_place_of_the_state_directory_is_bad(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert finding(tmp_path / "file", "state").level is Level.BAD


def test_disk_space_is_that_of_the_nearest_directory_that_exists(tmp_path: Path) -> None:
    found = finding(tmp_path / "a/b/c", "disk space")
    assert str(tmp_path) in found.text


def test_few_open_files_are_warned_about(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        assert finding(tmp_path, "open files").level is Level.WARNING
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert finding(tmp_path, "python").level is Level.GOOD


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `docker` on PATH and nothing else; its daemon's socket is at the path given."""
    program = tmp_path / "bin/docker"
    program.parent.mkdir()
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    path = tmp_path / "docker.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    return path


def test_docker_without_its_daemon_is_warned_about(docker: Path, tmp_path: Path) -> None:
    found = finding(tmp_path, "docker")
    assert found.level is Level.WARNING
    assert found.next_step == "systemctl start docker"


def test_docker_with_its_daemon_is_good(docker: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(docker))
        daemon.listen()
        assert finding(tmp_path, "docker").level is Level.GOOD


def test_a_host_without_containers_is_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert finding(tmp_path, "containers").level is Level.GOOD


def test_without_a_server_doctor_says_how_to_start_one_and_looks_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ARGOSY_STATE_DIR", str(tmp_path))
    monkeypatch.delenv("ARGOSY_ENDPOINT", raising=False)
    assert main.main(["doctor"]) == exits.FAILED
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("bad   server      no server answers at")
    assert said[1] == "                  -> start one: argosy up"
    assert said[-1].endswith("to look at")
    assert any(line.startswith("ok    sqlite") for line in said)
