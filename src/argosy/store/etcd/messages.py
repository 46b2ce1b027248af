"""The contract's words in etcd's and back, with the prefix that every key has in etcd and no key has here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import assert_never

from argosy.store.base import (
    Compare,
    Delete,
    EventKind,
    Get,
    KeyValue,
    Op,
    Put,
    RangeResult,
    Target,
    TxnResult,
    WatchBatch,
    WatchEvent,
)
from argosy.store.etcd import rpc_pb2 as pb

_OPERATORS = {
    "=": pb.Compare.EQUAL,
    "!=": pb.Compare.NOT_EQUAL,
    "<": pb.Compare.LESS,
    ">": pb.Compare.GREATER,
}
_TARGETS = {
    Target.VERSION: pb.Compare.VERSION,
    Target.CREATE: pb.Compare.CREATE,
    Target.MOD: pb.Compare.MOD,
    Target.LEASE: pb.Compare.LEASE,
    Target.VALUE: pb.Compare.VALUE,
}


class Messages:
    """Conversions under one prefix."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix.encode()

    def key(self, key: str) -> bytes:
        return self._prefix + key.encode()

    def end(self, end: str | None) -> bytes:
        """Etcd takes an empty end for "this key alone"."""
        return b"" if end is None else self._prefix + end.encode()

    def range_request(
        self,
        start: str,
        end: str | None,
        *,
        revision: int = 0,
        limit: int = 0,
        keys_only: bool = False,
        count_only: bool = False,
    ) -> pb.RangeRequest:
        return pb.RangeRequest(
            key=self.key(start),
            range_end=self.end(end),
            revision=revision,
            limit=limit,
            keys_only=keys_only,
            count_only=count_only,
        )

    def txn_request(
        self, compares: Sequence[Compare], success: Sequence[Op], failure: Sequence[Op]
    ) -> pb.TxnRequest:
        return pb.TxnRequest(
            compare=map(self._compare, compares),
            success=map(self._op, success),
            failure=map(self._op, failure),
        )

    def range_result(self, answer: pb.RangeResponse, *, revision: int = 0) -> RangeResult:
        kvs = tuple(map(self._key_value, answer.kvs))
        return RangeResult(revision or answer.header.revision, kvs, answer.more, answer.count)

    def txn_result(self, answer: pb.TxnResponse) -> TxnResult:
        responses = tuple(map(self._response, answer.responses))
        return TxnResult(answer.succeeded, answer.header.revision, responses)

    def batches(self, events: Iterable[pb.Event]) -> Iterator[WatchBatch]:
        """Events of whole revisions, by revision."""
        for revision, together in groupby(events, key=lambda event: event.kv.mod_revision):
            yield WatchBatch(revision, tuple(map(self._event, together)))

    def _compare(self, compare: Compare) -> pb.Compare:
        message = pb.Compare(
            result=_OPERATORS[compare.operator],
            target=_TARGETS[compare.target],
            key=self.key(compare.key),
        )
        setattr(message, compare.target.value, compare.operand)
        return message

    def _op(self, op: Op) -> pb.RequestOp:
        match op:
            case Put(key, value, lease):
                put = pb.PutRequest(key=self.key(key), value=value, lease=lease)
                return pb.RequestOp(request_put=put)
            case Delete(key, end):
                delete = pb.DeleteRangeRequest(key=self.key(key), range_end=self.end(end))
                return pb.RequestOp(request_delete_range=delete)
            case Get(key, end):
                return pb.RequestOp(request_range=self.range_request(key, end))
            case _:
                assert_never(op)

    def _response(self, response: pb.ResponseOp) -> RangeResult | int:
        match response.WhichOneof("response"):
            case "response_range":
                return self.range_result(response.response_range)
            case "response_delete_range":
                return response.response_delete_range.deleted
            case _:
                return 1

    def _event(self, event: pb.Event) -> WatchEvent:
        return WatchEvent(
            EventKind.DELETE if event.type == pb.Event.DELETE else EventKind.PUT,
            self._key_value(event.kv),
            self._key_value(event.prev_kv) if event.HasField("prev_kv") else None,
        )

    def _key_value(self, kv: pb.KeyValue) -> KeyValue:
        return KeyValue(
            # Somebody else may have put a key under our prefix that is no UTF-8: it must not break every read.
            kv.key[len(self._prefix) :].decode(errors="surrogateescape"),
            kv.value,
            kv.create_revision,
            kv.mod_revision,
            kv.version,
            kv.lease,
        )
