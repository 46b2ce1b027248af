"""What `argosy doctor` finds in a server's health: the other servers, certificates, the store, disks, clocks. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from argosy.cli import moments
from argosy.cli.findings import Finding, Level, bad, good, warning
from argosy.client import Disk, Health, Member

CLOCK_TOLERANCE = timedelta(seconds=5)
CERTIFICATE_SOON = timedelta(days=10)
"""One of 90 days renews itself 18 days before its end, so less says that renewing fails."""
CERTIFICATE_NOW = timedelta(days=2)
AUTHORITY_SOON = timedelta(days=365)
READ_SECONDS = 0.1
"""A read of etcd takes a network's round trip and a write to no disk: some milliseconds."""
QUOTA_SHARE = 0.8
WASTE_BYTES = 256 * 2**20
WASTE_SHARE = 0.5
RAFT_LAG = 5000
FREE_BYTES = 512 * 2**20
FREE_SHARE = 0.05
_MIB, _GIB = 2**20, 2**30


def of_server(health: Health, *, endpoint: str, now: datetime) -> Iterator[Finding]:
    """now: this host's clock."""
    yield clock(health["at"], now, "the server's clock", "timedatectl status, here and there")
    yield from servers(health)
    for name, expires in sorted(health["certificates"].items()):
        yield certificate(name, expires, now)
    yield from _store(health)
    for disk in health["disks"]:
        yield of_disk("server disk", disk, f"at {endpoint}")


def clock(text: str, now: datetime, whose: str, next_step: str) -> Finding:
    ahead = (moments.parsed(text) - now).total_seconds()
    if abs(ahead) <= CLOCK_TOLERANCE.total_seconds():
        return good("clock", f"agrees with {whose}")
    way = "ahead of" if ahead > 0 else "behind"
    length = moments.duration(abs(ahead))
    return warning("clock", f"{whose} is {length} {way} this one", next_step)


def servers(health: Health) -> Iterator[Finding]:
    there = health["servers"]
    if not there:
        return
    versions = sorted({one["version"] for one in there})
    names = ", ".join(one["name"] for one in there)
    if len(versions) > 1:
        yield warning(
            "servers",
            f"{len(there)} are there ({names}) with versions {', '.join(versions)}",
            "upgrade the older ones; neighbouring versions work together meanwhile",
        )
    else:
        yield good("servers", f"{len(there)} there: {names}")


def certificate(name: str, expires: str, now: datetime) -> Finding:
    left = moments.parsed(expires) - now
    subject = "certificate"
    text = f"the {name}'s is good for {moments.duration(left.total_seconds())}"
    if name == "authority":
        if left < AUTHORITY_SOON:
            return warning(subject, text, "found a new cluster's authority before it ends")
        return good(subject, text)
    return _judged(subject, text, left, "journalctl -u argosy-server: why does renewing fail?")


def _judged(subject: str, text: str, left: timedelta, next_step: str) -> Finding:
    if left < CERTIFICATE_NOW:
        return bad(subject, text, next_step)
    if left < CERTIFICATE_SOON:
        return warning(subject, text, next_step)
    return good(subject, text)


def machine_certificate(expires: datetime, now: datetime) -> Level:
    """How a machine's certificate is."""
    return _judged("", "", expires - now, "x").level


def _store(health: Health) -> Iterator[Finding]:
    store = health["store"]
    members = store["members"]
    text = f"a read takes {store['read_seconds'] * 1000:.1f} ms"
    if store["read_seconds"] > READ_SECONDS:
        yield warning("store", f"{text}: everything waits for it", "look at its disk and network")
    else:
        yield good("store", text)
    if not members:
        return
    away = [one for one in members if not one["reachable"]]
    if 2 * len(away) >= len(members):
        yield bad(
            "etcd",
            f"{len(away)} of {len(members)} members are away, {_about(away[0])}",
            "systemctl status etcd, on each of them",
        )
    elif away:
        yield warning(
            "etcd",
            f"{len(away)} of {len(members)} members is away, {_about(away[0])}",
            "bring it back before another one fails",
        )
    for member in members:
        if member["reachable"]:
            yield from of_member(member)


def _about(member: Member) -> str:
    return f"{member['endpoint']}: {member['problem']}"


def of_member(member: Member) -> Iterator[Finding]:
    """One that answers."""
    at, subject = member["endpoint"], "etcd"
    found: list[Finding] = []
    if not member["has_leader"]:
        found.append(
            bad(subject, f"{at} knows no leader: it is cut off from the others", "look at its log")
        )
    for alarm in member["alarms"]:
        step = (
            "make room, then: etcdctl alarm disarm"
            if alarm == "NOSPACE"
            else "take it out and add it anew: etcdctl member remove"
        )
        found.append(bad(subject, f"{at} has the alarm {alarm}", step))
    if not member["supported"]:
        version = member["version"]
        found.append(
            warning(subject, f"{at} is etcd {version}, which has known faults", "upgrade etcd")
        )
    if member["read_seconds"] > READ_SECONDS:
        slow = f"{at} takes {member['read_seconds'] * 1000:.0f} ms for a read"
        found.append(warning(subject, slow, "look at its disk, and at the network to it"))
    if member["raft_lag"] > RAFT_LAG:
        lag = f"{at} has still to apply {member['raft_lag']} entries"
        found.append(warning(subject, lag, "look at its disk and processor"))
    found += _space(member)
    used = f"{member['in_use_bytes'] / _MIB:.1f} MiB in use"
    leads = ", leads" if member["leader"] else ""
    yield from found or [good(subject, f"{at}, {member['version']}{leads}, {used}")]


def _space(member: Member) -> Iterator[Finding]:
    at, size, used = member["endpoint"], member["database_bytes"], member["in_use_bytes"]
    if member["quota_bytes"] and size > QUOTA_SHARE * member["quota_bytes"]:
        quota = f"{size / _MIB:.0f} of {member['quota_bytes'] / _MIB:.0f} MiB"
        yield warning("etcd", f"{at} has filled {quota}", "etcdctl defrag, or a larger quota")
    elif size - used > max(WASTE_BYTES, WASTE_SHARE * size):
        waste = f"{(size - used) / _MIB:.0f} of its {size / _MIB:.0f} MiB"
        yield warning("etcd", f"{at} could give back {waste}", f"etcdctl defrag --endpoints {at}")


def of_disk(subject: str, disk: Disk, where: str) -> Finding:
    """where: for the text, `at https://...`."""
    text = (
        f"{disk['free_bytes'] / _GIB:.1f} GiB free of {disk['total_bytes'] / _GIB:.1f} GiB "
        f"on {disk['path']} {where}"
    )
    if is_full(disk):
        return warning(subject, text, f"make room: du -xh {disk['path']}")
    return good(subject, text)


def is_full(disk: Disk) -> bool:
    """Little room, or few inodes, for one more file."""
    few = min(FREE_BYTES, disk["total_bytes"] / 2)
    return disk["free_bytes"] < max(few, FREE_SHARE * disk["total_bytes"]) or (
        disk["free_inodes_share"] < FREE_SHARE
    )
