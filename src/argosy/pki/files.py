"""Keys and certificates on disk: written whole or not at all, keys readable by their owner only, no link followed.

A key is never for a moment readable by others, nor half there after a power cut: it is written beside its place with
mode 0600, forced to disk, and renamed.
"""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from argosy.errors import Invalid, NotFound

MAX_BYTES = 256 * 1024


def write_private(path: Path, content: bytes) -> None:
    """Replace the file by one that only its owner can read. Raises OSError as the disk does."""
    _write(path, content, 0o600)


def write_public(path: Path, content: bytes) -> None:
    """Replace the file by one that everybody can read: a certificate is no secret."""
    _write(path, content, 0o644)


def read_private(path: Path) -> bytes:
    """A key. Raises NotFound, and Invalid when others could have read it or it is no regular file."""
    content, mode = _read(path)
    if mode & 0o077:
        raise Invalid(
            f"{path} can be read by others, so it is no secret any more",
            hint=f"chmod 600 {path}, and renew it if others are on this machine",
        )
    return content


def read_public(path: Path) -> bytes:
    """A certificate. Raises NotFound, and Invalid when it is no regular file."""
    return _read(path)[0]


def _write(path: Path, content: bytes, mode: int) -> None:
    beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(beside, flags, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _read(path: Path) -> tuple[bytes, int]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as problem:
        raise NotFound(f"there is no file {path}") from problem
    except OSError as problem:
        raise Invalid(f"{path} cannot be read: {problem.strerror}") from problem
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise Invalid(f"{path} is no regular file")
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise Invalid(f"{path} is too large for a key or certificate")
    return content, stat.S_IMODE(found.st_mode)
