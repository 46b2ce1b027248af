"""What `argosy doctor` looks at on this host: Python, SQLite, the state directory, room, limits, docker, systemd."""

from __future__ import annotations

import importlib.util
import os
import platform
import resource
import shutil
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from argosy.cli.findings import Finding, bad, good, warning

FREE_BYTES = 512 * 2**20
FREE_SHARE = 0.03
OPEN_FILES = 1024
SOCKET_SECONDS = 2.0
DOCKER_SOCKET = "/var/run/docker.sock"


def look_at_host(state: Path) -> Iterator[Finding]:
    yield _python()
    yield _sqlite()
    yield from _state_directory(state)
    yield _disk_space(state)
    yield _open_files()
    yield from _engines()
    yield _systemd()


def _python() -> Finding:
    return good("python", f"{platform.python_version()} at {sys.executable}")


def _sqlite() -> Finding:
    # Asked for without importing it: SQLite belongs to `store/`.
    if importlib.util.find_spec("_sqlite3") is None:
        return bad("sqlite", "this Python was built without it", "use another Python")
    return good("sqlite", "this Python has it")


def _state_directory(state: Path) -> Iterator[Finding]:
    subject = "state"
    try:
        status = state.stat()
    except FileNotFoundError:
        yield good(subject, f"{state} is not there yet; argosy up makes it")
        return
    except OSError as problem:
        yield bad(subject, f"{state}: {problem.strerror}", f"ls -ld {state}")
        return
    if not stat.S_ISDIR(status.st_mode):
        yield bad(subject, f"{state} is no directory", f"move it away: mv {state} {state}.old")
    elif status.st_uid != os.geteuid():
        yield bad(subject, f"{state} belongs to another user", f"chown -R $USER {state}")
    elif status.st_mode & 0o077:
        yield bad(
            subject,
            f"{state} is open to others, who could run programs as you",
            f"chmod 700 {state}",
        )
    elif not os.access(state, os.W_OK | os.X_OK):
        yield bad(subject, f"{state} cannot be written to", f"chmod 700 {state}")
    else:
        yield good(subject, f"{state} is yours alone")


def _disk_space(state: Path) -> Finding:
    there = next(place for place in (state, *state.parents) if place.exists())
    usage = shutil.disk_usage(there)
    text = f"{usage.free / 2**30:.1f} GiB free of {usage.total / 2**30:.1f} GiB at {there}"
    if usage.free < FREE_BYTES or usage.free < FREE_SHARE * usage.total:
        return warning(
            "disk space", f"{text}: a full disk stops changes", f"make room: du -xh {there}"
        )
    return good("disk space", text)


def _open_files() -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < OPEN_FILES:
        return warning(
            "open files", f"at most {soft}: some hundred units need more", "ulimit -n 4096"
        )
    return good("open files", "no limit" if soft == resource.RLIM_INFINITY else f"at most {soft}")


def _engines() -> Iterator[Finding]:
    docker, podman = shutil.which("docker"), shutil.which("podman")
    if podman:
        yield good("podman", podman)
    if docker:
        yield _docker(docker)
    if not docker and not podman:
        yield good("containers", "neither docker nor podman; .container units cannot run here")


def _docker(program: str) -> Finding:
    """Whether its daemon answers is learnt from the socket: `docker info` would take seconds."""
    host = os.environ.get("DOCKER_HOST", f"unix://{DOCKER_SOCKET}")
    if not host.startswith("unix://"):
        return good("docker", f"{program}, daemon at {host}")
    path = host.removeprefix("unix://")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(SOCKET_SECONDS)
        try:
            sock.connect(path)
        except PermissionError:
            return warning(
                "docker", f"you may not use {path}", "become a member of the group docker"
            )
        except OSError as problem:
            return warning(
                "docker",
                f"{program} is there, its daemon does not answer at {path}: {problem.strerror}",
                "systemctl start docker",
            )
    return good("docker", f"{program}, daemon answers")


def _systemd() -> Finding:
    if Path("/run/systemd/system").is_dir():
        return good(
            "systemd", "runs this host; argosy up runs units as plain processes all the same"
        )
    return good("systemd", "does not run this host; argosy up needs none")
