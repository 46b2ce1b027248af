"""A unit's text into what is run: the directives that this runtime honours, read as systemd reads them. Pure.

A value that systemd would ignore with a warning is ignored here, too, and said in `warnings`; what makes systemd refuse
the unit ("bad unit file setting") raises BadSetting. Source: systemd.service(5), .exec(5), .kill(5), .unit(5) of version
252, load-fragment.c, service_verify in service.c.
"""

from __future__ import annotations

import math
import re
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

from argosy.errors import Invalid
from argosy.runtime.process import exits
from argosy.runtime.process.checks import TESTS
from argosy.runtime.process.directives import DIRECTORIES, LIMITS, SERVICE_VALUES
from argosy.runtime.process.spec import (
    Check,
    Command,
    Directories,
    Execution,
    ExitSet,
    Service,
)
from argosy.units import commands, names, quoting, specifiers, values
from argosy.units.loading import COMMANDS, dependencies
from argosy.units.text import Entry, UnitText
from argosy.units.values import BadValue

T = TypeVar("T")

RESTARTS = frozenset(
    {"no", "on-success", "on-failure", "on-abnormal", "on-watchdog", "on-abort", "always"}
)
KILL_MODES = frozenset({"control-group", "mixed", "process", "none"})
_DIRECTORY_EXITS = {"Runtime": 233, "State": 238, "Cache": 239, "Logs": 240, "Configuration": 241}
_SIZES = {"AS", "CORE", "DATA", "FSIZE", "MEMLOCK", "MSGQUEUE", "RSS", "STACK"}


class BadSetting(Exception):
    """The text makes no unit that could be run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """The units that a unit names, by what for."""

    requires: frozenset[str] = frozenset()
    requisite: frozenset[str] = frozenset()
    wants: frozenset[str] = frozenset()
    binds_to: frozenset[str] = frozenset()
    part_of: frozenset[str] = frozenset()
    conflicts: frozenset[str] = frozenset()
    after: frozenset[str] = frozenset()
    before: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What of the machine a unit's text may speak of."""

    specifiers: Mapping[str, str]
    """By letter, those of `units.specifiers.MACHINE` that are known."""
    bases: Mapping[str, str]
    """By `Runtime`, `State`, `Cache`, `Logs`, `Configuration`: where RuntimeDirectory= and its like are made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A unit that can be run."""

    service: Service
    dependencies: Dependencies
    warnings: tuple[str, ...] = field(default=())


def load(
    name: str,
    text: bytes,
    *,
    machine: Machine,
    digest: str = "",
    environment: Mapping[str, str] | None = None,
) -> Loaded:
    """Read a service's text. environment: variables below those of the text. Raises BadSetting."""
    try:
        parts = names.parse(name)
    except Invalid as problem:
        raise BadSetting(problem.message) from problem
    if parts.is_template:
        raise BadSetting(f"{name} is a template: only its instances can be run")
    reader = _Reader(UnitText.parse(text, file=name), parts, machine)
    service = reader.service(digest, environment or {})
    return Loaded(
        service=service, dependencies=reader.dependencies(), warnings=tuple(reader.warnings)
    )


class _Reader:
    """One text being read; each method takes one group of directives."""

    def __init__(self, text: UnitText, name: names.NameParts, machine: Machine) -> None:
        self._text = text
        self._name = name
        self._machine = machine
        self.warnings: list[str] = []

    def service(self, digest: str, environment: Mapping[str, str]) -> Service:
        kind = self._type()
        service = Service(
            name=self._name.full,
            digest=digest,
            type=kind,
            commands=self._commands(),
            checks=self._checks(),
            execution=self._execution(environment),
            remains_after_exit=self._one("RemainAfterExit", values.boolean, False),
            pid_file=self._pid_file(),
            guesses_main_pid=self._one("GuessMainPID", values.boolean, True),
            restart=self._one("Restart", _word(RESTARTS), "no"),
            restart_seconds=self._one("RestartSec", _seconds, 0.1),
            success=self._exits("SuccessExitStatus"),
            restart_prevent=self._exits("RestartPreventExitStatus"),
            restart_force=self._exits("RestartForceExitStatus"),
            watchdog_seconds=_zero_if_never(self._one("WatchdogSec", _seconds, 0.0)),
            runtime_max_seconds=self._one("RuntimeMaxSec", _timeout, math.inf),
        )
        self._start_limit(service)
        self._timeouts(service)
        self._killing(service)
        default = "main" if kind == "notify" or service.watchdog_seconds else "none"
        access = self._one("NotifyAccess", _word({"none", "main", "exec", "all"}), "none")
        service.notify_access = default if access == "none" else access
        self._verify(service)
        return service

    def dependencies(self) -> Dependencies:
        def of(key: str) -> frozenset[str]:
            found = set()
            for _, word in dependencies(self._text, key):
                try:
                    found.add(self._expand(word.text))
                except BadValue as problem:
                    self.warnings.append(f"{key}={word.text}: {problem.message}")
            return frozenset(found - {self._name.full})

        return Dependencies(
            requires=of("Requires"),
            requisite=of("Requisite"),
            wants=of("Wants"),
            binds_to=of("BindsTo"),
            part_of=of("PartOf"),
            conflicts=of("Conflicts"),
            after=of("After"),
            before=of("Before"),
        )

    # --- what is run -------------------------------------------------------------------------------------------

    def _type(self) -> str:
        kind = self._text.last("Service", "Type")
        if kind is None:
            kind = "dbus" if self._text.last("Service", "BusName") else "simple"
        if kind in ("dbus", "notify-reload"):
            raise BadSetting(f"Type={kind} needs systemd; the process runtime has it not")
        if kind not in SERVICE_VALUES["Type"]:
            self.warnings.append(f"Type={kind} is ignored: no such type")
            kind = "simple"
        return "simple" if kind == "idle" else kind

    def _commands(self) -> dict[str, list[Command]]:
        found: dict[str, list[Command]] = {}
        for directive in COMMANDS:
            listed = [
                self._command(directive, entry, command)
                for entry in self._text.assigned("Service", directive)
                for command in self._split_commands(directive, entry)
            ]
            if listed:
                found[directive] = listed
        return found

    def _split_commands(self, directive: str, entry: Entry) -> tuple[commands.Command, ...]:
        try:
            return commands.read(entry.value)
        except BadValue as problem:
            raise BadSetting(f"{directive}={entry.value}: {problem.message}") from problem

    def _command(self, directive: str, entry: Entry, command: commands.Command) -> Command:
        try:
            expanded = command.map(self._expand)
        except BadValue as problem:
            raise BadSetting(f"{directive}={entry.value}: {problem.message}") from problem
        return Command(
            directive=directive,
            line=entry.value,
            path=expanded.path,
            argv=list(expanded.argv),
            ignores_failure=expanded.may_fail,
            expands_variables=expanded.expands_variables,
            is_privileged=bool(expanded.privileges),
        )

    def _checks(self) -> list[Check]:
        found: list[Check] = []
        for entry in self._text.entries:
            kind = next((k for k in ("Condition", "Assert") if entry.key.startswith(k)), "")
            test = entry.key.removeprefix(kind)
            if entry.section != "Unit" or not kind or test not in TESTS:
                continue
            if not entry.value:
                # An empty assignment of any condition takes all of them back.
                found = [check for check in found if check.is_assert is not (kind == "Assert")]
                continue
            marks, parameter = re.fullmatch(r"([|!]*)\s*(.*)", entry.value, re.DOTALL).groups()  # type: ignore[union-attr]
            try:
                found.append(
                    Check(
                        directive=test,
                        parameter=self._expand(parameter),
                        is_assert=kind == "Assert",
                        is_trigger="|" in marks,
                        is_negated="!" in marks,
                    )
                )
            except BadValue as problem:
                self.warnings.append(f"{entry.key}={entry.value} is ignored: {problem.message}")
        return found

    def _verify(self, service: Service) -> None:
        starts = service.commands.get("ExecStart", [])
        if not starts:
            if not service.commands.get("ExecStop"):
                raise BadSetting("the service has neither ExecStart= nor ExecStop=")
            if service.type != "oneshot" and not service.remains_after_exit:
                raise BadSetting("a service without ExecStart= needs RemainAfterExit=yes")
            service.type = "oneshot"
        if len(starts) > 1 and service.type != "oneshot":
            raise BadSetting("more than one ExecStart=, which only Type=oneshot may have")
        if service.type == "oneshot" and service.restart in ("always", "on-success"):
            raise BadSetting(f"Restart={service.restart} is not allowed for Type=oneshot")

    # --- how it is run -----------------------------------------------------------------------------------------

    def _execution(self, environment: Mapping[str, str]) -> Execution:
        execution = Execution(
            environment={**environment, **self._environment()},
            environment_files=self._environment_files(),
            pass_environment=self._words("PassEnvironment"),
            unset_environment=self._words("UnsetEnvironment"),
            user=self._one("User", str, ""),
            group=self._one("Group", str, ""),
            supplementary_groups=self._words("SupplementaryGroups"),
            umask=self._one("UMask", _mode, 0o022),
            limits=self._limits(),
            nice=self._one("Nice", _number(-20, 19), None),
            oom_score_adjust=self._one("OOMScoreAdjust", _number(-1000, 1000), None),
            ignores_sigpipe=self._one("IgnoreSIGPIPE", values.boolean, True),
            directories=self._directories(),
            keeps_runtime_directory=self._one("RuntimeDirectoryPreserve", _preserve, "no"),
            standard_input=self._one("StandardInput", _stream, "null"),
            standard_output=self._one("StandardOutput", _stream, "journal"),
            standard_error=self._one("StandardError", _stream, "inherit"),
        )
        directory = self._one("WorkingDirectory", str, "")
        execution.may_lack_working_directory = directory.startswith("-")
        execution.working_directory = directory.removeprefix("-")
        if not execution.working_directory.startswith(("/", "~")) and directory:
            self.warnings.append(f"WorkingDirectory={directory} is ignored: not an absolute path")
            execution.working_directory = ""
        return execution

    def _environment(self) -> dict[str, str]:
        found = {}
        for word in self._words("Environment"):
            name, equals, value = word.partition("=")
            if equals and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                found[name] = value
            else:
                self.warnings.append(f"Environment={word} is ignored: not NAME=value")
        return found

    def _environment_files(self) -> list[tuple[str, bool]]:
        found = []
        for value in self._each("EnvironmentFile"):
            path = value.removeprefix("-")
            if path.startswith("/"):
                found.append((path, value != path))
            else:
                self.warnings.append(f"EnvironmentFile={value} is ignored: not an absolute path")
        return found

    def _limits(self) -> dict[str, tuple[float, float]]:
        found = {}
        for name in LIMITS:
            limit = self._one(f"Limit{name}", lambda text, name=name: _limit(name, text), None)  # type: ignore[misc]
            if limit is not None:
                found[name] = limit
        return found

    def _directories(self) -> list[Directories]:
        found = []
        for kind in DIRECTORIES:
            listed = []
            for word in self._words(f"{kind}Directory"):
                parts = word.split("/")
                if word.startswith("/") or ".." in parts or "" in parts or "." in parts:
                    self.warnings.append(f"{kind}Directory={word} is ignored: not a path below")
                else:
                    listed.append(word)
            if listed:
                found.append(
                    Directories(
                        variable=f"{kind.upper()}_DIRECTORY",
                        base=self._machine.bases[kind],
                        names=listed,
                        mode=self._one(f"{kind}DirectoryMode", _mode, 0o755),
                        exit_code=_DIRECTORY_EXITS[kind],
                    )
                )
        return found

    def _pid_file(self) -> str:
        path = self._one("PIDFile", str, "")
        if path and not path.startswith("/"):
            path = f"{self._machine.bases['Runtime']}/{path}"
        return path

    # --- limits in time, and the end ---------------------------------------------------------------------------

    def _start_limit(self, service: Service) -> None:
        """In [Unit] since version 230, in [Service] before; both are read."""
        for section, key in (
            ("Service", "StartLimitInterval"),
            ("Unit", "StartLimitInterval"),
            ("Unit", "StartLimitIntervalSec"),
        ):
            service.start_limit_seconds = self._one(
                key, _seconds, service.start_limit_seconds, section=section
            )
        for section in ("Service", "Unit"):
            service.start_limit_burst = self._one(
                "StartLimitBurst", _number(0, 2**31), service.start_limit_burst, section=section
            )

    def _timeouts(self, service: Service) -> None:
        """TimeoutSec= sets two of them, so here the order in the file matters."""
        service.timeout_start_seconds = math.inf if service.type == "oneshot" else 90.0
        abort: float | None = None
        for entry in self._text.entries:
            if entry.section != "Service" or not re.fullmatch(
                "Timeout(Start|Stop|Abort)?Sec", entry.key
            ):
                continue
            seconds = self._read(entry, _timeout)
            if seconds is None:
                continue
            if entry.key in ("TimeoutStartSec", "TimeoutSec"):
                service.timeout_start_seconds = seconds
            if entry.key in ("TimeoutStopSec", "TimeoutSec"):
                service.timeout_stop_seconds = seconds
            if entry.key == "TimeoutAbortSec":
                abort = seconds
        service.timeout_abort_seconds = service.timeout_stop_seconds if abort is None else abort

    def _killing(self, service: Service) -> None:
        service.kill_mode = self._one("KillMode", _word(KILL_MODES), "control-group")
        service.kill_signal = self._one("KillSignal", signal_number, int(signal.SIGTERM))
        service.restart_kill_signal = self._one(
            "RestartKillSignal", signal_number, service.kill_signal
        )
        service.final_kill_signal = self._one("FinalKillSignal", signal_number, int(signal.SIGKILL))
        service.watchdog_signal = self._one("WatchdogSignal", signal_number, int(signal.SIGABRT))
        service.sends_sigkill = self._one("SendSIGKILL", values.boolean, True)
        service.sends_sighup = self._one("SendSIGHUP", values.boolean, False)

    def _exits(self, key: str) -> ExitSet:
        found = ExitSet()
        for word in self._words(key):
            if word.isdigit() and int(word) < 256:
                found.codes.append(int(word))
            elif word in exits.CODES:
                found.codes.append(exits.CODES[word])
            else:
                try:
                    found.signals.append(signal_number(word))
                except BadValue:
                    self.warnings.append(f"{key}={word} is ignored: no exit status")
        return found

    # --- reading values ----------------------------------------------------------------------------------------

    def _one(
        self, key: str, read: Callable[[str], T], default: T, *, section: str = "Service"
    ) -> T:
        """The last assignment that can be read; what cannot is ignored, as systemd does."""
        for entry in reversed(self._text.assigned(section, key)):
            value = self._read(entry, read)
            if value is not None:
                return value
        return default

    def _read(self, entry: Entry, read: Callable[[str], T]) -> T | None:
        if not entry.value:
            return None
        try:
            return read(self._expand(entry.value))
        except BadValue as problem:
            self.warnings.append(f"{entry.key}={entry.value} is ignored: {problem.message}")
            return None

    def _each(self, key: str) -> list[str]:
        read = (self._read(entry, str) for entry in self._text.assigned("Service", key))
        return [value for value in read if value is not None]

    def _words(self, key: str) -> list[str]:
        """The words of all assignments. Specifiers are expanded in each word: their values are never split."""
        found: list[str] = []
        for entry in self._text.assigned("Service", key):
            try:
                listed = quoting.split(entry.value, escapes=quoting.Escapes.RELAXED)
                found += map(self._expand, listed)
            except BadValue as problem:
                self.warnings.append(f"{key}={entry.value} is ignored: {problem.message}")
        return found

    def _expand(self, text: str) -> str:
        return specifiers.expand(text, self._name, machine=self._machine.specifiers)


def signal_number(text: str) -> int:
    """`SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`. Raises BadValue."""
    bare = text.removeprefix("SIG")
    if match := re.fullmatch(r"RTMIN(?:\+([0-9]{1,2}))?", bare):
        number = signal.SIGRTMIN + int(match[1] or 0)
    elif match := re.fullmatch(r"RTMAX(?:-([0-9]{1,2}))?", bare):
        number = signal.SIGRTMAX - int(match[1] or 0)
    elif bare.isdigit() and len(bare) < 3:
        number = int(bare)
    else:
        number = int(getattr(signal, f"SIG{bare}", 0)) if re.fullmatch("[A-Z0-9]+", bare) else 0
    if not 1 <= number <= signal.SIGRTMAX:
        raise BadValue(f"'{text}' is no signal", hint="write SIGTERM or 15")
    return number


def _word(words: frozenset[str] | set[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise BadValue(f"'{text}' is none of: {', '.join(sorted(words))}")
        return text

    return read


def _seconds(text: str) -> float:
    duration = values.duration(text)
    return math.inf if duration == values.INFINITY else duration / timedelta(seconds=1)


def _timeout(text: str) -> float:
    """0 is no limit, for compatibility."""
    return _seconds(text) or math.inf


def _zero_if_never(seconds: float) -> float:
    return 0.0 if seconds == math.inf else seconds


def _number(lowest: int, highest: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,12}", text) or not lowest <= int(text) <= highest:
            raise BadValue(f"'{text}' is not a number from {lowest} to {highest}")
        return int(text)

    return read


def _mode(text: str) -> int:
    if not re.fullmatch("[0-7]{1,5}", text) or int(text, 8) > 0o7777:
        raise BadValue(f"'{text}' is not a file mode", hint="write four octal digits")
    return int(text, 8)


def _preserve(text: str) -> str:
    if text == "restart":
        return text
    return "yes" if values.boolean(text) else "no"


def _stream(text: str) -> str:
    """What this runtime makes of a stream's setting: consoles and the system's log are its own log."""
    kind, _, path = text.partition(":")
    if kind in ("file", "append", "truncate"):
        if not path.startswith("/"):
            raise BadValue(f"'{path}' is not an absolute path")
        return text
    if kind in ("null", "inherit"):
        return kind
    if kind in ("journal", "journal+console", "syslog", "kmsg", "kmsg+console", "syslog+console"):
        return "journal"
    raise BadValue(f"'{text}' is not honoured by the process runtime")


def _limit(name: str, text: str) -> tuple[float, float]:
    soft, colon, hard = text.partition(":")
    low = _limit_value(name, soft)
    high = _limit_value(name, hard) if colon else low
    if low > high:
        raise BadValue(f"the soft limit {soft} is above the hard limit {hard}")
    return low, high


def _limit_value(name: str, text: str) -> float:
    if text == "infinity":
        return math.inf
    if name in _SIZES:
        return values.size(text)
    if name == "CPU":
        return math.ceil(_seconds(text))
    if name == "RTTIME":
        return int(text) if text.isdigit() else int(_seconds(text) * 1e6)
    if name == "NICE" and text[:1] in ("+", "-"):
        # A nice level; what the kernel wants is 20 minus it.
        return 20 - _number(-20, 19)(text)
    return values.integer(at_least=0, at_most=2**62)(text)
