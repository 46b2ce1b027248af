"""What an error of etcd means for whoever called: the request is wrong, it was certainly not carried out, or it is open.

etcd answers with a gRPC status and a text; the texts are those of `api/v3rpc/rpctypes/error.go`, which clients in all
languages match and which have not changed since 3.0. A text that is not known here is open, which is always true.

The one thing that must not go wrong: a write may be called "not done" only if etcd refuses it before it proposes it to
its members. `etcdserver: request timed out`, for instance, comes after that.
"""

from __future__ import annotations

import enum

import grpc
import grpc.aio

from argosy.errors import ArgosyError, Invalid, NotAllowed, StoreFull, StoreRefused, Unauthenticated
from argosy.store.base import FutureRevision, LeaseNotFound


class Outlook(enum.Enum):
    """What may be done after an error that says nothing about the request itself."""

    NOT_DONE = enum.auto()
    """Refused before anything was written: may be sent again, best to another member."""
    LOG_IN = enum.auto()
    """Refused before anything was written, because etcd has forgotten who asks."""
    OPEN = enum.auto()
    """A write may have been carried out, or may still be."""


class WasCompacted(ArgosyError):
    """The revision asked for was compacted. Becomes `Compacted` once it is known up to where."""


FULL_HINT = "free space in etcd: compact, then `etcdctl defrag`, then `etcdctl alarm disarm`"

_NOT_DONE = (
    "etcdserver: no leader",  # the interceptor's answer to `hasleader`, before the request is looked at
    "raft proposal dropped",
    "etcdserver: too many requests",
    "etcdserver: not capable",
    "etcdserver: rpc not supported for learner",
)
_LOG_IN = (
    "etcdserver: invalid auth token",
    "etcdserver: user name is empty",
    "etcdserver: revision of auth store is old",
)


def judge(error: grpc.aio.AioRpcError) -> ArgosyError | Outlook:
    """The error to raise, when repeating would not help; otherwise how things stand."""
    return judge_text(error.code(), error.details() or "")


def judge_text(code: grpc.StatusCode, text: str) -> ArgosyError | Outlook:
    final = _final(code, text)
    if final is not None:
        return final
    if text.startswith(_LOG_IN) or code is grpc.StatusCode.UNAUTHENTICATED:
        return Outlook.LOG_IN
    if text.startswith(_NOT_DONE):
        return Outlook.NOT_DONE
    return Outlook.OPEN


def _final(code: grpc.StatusCode, text: str) -> ArgosyError | None:
    match text.removeprefix("etcdserver: "):
        case "mvcc: required revision has been compacted":
            return WasCompacted(text)
        case "mvcc: required revision is a future revision":
            return FutureRevision("the revision asked for is newer than the store")
        case "mvcc: database space exceeded":
            return StoreFull("etcd has no space left (alarm NOSPACE)", hint=FULL_HINT)
        case "requested lease not found":
            return LeaseNotFound("the lease has ended or never was")
        case "corrupt cluster" | "corrupt":
            return StoreRefused(
                "etcd has the alarm CORRUPT: its members disagree about the data",
                hint="replace the corrupt member as etcd's documentation says",
            )
        case "authentication failed, invalid user ID or password":
            return Unauthenticated("etcd does not accept the user or its password")
        case _ if code is grpc.StatusCode.PERMISSION_DENIED or "permission denied" in text:
            return NotAllowed(
                f"etcd does not let this user do that: {text}",
                hint="give the user's role readwrite on Argosy's prefix",
            )
        case _ if code is grpc.StatusCode.UNIMPLEMENTED:
            return StoreRefused(
                f"this is not an etcd that speaks its v3 API: {text}",
                hint="check the endpoints; etcd 3.4.22 or newer is needed",
            )
        case _ if text.startswith(_LOG_IN):
            return None
        case _ if code is grpc.StatusCode.INVALID_ARGUMENT or "message larger than max" in text:
            return Invalid(f"etcd refuses the request: {text}")
        case _:
            return None
