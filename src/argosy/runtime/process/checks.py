"""Condition...= and Assert...=: what must hold for a start to be tried (systemd.unit(5), condition.c).

All must hold; of those marked `|` (triggers) one is enough. Asserts are looked at after conditions.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from glob import iglob

from argosy.runtime.process.spec import Check


def first_failure(checks: list[Check]) -> Check | None:
    """The check that keeps the unit from being started; None when it may be."""
    for is_assert in (False, True):
        group = [check for check in checks if check.is_assert is is_assert]
        for check in group:
            if not check.is_trigger and not _holds(check):
                return check
        triggers = [check for check in group if check.is_trigger]
        if triggers and not any(map(_holds, triggers)):
            return triggers[-1]
    return None


def _holds(check: Check) -> bool:
    found = False
    with contextlib.suppress(OSError, ValueError):
        found = TESTS[check.directive](check.parameter)
    return found is not check.is_negated


def _is_not_empty_directory(path: str) -> bool:
    with os.scandir(path) as entries:
        return any(True for _ in entries)


def _is_not_empty_file(path: str) -> bool:
    status = os.stat(path)
    return stat.S_ISREG(status.st_mode) and status.st_size > 0


def _is_executable_file(path: str) -> bool:
    status = os.stat(path)
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & 0o111)


def _is_writable_mount(path: str) -> bool:
    return os.path.exists(path) and not os.statvfs(path).f_flag & os.ST_RDONLY


def _is_user(name: str) -> bool:
    uid = os.getuid()
    if name == "@system":
        return uid < 1000 or uid == 65534
    if name.isdigit():
        return int(name) == uid
    try:
        return pwd.getpwnam(name).pw_uid == uid
    except KeyError:
        return False


def _has_environment(entry: str) -> bool:
    name, has_value, value = entry.partition("=")
    return os.environ.get(name) == value if has_value else name in os.environ


TESTS: Mapping[str, Callable[[str], bool]] = {
    "PathExists": os.path.exists,
    "PathExistsGlob": lambda pattern: any(True for _ in iglob(pattern)),
    "PathIsDirectory": os.path.isdir,
    "PathIsSymbolicLink": os.path.islink,
    "PathIsMountPoint": os.path.ismount,
    "PathIsReadWrite": _is_writable_mount,
    "DirectoryNotEmpty": _is_not_empty_directory,
    "FileNotEmpty": _is_not_empty_file,
    "FileIsExecutable": _is_executable_file,
    "Host": lambda pattern: fnmatchcase(os.uname().nodename, pattern),
    "User": _is_user,
    "Environment": _has_environment,
}
"""By directive, without its `Condition` or `Assert`. Environment is the runtime's."""
