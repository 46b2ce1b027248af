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
from argosy.model.identity import Identity
from argosy.model.lost import Brake, LostMachine
from argosy.model.machine import Machine
from argosy.model.moves import MoveOrder
from argosy.model.observed import Observed
from argosy.model.orders import MachineOrders
from argosy.model.server import ServerRecord
from argosy.model.token import Token
from argosy.model.unit import Unit

T = TypeVar("T", bound=msgspec.Struct)

RECORDS: tuple[type[msgspec.Struct], ...] = (
    Assignment,
    Brake,
    Cluster,
    Event,
    Explanation,
    Identity,
    LostMachine,
    Machine,
    MachineOrders,
    MoveOrder,
    Observed,
    ServerRecord,
    Token,
    Unit,
)
"""Everything that stands in the store, but for texts; see `keys.py`."""
_encoder = msgspec.json.Encoder()
_decoders = {record: msgspec.json.Decoder(record) for record in RECORDS}


def encode(record: msgspec.Struct) -> bytes:
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
