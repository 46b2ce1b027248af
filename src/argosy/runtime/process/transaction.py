"""What a request for some units means for all of them: the jobs that follow, and which goes before which. Pure.

The rules are those of systemd's transaction.c and job.c (version 252), among the units that this runtime has. Each named
unit is an anchor with a transaction of its own, so that one that cannot be started keeps no other from being. Units of
the machine outside this runtime (network.target, docker.service) count as there; see `is_elsewhere`.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from argosy.runtime.base import JobResult
from argosy.runtime.process.load import Dependencies

MACHINE_SERVICES = frozenset(
    {
        *("docker.service", "podman.service", "containerd.service", "crio.service"),
        *("network.service", "networking.service", "NetworkManager.service", "flanneld.service"),
        *("dbus.service", "dbus-broker.service", "avahi-daemon.service", "rc-local.service"),
        *("chrony.service", "chronyd.service", "ntp.service", "ntpd.service"),
        *("ssh.service", "sshd.service", "cron.service", "crond.service", "rsyslog.service"),
        *("firewalld.service", "nftables.service", "iptables.service"),
        *("cloud-init.service", "cloud-final.service"),
        *("etcd.service", "etcd2.service", "fleet.service"),
    }
)
"""Services that units name because a machine has them, as CoreOS, Debian and Fedora call them."""


class Kind(enum.StrEnum):
    """What a job does."""

    START = "start"
    STOP = "stop"
    RESTART = "restart"
    """Stops; then it is a START."""
    RELOAD = "reload"


class Graph:
    """The units that there are and what they say of each other, in both directions."""

    def __init__(self, units: Mapping[str, Dependencies]) -> None:
        self.units = units
        self.after: dict[str, set[str]] = defaultdict(set)
        """The units that one is ordered after, whichever of them says so."""
        self.before: dict[str, set[str]] = defaultdict(set)
        self.required_by: dict[str, set[str]] = defaultdict(set)
        self.bound_by: dict[str, set[str]] = defaultdict(set)
        self.requisite_of: dict[str, set[str]] = defaultdict(set)
        self.consists_of: dict[str, set[str]] = defaultdict(set)
        self.conflicted_by: dict[str, set[str]] = defaultdict(set)
        for name, dependencies in units.items():
            for named, inverse in (
                (dependencies.requires, self.required_by),
                (dependencies.binds_to, self.bound_by),
                (dependencies.requisite, self.requisite_of),
                (dependencies.part_of, self.consists_of),
                (dependencies.conflicts, self.conflicted_by),
            ):
                for other in named:
                    inverse[other].add(name)
            for other in dependencies.after:
                self._order(other, name)
            for other in dependencies.before:
                self._order(name, other)

    def _order(self, first: str, second: str) -> None:
        self.after[second].add(first)
        self.before[first].add(second)

    def neighbours(self, name: str) -> set[str]:
        """The units that are ordered before or after this one."""
        return self.after.get(name, set()) | self.before.get(name, set())

    def go_down_with(self, name: str) -> set[str]:
        """The units that stop when this one is stopped, and restart when it is restarted."""
        return (
            self.required_by.get(name, set())
            | self.bound_by.get(name, set())
            | self.requisite_of.get(name, set())
            | self.consists_of.get(name, set())
        )

    def fail_with(self, name: str) -> set[str]:
        """The units whose start fails when the start of this one does."""
        return (
            self.required_by.get(name, set())
            | self.bound_by.get(name, set())
            | self.requisite_of.get(name, set())
        )

    def goes_first(self, one: str, kind: Kind, other: str, other_kind: Kind) -> bool:
        """Whether the job of `one` must end before that of `other` begins (job_compare).

        Stops go before starts, whichever way the units are ordered; stops go against the order, starts with it.
        """
        stops = (Kind.STOP, Kind.RESTART)
        if one in self.after.get(other, ()) and other_kind not in stops:
            return True
        return other in self.after.get(one, ()) and kind in stops


def is_elsewhere(name: str) -> bool:
    """Whether a unit that this runtime does not have is the machine's own business, and taken to be there.

    Everything but services is; services are when they are systemd's own or commonly a machine's.
    """
    return not name.endswith(".service") or name in MACHINE_SERVICES or name.startswith("systemd-")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a unit got no job."""

    result: JobResult
    reason: str


@dataclass(frozen=True, slots=True)
class Transaction:
    """The jobs of a request. Units that are already as wanted may be among them: their jobs are done at once."""

    jobs: Mapping[str, Kind] = field(default_factory=dict)
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    """Of the anchors, those that could not be."""


class _Impossible(Exception):
    def __init__(self, result: JobResult, reason: str) -> None:
        super().__init__(reason)
        self.refusal = Refusal(result, reason)


def plan(
    graph: Graph,
    anchors: Iterable[str],
    kind: Kind,
    *,
    up: frozenset[str],
    broken: Mapping[str, str],
) -> Transaction:
    """The jobs that follow from asking for `kind` of each anchor.

    up: the units that are not down: active, on their way there or back.
    broken: units whose text cannot be loaded, with the reason.
    """
    jobs: dict[str, Kind] = {}
    refusals: dict[str, Refusal] = {}
    for anchor in anchors:
        builder = _Builder(graph, dict(jobs), up, broken)
        try:
            builder.add(anchor, kind)
            builder.refuse_cycles()
        except _Impossible as problem:
            refusals[anchor] = problem.refusal
        else:
            jobs = builder.jobs
    return Transaction(jobs, refusals)


class _Builder:
    """Adds one anchor and all that it pulls in: transaction_add_job_and_dependencies."""

    def __init__(
        self,
        graph: Graph,
        jobs: dict[str, Kind],
        up: frozenset[str],
        broken: Mapping[str, str],
    ) -> None:
        self.jobs = jobs
        self._graph = graph
        self._up = up
        self._broken = broken
        self._added: list[str] = []

    def add(self, name: str, kind: Kind) -> None:
        if kind in (Kind.START, Kind.RESTART) and name in self._broken:
            raise _Impossible(
                JobResult.FAILED, f"{name} has a bad unit file setting: {self._broken[name]}"
            )
        if name not in self._graph.units:
            if is_elsewhere(name) or kind is Kind.STOP:
                return
            raise _Impossible(JobResult.DEPENDENCY, f"unit {name} not found")
        present = self.jobs.get(name)
        merged = _merge(present, kind)
        if merged is None:
            raise _Impossible(JobResult.FAILED, f"{name} would have to be both started and stopped")
        if merged is present:
            return
        self.jobs[name] = merged
        self._added.append(name)
        if kind in (Kind.START, Kind.RESTART):
            self._pull_in(name)
        if kind in (Kind.STOP, Kind.RESTART):
            for other in sorted(self._graph.go_down_with(name)):
                if other in self._up:
                    self.add(other, kind)

    def _pull_in(self, name: str) -> None:
        dependencies = self._graph.units[name]
        for other in sorted(dependencies.requires | dependencies.binds_to):
            try:
                self.add(other, Kind.START)
            except _Impossible as problem:
                raise _Impossible(JobResult.DEPENDENCY, problem.refusal.reason) from problem
        for other in sorted(dependencies.wants):
            self._try(other, Kind.START)
        for other in sorted(dependencies.conflicts):
            if other in self._up or other in self.jobs:
                self.add(other, Kind.STOP)
        for other in sorted(self._graph.conflicted_by.get(name, ())):
            if other in self._up or other in self.jobs:
                self._try(other, Kind.STOP)

    def _try(self, name: str, kind: Kind) -> None:
        """Add what may as well be left out."""
        before, added = dict(self.jobs), list(self._added)
        try:
            self.add(name, kind)
        except _Impossible:
            self.jobs, self._added = before, added

    def refuse_cycles(self) -> None:
        """Of units that are ordered after each other none could begin. Only what was added now can close a cycle."""
        done: set[str] = set()
        for start in self._added:
            path: list[str] = []
            stack = [(start, False)]
            while stack:
                name, is_left = stack.pop()
                if is_left:
                    path.pop()
                    done.add(name)
                    continue
                if name in path:
                    cycle = [*path[path.index(name) :], name]
                    raise _Impossible(JobResult.FAILED, "ordering cycle: " + " after ".join(cycle))
                if name in done:
                    continue
                path.append(name)
                stack.append((name, True))
                stack += (
                    (other, False)
                    for other in sorted(self._graph.after.get(name, ()))
                    if other in self.jobs
                )


def _merge(present: Kind | None, kind: Kind) -> Kind | None:
    """What two jobs for one unit become; None when they exclude each other."""
    if present is None or present is kind:
        return kind
    if Kind.STOP in (present, kind):
        return None
    return Kind.RESTART if Kind.RESTART in (present, kind) else Kind.START
