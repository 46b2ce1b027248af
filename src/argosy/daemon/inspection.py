"""What a server knows of its own health: certificates, disks, and the members of its etcd, each asked at this moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from argosy.agent import facts
from argosy.api.health_schemas import Inspected, MemberView
from argosy.api.question_schemas import DiskView
from argosy.settings import StoreKind
from argosy.store.base import Store
from argosy.store.etcd.health import EtcdMember
from argosy.store.etcd.store import EtcdStore


async def inspect(
    store: Store,
    kind: StoreKind,
    *,
    expiries: Callable[[], Mapping[str, datetime]],
    directories: Sequence[Path],
) -> Inspected:
    """directories: whose file systems the server needs. Raises StoreUnavailable when the store is being closed."""
    members = await store.members() if isinstance(store, EtcdStore) else ()
    disks = await asyncio.to_thread(lambda: tuple(facts.disks(directories)))
    return Inspected(
        store=kind,
        certificates=dict(expiries()),
        members=tuple(map(_member, members)),
        disks=tuple(
            DiskView(
                path=one.path,
                total_bytes=one.total_bytes,
                free_bytes=one.free_bytes,
                free_inodes_share=one.free_inodes_share,
            )
            for one in disks
        ),
    )


def _member(found: EtcdMember) -> MemberView:
    return MemberView(
        endpoint=found.endpoint,
        reachable=found.is_reachable,
        problem=found.problem,
        version=found.version,
        supported=found.is_supported,
        leader=found.is_leader,
        has_leader=found.has_leader,
        learner=found.is_learner,
        read_seconds=found.latency.total_seconds(),
        database_bytes=found.database_bytes,
        in_use_bytes=found.in_use_bytes,
        quota_bytes=found.quota_bytes,
        raft_lag=found.raft_lag,
        alarms=found.alarms,
    )
