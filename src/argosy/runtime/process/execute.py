"""One process of a unit: its environment, and the way from fork to exec.

After the fork the child sets itself up in the order in which systemd's exec_child does, and a step that fails ends it
with that step's exit code of systemd.exec(5) ("Process Exit Codes"); in words the reason goes up a pipe that closes
itself when the exec succeeds, which is also how the supervisor learns that it has (Type=exec).
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import resource
import signal
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from argosy.runtime.process import envfile
from argosy.runtime.process.expand import expand
from argosy.runtime.process.spec import DEFAULT_PATH, Command, Directories, Execution

INFINITY = resource.RLIM_INFINITY


class SetupFailed(Exception):
    """A process could not be begun at all: systemd's result `resources`."""


class _StepFailed(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, slots=True)
class Streams:
    """Where `journal` leads: the write ends of the supervisor's pipes."""

    stdout: int
    stderr: int


@dataclass(frozen=True, slots=True)
class Spawned:
    """A process that was forked."""

    pid: int
    report: int
    """Read end of its pipe: end of file when it has executed its command, else why it could not."""


def environment(
    execution: Execution,
    *,
    inherited: Mapping[str, str],
    added: Mapping[str, str],
) -> dict[str, str]:
    """The variables of a process, later ones over earlier: the search path, the user's, `added` (what the runtime tells
    it), those passed on, the unit's own, its files', without the unset ones. The order is exec_child's.

    inherited: the environment of the runtime, for PassEnvironment alone; nothing else of it reaches a unit.
    Raises SetupFailed when a file cannot be read that must be there.
    """
    variables = {"PATH": DEFAULT_PATH, **_of_user(execution.user), **added}
    for directories in execution.directories:
        if directories.names:
            paths = (os.path.join(directories.base, name) for name in directories.names)
            variables[directories.variable] = ":".join(paths)
    variables.update(
        {name: inherited[name] for name in execution.pass_environment if name in inherited}
    )
    variables.update(execution.environment)
    for path, may_be_missing in execution.environment_files:
        try:
            with open(path, "rb") as file:
                variables.update(envfile.parse(file.read()))
        except OSError as problem:
            if not may_be_missing:
                raise SetupFailed(f"EnvironmentFile={path}: {problem.strerror}") from problem
    for entry in execution.unset_environment:
        name, has_value, value = entry.partition("=")
        if not has_value or variables.get(name) == value:
            variables.pop(name, None)
    return variables


def _of_user(user: str) -> dict[str, str]:
    """What systemd sets for a service with User=, and its user manager for every service."""
    if not user and os.geteuid() == 0:
        return {}
    try:
        entry = _passwd(user) if user else pwd.getpwuid(os.geteuid())
    except KeyError:
        return {}
    return {
        "HOME": entry.pw_dir,
        "LOGNAME": entry.pw_name,
        "USER": entry.pw_name,
        "SHELL": entry.pw_shell or "/bin/sh",
    }


def _passwd(user: str) -> pwd.struct_passwd:
    return pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)


def spawn(
    command: Command,
    execution: Execution,
    *,
    variables: Mapping[str, str],
    streams: Streams,
    default_nofile: tuple[int, int],
) -> Spawned:
    """Fork, and execute the command in the child. The caller has only one thread.

    default_nofile: RLIMIT_NOFILE of units that set none.
    Raises SetupFailed when there can be no further process.
    """
    try:
        report, child_end = os.pipe()
    except OSError as problem:
        raise SetupFailed(f"no pipe: {problem.strerror}") from problem
    # A signal for the child must wait until it has let go of our handlers: they would take it for one of ours.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
    except OSError as problem:
        os.close(report)
        os.close(child_end)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        raise SetupFailed(f"no further process: {problem.strerror}") from problem
    if pid == 0:
        code = 255
        try:
            _become(command, execution, dict(variables), streams, default_nofile)
        except _StepFailed as failure:
            code = failure.code
            os.write(child_end, str(failure).encode("utf-8", "replace")[:4000])
        except BaseException as failure:  # a child must never return into the supervisor's loop
            os.write(child_end, repr(failure).encode("utf-8", "replace")[:4000])
        finally:
            os._exit(code)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.close(child_end)
    return Spawned(pid, report)


def _become(
    command: Command,
    execution: Execution,
    variables: dict[str, str],
    streams: Streams,
    default_nofile: tuple[int, int],
) -> None:
    os.setsid()
    _reset_signals(ignores_sigpipe=execution.ignores_sigpipe)
    with _step(208, "StandardInput"):
        _connect_input(execution)
    with _step(209, "StandardOutput"):
        _connect(1, execution.standard_output, inherited=0, journal=streams.stdout)
    with _step(222, "StandardError"):
        _connect_error(execution, streams)
    if execution.oom_score_adjust is not None:
        with _step(206, "OOMScoreAdjust"), open("/proc/self/oom_score_adj", "w") as file:
            file.write(str(execution.oom_score_adjust))
    if execution.nice is not None:
        with _step(201, "Nice"):
            os.setpriority(os.PRIO_PROCESS, 0, execution.nice)
    os.umask(execution.umask)
    variables["SYSTEMD_EXEC_PID"] = str(os.getpid())
    with _step(217, "User"):
        identity = _Identity.of(execution)
    for directories in execution.directories:
        with _step(directories.exit_code, directories.variable):
            _make(directories, identity)
    with _step(205, "Limit"):
        _limit(execution, default_nofile)
    if not command.is_privileged:
        identity.assume()
    _change_directory(execution, identity)
    words = expand(command.argv, variables) if command.expands_variables else command.argv
    path = command.path if command.path.startswith("/") else _found(command.path)
    with _step(203, f"cannot execute {path}"):
        os.execve(path, words or [path], variables)


@contextlib.contextmanager
def _step(code: int, what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else str(problem).strip("'\"")
        raise _StepFailed(code, f"{what}: {reason}") from problem


def _reset_signals(*, ignores_sigpipe: bool) -> None:
    """Python ignores some and the supervisor handles others; a service begins with the defaults."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    if ignores_sigpipe:
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _connect_input(execution: Execution) -> None:
    path = execution.standard_input.removeprefix("file:")
    _put(0, os.open("/dev/null" if path == "null" else path, os.O_RDONLY | os.O_NOCTTY))


def _connect_error(execution: Execution, streams: Streams) -> None:
    if execution.standard_error == "inherit" and execution.standard_output == "journal":
        os.dup2(streams.stderr, 2)  # a stream of its own, so that people see which it was
    else:
        _connect(2, execution.standard_error, inherited=1, journal=streams.stderr)


def _connect(target: int, setting: str, *, inherited: int, journal: int) -> None:
    kind, _, path = setting.partition(":")
    flags = {"file": 0, "append": os.O_APPEND, "truncate": os.O_TRUNC}
    if kind == "journal" or (kind == "inherit" and target == 1):
        # systemd too takes the journal where standard input is nothing to write to.
        os.dup2(journal, target)
    elif kind == "inherit":
        os.dup2(inherited, target)
    elif kind == "null":
        _put(target, os.open("/dev/null", os.O_WRONLY))
    else:
        _put(target, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOCTTY | flags[kind], 0o644))


def _put(target: int, descriptor: int) -> None:
    if descriptor == target:
        os.set_inheritable(target, True)
    else:
        os.dup2(descriptor, target)
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class _Identity:
    """The user and groups to take on; None leaves things as they are."""

    uid: int | None
    gid: int | None
    groups: tuple[int, ...]
    name: str
    home: str

    @classmethod
    def of(cls, execution: Execution) -> _Identity:
        """Raises KeyError for a user that does not exist."""
        uid = gid = None
        name, home = "", ""
        if execution.user:
            entry = _passwd(execution.user)
            uid, gid, name, home = entry.pw_uid, entry.pw_gid, entry.pw_name, entry.pw_dir
        else:
            with contextlib.suppress(KeyError):
                home = pwd.getpwuid(os.geteuid()).pw_dir
        try:
            if execution.group:
                gid = _gid(execution.group)
            groups = tuple(_gid(group) for group in execution.supplementary_groups)
        except KeyError as problem:
            raise _StepFailed(216, f"Group: {str(problem).strip(chr(34))}") from problem
        return cls(uid, gid, groups, name, home)

    def assume(self) -> None:
        is_same = self.uid in (None, os.geteuid()) and self.gid in (None, os.getegid())
        if is_same and not self.groups:
            return
        with _step(216, "Group"):
            if self.name and self.gid is not None:
                os.initgroups(self.name, self.gid)
            if self.groups:
                os.setgroups([*os.getgroups(), *self.groups])
            if self.gid is not None:
                os.setresgid(self.gid, self.gid, self.gid)
        with _step(217, "User"):
            if self.uid is not None:
                os.setresuid(self.uid, self.uid, self.uid)


def _gid(group: str) -> int:
    return int(group) if group.isdigit() else grp.getgrnam(group).gr_gid


def _make(directories: Directories, identity: _Identity) -> None:
    """Make the directories and what leads to them; the last component gets the mode and the user."""
    for name in directories.names:
        path = os.path.join(directories.base, name)
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path)
        # Opened without following: a link planted here must not give away what it leads to.
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            os.fchmod(descriptor, directories.mode)
            if identity.uid is not None or identity.gid is not None:
                os.fchown(descriptor, _or_keep(identity.uid), _or_keep(identity.gid))
        finally:
            os.close(descriptor)


def _or_keep(number: int | None) -> int:
    return -1 if number is None else number


def _limit(execution: Execution, default_nofile: tuple[int, int]) -> None:
    wanted: dict[str, tuple[float, float]] = {"NOFILE": default_nofile, **execution.limits}
    for name, (soft, hard) in wanted.items():
        number = getattr(resource, f"RLIMIT_{name}")
        pair = (_limit_value(soft), _limit_value(hard))
        try:
            resource.setrlimit(number, pair)
        except (ValueError, PermissionError):
            # Without privileges the hard limit cannot be raised: as near as may be, like setrlimit_closest.
            highest = resource.getrlimit(number)[1]
            resource.setrlimit(number, (_lower(pair[0], highest), _lower(pair[1], highest)))


def _limit_value(value: float) -> int:
    return INFINITY if value == float("inf") else int(value)


def _lower(one: int, other: int) -> int:
    finite = [value for value in (one, other) if value != INFINITY]
    return min(finite) if finite else INFINITY


def _change_directory(execution: Execution, identity: _Identity) -> None:
    path = execution.working_directory
    if path == "~" or (not path and os.geteuid() != 0):
        path = identity.home
    path = path or "/"
    try:
        with _step(200, f"WorkingDirectory={path}"):
            os.chdir(path)
    except _StepFailed:
        if not execution.may_lack_working_directory and execution.working_directory:
            raise
        os.chdir("/")


def _found(name: str) -> str:
    for directory in DEFAULT_PATH.split(":"):
        path = os.path.join(directory, name)
        with contextlib.suppress(OSError):
            if stat.S_ISREG(os.stat(path).st_mode) and os.access(path, os.X_OK):
                return path
    raise _StepFailed(203, f"cannot execute {name}: not found in {DEFAULT_PATH}")


def remove_runtime_directories(execution: Execution, remove: Callable[[str], None]) -> None:
    """Take RuntimeDirectory= away again with all that is in it."""
    for directories in execution.directories:
        if directories.variable == "RUNTIME_DIRECTORY":
            for name in directories.names:
                remove(os.path.join(directories.base, name))
