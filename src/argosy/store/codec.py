"""Records to bytes and back: JSON, so that `etcdctl get` shows something readable.

Unknown fields are ignored and fields with default values are left out, so that neighbours of one version read each other.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from argosy.errors import StoreRefused
from argosy.model.assignment import Assignment
from argosy.model.cluster import Cluster
from argosy.model.event import Event
from argosy.model.explanation import Explanation
from argosy.model.machine import Machine
from argosy.model.observed import Observed
from argosy.model.unit import Unit

T = TypeVar("T", Assignment, Cluster, Event, Explanation, Machine, Observed, Unit)

_encoder = msgspec.json.Encoder()
_decoders = {
    record: msgspec.json.Decoder(record)
    for record in (Assignment, Cluster, Event, Explanation, Machine, Observed, Unit)
}


def encode(record: Assignment | Cluster | Event | Explanation | Machine | Observed | Unit) -> bytes:
    """Deterministic: equal records give equal bytes."""
    return _encoder.encode(record)


def decode(value: bytes, record: type[T]) -> T:
    """Raises StoreRefused when the value is not such a record: somebody else wrote into our store."""
    try:
        return _decoders[record].decode(value)  # type: ignore[return-value]
    except msgspec.MsgspecError as problem:
        raise StoreRefused(
            f"the store holds something that is no {record.__name__}: {problem}"
        ) from problem
