"""Renewing leases over one stream: a renewal is a message each way, not a call with its setup.

etcd answers renewals of one stream in their order; a member that cannot reach the leader answers none of them. A renewal
changes nothing that a second one would change again, so it is asked again on the next member until its deadline.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator

import grpc
import grpc.aio

from argosy.errors import StoreUnavailable
from argosy.store.etcd import rpc_pb2 as pb
from argosy.store.etcd.endpoint import Endpoint
from argosy.store.etcd.members import Members
from argosy.store.etcd.refusals import Outlook, judge
from argosy.store.etcd.rpc import KEEP_ALIVE

PAUSE_SECONDS = 0.05


class Renewals:
    """Who keeps leases alive in one etcd."""

    def __init__(self, members: Members) -> None:
        self._members = members
        self._stream: _Stream | None = None

    async def renew(self, lease_id: int) -> int:
        """The lease's full TTL in seconds; 0 when the lease is not there. Raises StoreUnavailable."""
        members = self._members
        loop = asyncio.get_running_loop()
        deadline = loop.time() + members.request_timeout
        while True:
            stream = await self._open(deadline)
            left = max(deadline - loop.time(), 0.001)
            try:
                async with asyncio.timeout(min(left, members.attempt_timeout)):
                    return await stream.renew(lease_id)
            except (TimeoutError, _Broken) as problem:
                stream.close()
                if isinstance(problem, _Broken) and problem.must_log_in:
                    await members.log_in(stream.endpoint, instead_of=stream.token)
                else:
                    members.distrust(stream.endpoint)
                if loop.time() + PAUSE_SECONDS >= deadline:
                    raise StoreUnavailable(
                        f"etcd at {stream.endpoint.name} does not renew lease {lease_id}"
                    ) from problem
                await asyncio.sleep(PAUSE_SECONDS)

    async def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            await self._stream.ended()

    async def _open(self, deadline: float) -> _Stream:
        if self._stream is None or self._stream.is_over:
            endpoint = await self._members.connected(deadline)
            if self._stream is None or self._stream.is_over:  # nobody was faster
                self._stream = _Stream(self._members, endpoint)
        return self._stream


class _Broken(Exception):
    """The stream ended without the answer."""

    def __init__(self, *, must_log_in: bool) -> None:
        super().__init__()
        self.must_log_in = must_log_in


class _Stream:
    """One stream of renewals to one member."""

    def __init__(self, members: Members, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.token = members.token
        self.is_over = False
        self._requests: asyncio.Queue[pb.LeaseKeepAliveRequest | None] = asyncio.Queue()
        self._waiting: defaultdict[int, deque[asyncio.Future[int]]] = defaultdict(deque)
        self._call = members.open(endpoint, KEEP_ALIVE, self._sent())
        self._reader = asyncio.create_task(self._read(), name="etcd-renewals")

    async def renew(self, lease_id: int) -> int:
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[lease_id].append(answer)
        self._requests.put_nowait(pb.LeaseKeepAliveRequest(ID=lease_id))
        return await answer

    def close(self) -> None:
        self.is_over = True
        self._requests.put_nowait(None)
        self._call.cancel()

    async def ended(self) -> None:
        await asyncio.wait([self._reader])

    async def _sent(self) -> AsyncIterator[pb.LeaseKeepAliveRequest]:
        while (request := await self._requests.get()) is not None:
            yield request

    async def _read(self) -> None:
        must_log_in = False
        try:
            while isinstance(response := await self._call.read(), pb.LeaseKeepAliveResponse):
                waiting = self._waiting[response.ID]
                answer = waiting.popleft()
                if not waiting:
                    del self._waiting[response.ID]
                if not answer.done():
                    answer.set_result(response.TTL)
        except grpc.aio.AioRpcError as error:
            must_log_in = judge(error) is Outlook.LOG_IN
        except asyncio.CancelledError:
            pass  # by `close`, or because the member is not trusted any more
        finally:
            self.close()
            for answers in self._waiting.values():
                for answer in answers:
                    if not answer.done():
                        answer.set_exception(_Broken(must_log_in=must_log_in))
                        answer.exception()  # whoever waited may have given up
