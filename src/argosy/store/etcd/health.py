"""What each member of an etcd says about itself, for `doctor` and for metrics. Changes nothing."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta

import grpc
import grpc.aio

from argosy.store.etcd import rpc_pb2 as pb
from argosy.store.etcd.endpoint import Endpoint
from argosy.store.etcd.members import Members
from argosy.store.etcd.rpc import ALARM, RANGE, STATUS, A, Method, Q

OLDEST = (3, 4, 22)
DATA_LOSS = ((3, 5, 0), (3, 5, 5))
"""Members of these versions, from and to, can lose what was committed (etcd's own advice is 3.5.6 or newer)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdMember:
    """One endpoint as it was found."""

    endpoint: str
    is_reachable: bool
    problem: str = ""
    """Why it is not reachable."""
    member_id: int = 0
    version: str = ""
    is_leader: bool = False
    has_leader: bool = False
    """Whether it knows a leader; a member without one is cut off from the others."""
    is_learner: bool = False
    database_bytes: int = 0
    """Size of the file; defragmentation gives back what is not in use."""
    in_use_bytes: int = 0
    quota_bytes: int = 0
    """0 when the member does not tell: etcd before 3.6."""
    raft_lag: int = 0
    """How many committed entries it has still to apply."""
    latency: timedelta = timedelta()
    """How long a linearizable read through this member took."""
    alarms: tuple[str, ...] = ()
    """NOSPACE, CORRUPT: of this member."""

    @property
    def is_supported(self) -> bool:
        """Whether Argosy may be run on its version."""
        version = version_of(self.version)
        return version >= OLDEST and not DATA_LOSS[0] <= version <= DATA_LOSS[1]


def version_of(text: str) -> tuple[int, ...]:
    """`3.5.12-rc.1` as (3, 5, 12)."""
    return tuple(int(part) for part in text.partition("-")[0].split(".") if part.isdigit())


async def inspect(members: Members, probe_key: bytes) -> tuple[EtcdMember, ...]:
    """Every endpoint of the settings, in the order in which they are asked now. None of them delays the others."""
    return tuple(
        await asyncio.gather(*(_inspect(members, endpoint, probe_key) for endpoint in members.all))
    )


async def _inspect(members: Members, endpoint: Endpoint, probe_key: bytes) -> EtcdMember:
    async def call(method: Method[Q, A], request: Q) -> A:
        timeout = members.attempt_timeout
        return await endpoint.call(method, request, timeout=timeout, metadata=members.metadata())

    if not await endpoint.connect(members.attempt_timeout):
        problem = await endpoint.why() or "no answer in time"
        return EtcdMember(endpoint=endpoint.name, is_reachable=False, problem=problem)
    try:
        status = await call(STATUS, STATUS.request())
        began = time.monotonic()
        await call(RANGE, RANGE.request(key=probe_key, count_only=True))
        latency = timedelta(seconds=time.monotonic() - began)
        alarms = await call(ALARM, ALARM.request())
    except grpc.aio.AioRpcError as error:
        problem = error.details() or str(error.code())
        return EtcdMember(endpoint=endpoint.name, is_reachable=False, problem=problem)
    member_id = status.header.member_id
    return EtcdMember(
        endpoint=endpoint.name,
        is_reachable=True,
        member_id=member_id,
        version=status.version,
        is_leader=status.leader == member_id,
        has_leader=status.leader != 0,
        is_learner=status.isLearner,
        database_bytes=status.dbSize,
        in_use_bytes=status.dbSizeInUse,
        quota_bytes=status.dbSizeQuota,
        raft_lag=status.raftIndex - status.raftAppliedIndex,
        latency=latency,
        alarms=tuple(
            sorted(
                pb.AlarmType.Name(alarm.alarm)
                for alarm in alarms.alarms
                if alarm.memberID == member_id
            )
        ),
    )
