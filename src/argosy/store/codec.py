"""Records to bytes and back: JSON, so that `etcdctl get` shows something readable.

Servers of neighbouring versions share a store (docs/design/records.md). Fields that a program does not know are passed
over when a record is read, and kept when it is written back (`beyond`); fields with default values are left out. Each
record says in `v` which version of its shape it has: one newer than this program knows would be misread, and is refused.
"""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from typing import Any, TypeVar, Union, get_args, get_origin

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

VERSIONS: Mapping[type[msgspec.Struct], int] = {
    Assignment: 1,
    Brake: 1,
    Cluster: 1,
    Event: 1,
    Explanation: 1,
    Identity: 1,
    LostMachine: 1,
    Machine: 1,
    MachineOrders: 1,
    MoveOrder: 1,
    Observed: 1,
    ServerRecord: 1,
    Token: 1,
    Unit: 1,
}
"""Everything that stands in the store, but for texts (see `keys.py`), with the version of its shape. Raise it when a
program that knows the one before would misread the record; a field that may be passed over needs no new version."""
VERSION = "v"
"""The field that says it; first in every record."""
_VERSION = re.compile(rb'\{"v":(\d{1,9})[,}]')
_encoder = msgspec.json.Encoder()
_decoders = {record: msgspec.json.Decoder(record) for record in VERSIONS}
Beyond = Mapping[str, Any]
"""Fields that a record has and this program does not know, as JSON; those of a record in it under the name of its field."""


def encode(record: msgspec.Struct, *, beyond: Beyond | None = None) -> bytes:
    """Deterministic: equal records give equal bytes.

    beyond: fields that this program does not know, to be kept.
    """
    whole = _merged(record, msgspec.to_builtins(record), beyond) if beyond else record
    data = _encoder.encode(whole)
    version = VERSIONS.get(type(record))
    if version is None:
        return data
    head = f'{{"{VERSION}":{version}'.encode()
    return head + (b"}" if data == b"{}" else b"," + data[1:])


def decode(value: bytes, record: type[T]) -> T:
    """Raises StoreRefused when the value is not such a record, because somebody else wrote into our store, and when it is
    one of a newer program that this one would misread.
    """
    if (found := _VERSION.match(value)) and int(found[1]) > VERSIONS[record]:
        raise StoreRefused(
            f"the store holds a {record.__name__} of version {int(found[1])}, "
            f"this program knows {VERSIONS[record]}",
            hint="update argosy on this host: a newer one wrote it",
        )
    try:
        return _decoders[record].decode(value)  # type: ignore[return-value]
    except msgspec.MsgspecError as problem:
        raise StoreRefused(
            f"the store holds something that is no {record.__name__}: {problem}"
        ) from problem


def beyond(value: bytes, record: msgspec.Struct) -> Beyond | None:
    """What the stored value of this record has that this program does not know: give it to `encode` when the record is
    written back changed. None, nearly always: nothing.
    """
    if value == encode(record):  # the rule, and cheap
        return None
    return _unknown(msgspec.json.decode(value, type=dict[str, Any]), type(record)) or None


def _unknown(found: Mapping[str, Any], kind: type[msgspec.Struct]) -> dict[str, Any]:
    known = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    result: dict[str, Any] = {}
    for name, value in found.items():
        if name not in known:
            result[name] = value
        elif (inner := _record_in(known[name])) and isinstance(value, dict):
            result[name] = _unknown(value, inner)
    return {name: one for name, one in result.items() if name != VERSION and one != {}}


def _record_in(kind: Any) -> type[msgspec.Struct] | None:
    """The record that a field of this type holds, if it holds one or none."""
    kinds = get_args(kind) if get_origin(kind) in (types.UnionType, Union) else (kind,)
    records = [one for one in kinds if isinstance(one, type) and issubclass(one, msgspec.Struct)]
    return records[0] if len(records) == 1 else None


def _merged(record: msgspec.Struct, own: dict[str, Any], beyond: Beyond) -> dict[str, Any]:
    attributes = {field.encode_name: field.name for field in msgspec.structs.fields(type(record))}
    for name, value in beyond.items():
        if name not in attributes:
            own[name] = value
        elif isinstance(inner := getattr(record, attributes[name]), msgspec.Struct):
            own[name] = _merged(inner, own.get(name, {}), value)
    return own
