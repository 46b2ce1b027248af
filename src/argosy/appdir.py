"""Reading unit files and app directories from disk, guarded.

A directory that somebody else can write to must not make us read /etc/shadow through a link, wait for ever on a FIFO, or
fill the memory with a file of gigabytes. So every file is opened without following a link and without blocking, judged by
what was opened rather than by its name, and read up to the limit of a unit file. What the bytes mean is `units.app`'s to
say.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from argosy.errors import Invalid, NotFound
from argosy.units import app
from argosy.units.diagnostics import printable
from argosy.units.text import MAX_BYTES

MAX_FILES = 10_000
"""Most files that one app may have."""


def read_unit_file(path: Path) -> bytes:
    """The bytes of one unit file.

    The last part of the path must be a regular file; directories on the way may be links, they are the caller's choice.
    Raises NotFound, and Invalid for a link, a directory, a FIFO or device, more than MAX_BYTES, and binary content.
    """
    return _read(path, shown=str(path))


def read_app(directory: Path) -> dict[str, bytes]:
    """The files of an app, by path within the directory (`web@.service`, `environments/prod.env`), sorted.

    Files that do not belong to an app are not opened. Raises NotFound when there is no such directory, and Invalid with
    one problem for each file that cannot be taken.
    """
    if not directory.is_dir():
        if directory.exists():
            raise Invalid(
                f"{directory} is no directory", hint=f"give its directory: {directory.parent}"
            )
        raise NotFound(f"there is no directory {directory}")
    names = [entry for entry in _listed(directory) if app.belongs(entry)]
    environments = directory / app.ENVIRONMENTS.rstrip("/")
    if environments.is_dir() and not environments.is_symlink():
        inside = (app.ENVIRONMENTS + entry for entry in _listed(environments))
        names += [entry for entry in inside if app.belongs(entry)]
    if len(names) > MAX_FILES:
        raise Invalid(f"{directory} has {len(names)} files, an app may have {MAX_FILES}")
    files: dict[str, bytes] = {}
    wrong: list[Invalid] = []
    for name in sorted(names):
        try:
            files[name] = _read(directory / name, shown=name)
        except Invalid as problem:
            wrong.append(problem)
        except NotFound:
            continue  # gone since the listing
    if wrong:
        problems = tuple(problem for one in wrong for problem in one.problems)
        raise Invalid(problems[0], problems=problems, hint=wrong[0].hint)
    return files


def _listed(directory: Path) -> list[str]:
    try:
        return [entry.name for entry in directory.iterdir()]
    except OSError as error:
        raise Invalid(f"cannot list {directory}: {error.strerror}") from error


def _read(path: Path, *, shown: str) -> bytes:
    try:
        # O_NONBLOCK: opening a FIFO that nobody writes to would wait; on a regular file it means nothing.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _refused(shown, "it is a link", "replace it with the file itself") from None
        if error.errno == errno.ENXIO:
            raise _refused(shown, "it is a socket", "unit files are regular files") from None
        raise _refused(shown, error.strerror or str(error), "") from error
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise _refused(shown, f"it is {_kind(mode)}", "unit files are regular files")
        with open(descriptor, "rb", closefd=False) as file:
            # One byte more than allowed tells a file that is too large, whatever its size claims to be.
            data = file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(data) > MAX_BYTES:
        raise _refused(
            shown, f"it has more than {MAX_BYTES} bytes", "a unit file has at most 1 MiB"
        )
    if b"\0" in data:
        raise _refused(shown, "it is binary: it has NUL bytes", "unit files are text")
    return data


def _refused(shown: str, what: str, hint: str) -> Invalid:
    problem = f"{printable(shown)}:1:1: error: cannot be read as a unit file: {what}"
    return Invalid(problem, problems=(problem,), hint=hint)


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a directory"
    if stat.S_ISFIFO(mode):
        return "a FIFO"
    return "a device" if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else "no regular file"
