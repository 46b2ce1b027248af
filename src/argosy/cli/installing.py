"""Makes a systemd service of a daemon: the unit file that comes with this package, with the path of this program in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

from argosy.errors import Permanent
from argosy.pki import files

UNITS = Path("/etc/systemd/system")
GROUP = "argosy"
_PROGRAM = "/usr/bin/argosy"


def require() -> None:
    """Raises Permanent where no service can be made: said before anything is done."""
    if not Path("/run/systemd/system").is_dir():
        raise Permanent(
            "systemd does not run this host, so there is no service to make",
            hint="leave --install out, and have your own service manager run it",
        )
    if os.geteuid() != 0:
        raise Permanent("making a service needs root", hint="the same command with sudo")


def install(name: str) -> None:
    """Install, enable and start `NAME.service`; returns when it says that it is ready. Raises Permanent."""
    text = resources.files("argosy.daemon").joinpath("units", f"{name}.service").read_text()
    files.write_public(UNITS / f"{name}.service", text.replace(_PROGRAM, program()).encode())
    _systemctl("daemon-reload")
    _systemctl("enable", "--now", f"{name}.service")


def make_group() -> None:
    """Have the group whose members may use the server's socket."""
    if subprocess.run(["getent", "group", GROUP], capture_output=True).returncode == 0:
        return
    _run("groupadd", "--system", GROUP)


def program() -> str:
    """The path under which this program is found again."""
    here = Path(sys.argv[0])
    if here.name == "argosy" and here.exists():
        return str(here.absolute())
    return shutil.which("argosy") or str(Path(sys.executable).with_name("argosy"))


def _systemctl(*words: str) -> None:
    _run("systemctl", *words)


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise Permanent(
            f"{' '.join(words)}: {said[0] if said else f'exit code {done.returncode}'}",
            hint=f"journalctl -e -u {words[-1]}" if words[0] == "systemctl" else "",
        )
