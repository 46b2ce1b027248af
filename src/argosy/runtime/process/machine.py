"""What units may say of the machine that they run on: specifiers such as `%H` and `%t`, and where directories are made.

As root the places are the system's, else the user's own, by the XDG variables: those of systemd's system and user
managers (systemd.unit(5), "Specifiers"; systemd.exec(5), RuntimeDirectory=).
"""

from __future__ import annotations

import os
import platform
import pwd
from collections.abc import Mapping
from pathlib import Path

from argosy.runtime.process import tree
from argosy.runtime.process.load import Machine


def describe(environment: Mapping[str, str] = os.environ) -> Machine:
    """This machine, as this user sees it."""
    uid = os.geteuid()
    try:
        entry = pwd.getpwuid(uid)
        user, home, shell = entry.pw_name, entry.pw_dir, entry.pw_shell or "/bin/sh"
    except KeyError:
        user, home, shell = str(uid), environment.get("HOME", "/"), "/bin/sh"
    bases = _bases(uid, home, environment)
    host = os.uname().nodename
    temporary = environment.get("TMPDIR", "/tmp")  # noqa: S108  systemd's %T
    specifiers = {
        "a": platform.machine().replace("_", "-").replace("aarch64", "arm64"),
        "b": tree.boot_id().replace("-", ""),
        "C": bases["Cache"],
        "E": bases["Configuration"],
        "g": str(os.getegid()) if uid else "root",
        "G": str(os.getegid()),
        "h": home,
        "H": host,
        "l": host.partition(".")[0],
        "L": bases["Logs"],
        "s": shell,
        "S": bases["State"],
        "t": bases["Runtime"],
        "T": temporary,
        "u": user,
        "U": str(uid),
        "v": os.uname().release,
        "V": environment.get("TMPDIR", "/var/tmp"),  # noqa: S108  systemd's %V
    }
    machine_id = _first_line("/etc/machine-id")
    if machine_id:
        specifiers["m"] = machine_id
    specifiers |= _of_release()
    return Machine(specifiers=specifiers, bases=bases)


def _bases(uid: int, home: str, environment: Mapping[str, str]) -> dict[str, str]:
    if uid == 0:
        return {
            "Runtime": "/run",
            "State": "/var/lib",
            "Cache": "/var/cache",
            "Logs": "/var/log",
            "Configuration": "/etc",
        }
    state = environment.get("XDG_STATE_HOME") or f"{home}/.local/state"
    return {
        "Runtime": environment.get("XDG_RUNTIME_DIR") or f"{state}/argosy/runtime",
        "State": state,
        "Cache": environment.get("XDG_CACHE_HOME") or f"{home}/.cache",
        "Logs": f"{state}/log",
        "Configuration": environment.get("XDG_CONFIG_HOME") or f"{home}/.config",
    }


def _of_release() -> dict[str, str]:
    """`%o`, `%w` and their like, from os-release(5); empty for what it does not say, as in systemd."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return {}
    keys = {
        "o": "ID",
        "w": "VERSION_ID",
        "B": "BUILD_ID",
        "W": "VARIANT_ID",
        "M": "IMAGE_ID",
        "A": "IMAGE_VERSION",
    }
    return {letter: release.get(key, "") for letter, key in keys.items()}


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
