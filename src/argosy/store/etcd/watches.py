"""All watches of a store over one stream: a thousand of them cost etcd one connection and a restart costs one round trip.

Each watcher knows the next revision that it needs. Whatever happens to the stream (a member dies, is cut off, answers half
a revision), the watch is made again from there, on the next member: nothing is lost or told twice. Three of etcd's ways
matter here. A response may be one fragment of what belongs together. `canceled` ends a watch while the stream stays open.
And only events say how far a watch has come; the revision in a response's header does not.

A watcher that reads slowly costs a bounded queue: when that is full its watch is taken back until it has been read.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import grpc
import grpc.aio

from argosy.errors import ArgosyError, StoreUnavailable
from argosy.store.base import Compacted, FutureRevision, WatchBatch, WatchLost
from argosy.store.etcd import rpc_pb2 as pb
from argosy.store.etcd.endpoint import Endpoint
from argosy.store.etcd.members import Members
from argosy.store.etcd.messages import Messages
from argosy.store.etcd.refusals import Outlook, judge, judge_text
from argosy.store.etcd.rpc import RANGE, WATCH

QUEUE_BATCHES = 1000
"""How many batches wait for a watcher before its watch is taken back."""
LONGEST_PAUSE = 1.0
"""Seconds between two attempts to follow etcd again while no member answers."""


class Watches:
    """Everybody who follows something in one etcd."""

    def __init__(self, members: Members, messages: Messages) -> None:
        self._members = members
        self._messages = messages
        self._watchers: dict[Watcher, None] = {}
        self._stream: _Stream | None = None
        """What follows now; None while there is no member to follow."""
        self._follower: asyncio.Task[None] | None = None

    @contextmanager
    def watcher(
        self, start: str, end: str | None, first: int, *, with_previous: bool = True
    ) -> Iterator[Watcher]:
        """Follow from revision `first` on, which the caller has just seen to be possible.

        with_previous: whether events tell what was there before, for which etcd looks up every one of them.
        """
        watcher = Watcher(self, start, end, first, with_previous=with_previous)
        self._watchers[watcher] = None
        if self._follower is None:
            self._follower = asyncio.create_task(self._follow(), name="etcd-watches")
        self.begin(watcher)
        try:
            yield watcher
        finally:
            del self._watchers[watcher]
            self.stop(watcher)

    def begin(self, watcher: Watcher) -> None:
        """Ask etcd for what the watcher needs next; later, when nobody can be asked now."""
        if self._stream is not None and watcher.has_use_for_more:
            self._stream.create(watcher)

    def stop(self, watcher: Watcher) -> None:
        """Ask etcd for nothing more on its behalf."""
        if self._stream is not None:
            self._stream.cancel(watcher)

    async def close(self, reason: ArgosyError) -> None:
        """All iterators raise `reason` once they have given what has arrived."""
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.wait([self._follower])
        for watcher in self._watchers:
            watcher.end(reason)

    async def _follow(self) -> None:
        """Keep a stream open, for as long as the store is."""
        pause = 0.0
        while True:
            await asyncio.sleep(pause)
            try:
                deadline = asyncio.get_running_loop().time() + self._members.request_timeout
                await self._check_that_the_store_did_not_go_back()
                endpoint = await self._members.connected(deadline)
                self._stream = _Stream(self._members, self._messages, endpoint)
                for watcher in self._watchers:
                    self.begin(watcher)
                await self._stream.read()
            except _Refused as refused:
                await self._after_refusal(endpoint, refused)
            except StoreUnavailable:
                pass
            except ArgosyError as refusal:
                for watcher in self._watchers:
                    watcher.end(refusal)
            finally:
                told_something = self._stream is not None and self._stream.told_something
                if self._stream is not None:
                    self._stream.close()
                self._stream = None
            pause = 0.01 if told_something else min(max(0.02, pause * 2), LONGEST_PAUSE)

    async def _after_refusal(self, endpoint: Endpoint, refused: _Refused) -> None:
        if refused.must_log_in:
            try:
                await self._members.log_in(endpoint, instead_of=refused.token)
            except ArgosyError as refusal:
                for watcher in self._watchers:
                    watcher.end(refusal)
        else:
            self._members.distrust(endpoint)

    async def _check_that_the_store_did_not_go_back(self) -> None:
        """An etcd that was restored from a snapshot would let our watches wait for revisions that it will reuse."""
        before = self._members.newest
        request = pb.RangeRequest(key=self._messages.key("cluster"), count_only=True)
        answer = await self._members.ask(RANGE, request, may_repeat=True)
        if answer.header.revision < before:
            self._members.newest = answer.header.revision
            for watcher in self._watchers:
                watcher.end(
                    FutureRevision(
                        f"the store went back from revision {before} to {answer.header.revision}"
                    )
                )


class _Refused(Exception):
    """The stream ended; with `must_log_in` because the token that it was opened with is not valid any more."""

    def __init__(self, *, token: str | None, must_log_in: bool) -> None:
        super().__init__()
        self.token = token
        self.must_log_in = must_log_in


class _Stream:
    """One stream to one member, from its opening to its end."""

    _ids = itertools.count(1)
    """etcd takes the ids that we choose, as long as they are not 0."""

    def __init__(self, members: Members, messages: Messages, endpoint: Endpoint) -> None:
        self.told_something = False
        self._messages = messages
        self._token = members.token
        self._requests: asyncio.Queue[pb.WatchRequest | None] = asyncio.Queue()
        self._watchers: dict[int, Watcher] = {}
        self._id_of: dict[Watcher, int] = {}
        self._fragments: dict[int, list[pb.Event]] = {}
        self._asked: deque[int] = deque()
        """Ids in the order in which etcd will say that they were made: its refusals do not tell the id."""
        self._call = members.open(endpoint, WATCH, self._sent())

    def create(self, watcher: Watcher) -> None:
        watch_id = next(self._ids)
        self._watchers[watch_id] = watcher
        self._id_of[watcher] = watch_id
        self._asked.append(watch_id)
        create = pb.WatchCreateRequest(
            key=self._messages.key(watcher.start),
            range_end=self._messages.end(watcher.end_key),
            start_revision=watcher.next_revision,
            prev_kv=watcher.with_previous,
            watch_id=watch_id,
            fragment=True,
        )
        self._requests.put_nowait(pb.WatchRequest(create_request=create))

    def cancel(self, watcher: Watcher) -> None:
        watch_id = self._id_of.pop(watcher, 0)
        if watch_id:
            self._forget(watch_id)
            cancel = pb.WatchCancelRequest(watch_id=watch_id)
            self._requests.put_nowait(pb.WatchRequest(cancel_request=cancel))

    async def read(self) -> None:
        """Hand out what comes, until the stream ends. Raises _Refused then."""
        try:
            while isinstance(response := await self._call.read(), pb.WatchResponse):
                self.told_something = True
                self._take(response)
        except grpc.aio.AioRpcError as error:
            must_log_in = judge(error) is Outlook.LOG_IN
            raise _Refused(token=self._token, must_log_in=must_log_in) from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
        raise _Refused(token=self._token, must_log_in=False)  # the call was cut, or etcd ended it

    def close(self) -> None:
        self._requests.put_nowait(None)
        self._call.cancel()

    async def _sent(self) -> AsyncIterator[pb.WatchRequest]:
        while (request := await self._requests.get()) is not None:
            yield request

    def _take(self, response: pb.WatchResponse) -> None:
        watch_id = self._asked.popleft() if response.created else response.watch_id
        watcher = self._watchers.get(watch_id)
        if watcher is None:
            return  # it was cancelled, and this was on its way
        if response.canceled:
            self._forget(watch_id)
            del self._id_of[watcher]
            watcher.end(self._reason(response, watcher))
        elif response.events:
            events = self._fragments.setdefault(watch_id, [])
            events.extend(response.events)
            if not response.fragment:
                del self._fragments[watch_id]
                watcher.take(self._messages.batches(events))

    def _reason(self, response: pb.WatchResponse, watcher: Watcher) -> ArgosyError:
        if response.compact_revision:
            return Compacted(watcher.next_revision, response.compact_revision)
        match judge_text(grpc.StatusCode.UNKNOWN, response.cancel_reason):
            case Outlook.LOG_IN:
                raise _Refused(token=self._token, must_log_in=True)
            case ArgosyError() as refusal:
                return refusal
            case _:
                return WatchLost(f"etcd ended the watch: {response.cancel_reason}")

    def _forget(self, watch_id: int) -> None:
        del self._watchers[watch_id]
        self._fragments.pop(watch_id, None)


class Watcher:
    """One watch, as the iterator that its owner reads."""

    def __init__(
        self, watches: Watches, start: str, end_key: str | None, first: int, *, with_previous: bool
    ) -> None:
        self.with_previous = with_previous
        self.start = start
        self.end_key = end_key
        self.next_revision = first
        """The first that was not delivered yet."""
        self._has_keys = end_key is None or start < end_key
        """A range without keys has no changes; etcd refuses to watch it."""
        self._is_full = False
        """Whether its watch was taken back until it is read."""
        self._watches = watches
        self._queue: deque[WatchBatch] = deque()
        self._ended: ArgosyError | None = None
        self._wakeup: asyncio.Future[None] | None = None

    @property
    def has_use_for_more(self) -> bool:
        return self._has_keys and not self._is_full and self._ended is None

    def take(self, batches: Iterator[WatchBatch]) -> None:
        for batch in batches:
            if batch.revision >= self.next_revision:
                self._queue.append(batch)
                self.next_revision = batch.revision + 1
        if len(self._queue) >= QUEUE_BATCHES:
            self._is_full = True
            self._watches.stop(self)
        self._wake()

    def end(self, reason: ArgosyError) -> None:
        if self._ended is None:
            self._ended = reason
        self._wake()

    def __aiter__(self) -> AsyncIterator[WatchBatch]:
        return self

    async def __anext__(self) -> WatchBatch:
        while not self._queue:
            if self._ended is not None:
                raise self._ended
            if self._is_full:
                self._is_full = False
                self._watches.begin(self)
            self._wakeup = asyncio.get_running_loop().create_future()
            await self._wakeup
        return self._queue.popleft()

    def _wake(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)
