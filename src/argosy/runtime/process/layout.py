"""The runtime's directory: where what stands, and how a small file is written whole.

    DIRECTORY/            0700
      lock                held (flock) by the runtime that has it open
      units/KEY.json      an installed unit: name, digest, text, added variables
      run/KEY.json        the last state of its supervisor: status, processes, start limit
      run/SOCKET          where the living supervisor listens
      logs/KEY.log        its output, newest last; logs/KEY.log.1 is what was before

KEY is the unit's name, or for names too long for a file name its beginning and a hash. A socket's address may have 107
bytes, so sockets have hashed names and are reached through /proc/self/fd/N, whatever the directory's own length.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

_LONGEST_KEY = 200


def key_of(name: str) -> str:
    """The unit's part of file names."""
    raw = name.encode()
    if len(raw) <= _LONGEST_KEY:
        return name
    return raw[: _LONGEST_KEY - 33].decode("utf-8", "ignore") + "~" + _hash(name)


def socket_of(name: str) -> str:
    """File name of the supervisor's socket."""
    return _hash(name) + ".sock"


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:32]


class Layout:
    """Paths below one runtime directory. Makes nothing by itself."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.units = directory / "units"
        self.run = directory / "run"
        self.logs = directory / "logs"
        self.lock = directory / "lock"

    def make(self) -> None:
        """Make what is missing, readable for its owner alone. Raises OSError."""
        for path in (self.directory, self.units, self.run, self.logs):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory.chmod(0o700)

    def unit(self, name: str) -> Path:
        return self.units / f"{key_of(name)}.json"

    def state(self, name: str) -> Path:
        return self.run / f"{key_of(name)}.json"

    def log(self, name: str) -> Path:
        return self.logs / f"{key_of(name)}.log"


def write_json(path: Path, value: object) -> None:
    """Replace the file, whole or not at all. Not synced: what it tells of does not survive a power cut either."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(json.dumps(value).encode())
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def read_json(path: Path) -> dict[str, Any] | None:
    """None when there is no such file, or none that can be read as what we write."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
