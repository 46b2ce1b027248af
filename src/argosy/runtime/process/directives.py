"""Which directives this runtime honours, so that a person is told of the others before wondering. Pure.

A key that systemd does not know is a typo, which `units.loading` reports; here are the keys that systemd would act on and
this runtime does not. `docs/reference/process-runtime.md` has the same list with the details.
"""

from __future__ import annotations

from typing import NamedTuple

from argosy.runtime.process.checks import TESTS
from argosy.units.directives import SECTIONS
from argosy.units.text import UnitText


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


DIRECTORIES = ("Runtime", "State", "Cache", "Logs", "Configuration")
LIMITS = tuple(
    sorted(key.removeprefix("Limit") for key in SECTIONS["Service"] if key.startswith("Limit"))
)

UNIT = _words("""
    Description Documentation SourcePath
    Requires Requisite Wants BindsTo PartOf Conflicts After Before
    StartLimitIntervalSec StartLimitInterval StartLimitBurst
""") | {f"{kind}{test}" for kind in ("Condition", "Assert") for test in TESTS}

SERVICE = (
    _words("""
        Type RemainAfterExit PIDFile GuessMainPID NotifyAccess
        ExecCondition ExecStartPre ExecStart ExecStartPost ExecReload ExecStop ExecStopPost
        Restart RestartSec StartLimitInterval StartLimitBurst SuccessExitStatus RestartPreventExitStatus
        RestartForceExitStatus TimeoutStartSec TimeoutStopSec TimeoutAbortSec TimeoutSec RuntimeMaxSec
        WatchdogSec
        KillMode KillSignal RestartKillSignal FinalKillSignal WatchdogSignal SendSIGKILL SendSIGHUP
        Environment EnvironmentFile PassEnvironment UnsetEnvironment
        WorkingDirectory User Group SupplementaryGroups UMask Nice OOMScoreAdjust IgnoreSIGPIPE
        RuntimeDirectoryPreserve StandardInput StandardOutput StandardError
    """)
    | {f"{kind}Directory" for kind in DIRECTORIES}
    | {f"{kind}DirectoryMode" for kind in DIRECTORIES}
    | {f"Limit{name}" for name in LIMITS}
)

HARMLESS = _words("""
    DefaultDependencies CollectMode RefuseManualStart IgnoreOnIsolate
    SyslogIdentifier SyslogFacility SyslogLevel SyslogLevelPrefix LogLevelMax LogExtraFields
    CPUAccounting MemoryAccounting TasksAccounting IOAccounting BlockIOAccounting IPAccounting
""")
"""Not honoured, and nobody who wrote them is disappointed: there are no default dependencies and no journal here, and
accounting only counts."""

SERVICE_VALUES = {
    "Type": _words("simple exec oneshot forking notify idle"),
    "StandardInput": _words("null"),
    "StandardOutput": _words("null journal inherit"),
    "StandardError": _words("null journal inherit"),
}
"""Keys of [Service] of which some values are honoured only; `file:` and its like are looked at by their beginning."""

_WITH_PATH = {
    "StandardInput": ("file:",),
    "StandardOutput": ("file:", "append:", "truncate:"),
    "StandardError": ("file:", "append:", "truncate:"),
}


class Unsupported(NamedTuple):
    """One assignment that this runtime does not honour, and its place in the file."""

    section: str
    key: str
    value: str
    line: int
    column: int

    def __str__(self) -> str:
        """`line 7: [Service] PrivateTmp= is not honoured by the process runtime`."""
        what = f"{self.key}={self.value}" if self.key in SERVICE_VALUES else f"{self.key}="
        return f"line {self.line}: [{self.section}] {what} is not honoured by the process runtime"


def unsupported(text: bytes) -> list[Unsupported]:
    """Every assignment of a service's text that systemd would act on and this runtime does not, in the file's order.

    Sections that begin with `X-` and [Install] ask a runtime for nothing. Of a section that only other types of units
    have every key is named.
    """
    found = []
    for entry in UnitText.parse(text).entries:
        known = SECTIONS.get(entry.section, frozenset())
        if entry.key not in known or entry.section == "Install" or not entry.value:
            continue
        if not _is_honoured(entry.section, entry.key, entry.value):
            found.append(
                Unsupported(entry.section, entry.key, entry.value, entry.line, entry.column)
            )
    return found


def _is_honoured(section: str, key: str, value: str) -> bool:
    if key in HARMLESS:
        return True
    if section == "Unit":
        return key in UNIT
    if section != "Service" or key not in SERVICE:
        return False
    values = SERVICE_VALUES.get(key)
    return values is None or value in values or value.startswith(_WITH_PATH.get(key, ()) or "\0")
