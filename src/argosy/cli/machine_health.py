"""What `argosy doctor` finds on the cluster's machines, each asked by its server at this moment, many at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from argosy import errors
from argosy.cli import cluster_health, moments, naming
from argosy.cli.findings import Finding, Level, bad, good, warning
from argosy.client import Client, Facts, MachineView

AT_ONCE = 16
NAMED_AT_MOST = 5
Told = Mapping[str, Facts | errors.ArgosyError]


def look_at_machines(client: Client, machines: Sequence[MachineView]) -> Iterator[Finding]:
    """What those that are there say of themselves."""
    there = [one for one in machines if one["state"] not in naming.ABSENT]
    yield from findings(there, _asked(client, there), moments.now())


def _asked(client: Client, machines: Sequence[MachineView]) -> Told:
    def ask(machine: MachineView) -> Facts | errors.ArgosyError:
        try:
            return client.facts(machine["id"])
        except errors.ArgosyError as problem:
            return problem

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = pool.map(ask, machines)
        return {one["id"]: told for one, told in zip(machines, answers, strict=True)}


def findings(machines: Sequence[MachineView], told: Told, now: datetime) -> Iterator[Finding]:
    """Pure. One finding for each thing that can be wrong, with the machines that it is wrong on."""
    names = {one["id"]: one["hostname"] or one["id"][: naming.SHORT_ID] for one in machines}
    silent = {k: one for k, one in told.items() if isinstance(one, errors.ArgosyError)}
    facts = {k: one for k, one in told.items() if not isinstance(one, errors.ArgosyError)}
    if silent:
        first, problem = next(iter(silent.items()))
        yield warning(
            "agents",
            f"{len(silent)} do not answer: {_named(silent, names)}; {problem.message}",
            problem.hint or f"argosy machine show {first[: naming.SHORT_ID]}",
        )
    if not facts:
        return
    yield _clocks(facts, names)
    yield from _certificates(facts, names, now)
    yield from _disks(facts, names)


def _clocks(facts: Mapping[str, Facts], names: Mapping[str, str]) -> Finding:
    tolerance = cluster_health.CLOCK_TOLERANCE.total_seconds()
    wrong = {k: one for k, one in facts.items() if abs(one["clock_ahead_seconds"]) > tolerance}
    if not wrong:
        furthest = max(abs(one["clock_ahead_seconds"]) for one in facts.values())
        return good("clocks", f"of {len(facts)} machines agree within {furthest:.1f} s")
    worst = max(wrong, key=lambda one: abs(wrong[one]["clock_ahead_seconds"]))
    ahead = wrong[worst]["clock_ahead_seconds"]
    length = moments.duration(abs(ahead))
    way = "ahead" if ahead > 0 else "behind"
    return warning(
        "clocks",
        f"{len(wrong)} are wrong: {_named(wrong, names)}; {names[worst]} is {length} {way}. "
        "Units do not mind; logs and certificates do",
        f"argosy exec {worst[: naming.SHORT_ID]} -- timedatectl status",
    )


def _certificates(
    facts: Mapping[str, Facts], names: Mapping[str, str], now: datetime
) -> Iterator[Finding]:
    ends = {
        k: moments.parsed(expires)
        for k, one in facts.items()
        if (expires := one["certificate_expires"]) is not None
    }
    if not ends:
        return
    levels = {k: cluster_health.machine_certificate(end, now) for k, end in ends.items()}
    soon = [k for k, level in levels.items() if level is not Level.GOOD]
    first = min(ends, key=lambda one: ends[one])
    left = moments.duration((ends[first] - now).total_seconds())
    if not soon:
        yield good("certificates", f"of {len(ends)} machines are good for {left} or more")
        return
    make: Callable[[str, str, str], Finding] = bad if Level.BAD in levels.values() else warning
    yield make(
        "certificates",
        f"{len(soon)} end soon: {_named(soon, names)}; that of {names[first]} in {left}",
        f"argosy journal {first[: naming.SHORT_ID]} -u argosy-agent.service: why does renewing fail?",
    )


def _disks(facts: Mapping[str, Facts], names: Mapping[str, str]) -> Iterator[Finding]:
    full = {
        k: [disk for disk in one["disks"] if cluster_health.is_full(disk)]
        for k, one in facts.items()
    }
    wrong = {k: disks for k, disks in full.items() if disks}
    if not wrong:
        yield good("disks", f"of {len(facts)} machines have room")
        return
    first = next(iter(wrong))
    yield warning(
        "disks",
        f"{len(wrong)} machines have little room: {_named(wrong, names)}",
        f"argosy exec {first[: naming.SHORT_ID]} -- df -h {wrong[first][0]['path']}",
    )


def _named(ids: Sequence[str] | Mapping[str, object], names: Mapping[str, str]) -> str:
    shown = [names[one] for one in ids]
    more = f" and {len(shown) - NAMED_AT_MOST} more" if len(shown) > NAMED_AT_MOST else ""
    return ", ".join(shown[:NAMED_AT_MOST]) + more
