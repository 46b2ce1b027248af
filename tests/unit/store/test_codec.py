"""Records of neighbouring versions: what is not known is passed over, kept when written back, and refused when misread."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from argosy.errors import StoreRefused
from argosy.model.ids import MachineId, UnitName
from argosy.model.orders import MachineOrders, Scheduling
from argosy.model.unit import DesiredState, Requirements, Unit
from argosy.store import codec
from argosy.units.check import digest_of

UNIT = Unit(
    name=UnitName("web.service"),
    digest=digest_of(b"text"),
    desired=DesiredState.LAUNCHED,
    variables={"A": "1", "B": "2"},
    requirements=Requirements(is_global=True),
    submitted_at=datetime(2026, 3, 14, 15, 9, 26, 535000, tzinfo=UTC),
)


def newer(record: msgspec.Struct, **more: Any) -> bytes:
    """The record as a newer program might have written it; `requirements__x` is a field of the record within."""
    value: dict[str, Any] = json.loads(codec.encode(record))
    for name, one in more.items():
        outer, inside, inner = name.partition("__")
        if inside:
            value.setdefault(outer, {})[inner] = one
        else:
            value[name] = one
    return json.dumps(value).encode()


@pytest.mark.parametrize("record", codec.VERSIONS)
def test_no_record_has_a_field_of_its_own_where_the_version_stands(
    record: type[msgspec.Struct],
) -> None:
    names = {field.encode_name for field in msgspec.structs.fields(record)}
    assert codec.VERSION not in names


def test_a_record_says_its_version_first_and_is_read_with_it_or_without() -> None:
    value = codec.encode(UNIT)
    assert value.startswith(b'{"v":1,')
    assert codec.decode(value, Unit) == UNIT
    before_there_was_one = value.replace(b'"v":1,', b"")
    assert codec.decode(before_there_was_one, Unit) == UNIT


def test_what_a_newer_program_added_is_passed_over() -> None:
    value = newer(UNIT, rollout={"steps": [1, 2]}, requirements__gpu=2)
    assert codec.decode(value, Unit) == UNIT


def test_a_record_that_would_be_misread_is_refused_with_the_way_out() -> None:
    value = codec.encode(UNIT).replace(b'{"v":1,', b'{"v":2,')
    with pytest.raises(StoreRefused, match="a Unit of version 2, this program knows 1") as refused:
        codec.decode(value, Unit)
    assert refused.value.hint == "update argosy on this host: a newer one wrote it"


def test_what_is_known_whole_has_nothing_beyond() -> None:
    assert codec.beyond(codec.encode(UNIT), UNIT) is None
    assert codec.beyond(codec.encode(UNIT).replace(b'"v":1,', b""), UNIT) is None
    reordered = json.dumps(dict(reversed(json.loads(codec.encode(UNIT)).items()))).encode()
    assert codec.beyond(reordered, UNIT) is None


def test_what_is_not_known_is_kept_when_a_record_is_written_back() -> None:
    added: dict[str, Any] = {
        "rollout": {"steps": [1, 2]},
        "note": None,
        "empty": [],
        "requirements__gpu": 2,
    }
    beyond = codec.beyond(newer(UNIT, **added), UNIT)
    stopped = msgspec.structs.replace(
        UNIT, desired=DesiredState.INACTIVE, generation=7, variables={"B": "3"}
    )
    written = codec.encode(stopped, beyond=beyond)
    assert json.loads(written) == json.loads(newer(stopped, **added))
    assert written.startswith(b'{"v":1,')
    assert codec.decode(written, Unit) == stopped
    # And again, by another server.
    assert codec.beyond(written, stopped) == beyond


def test_what_is_not_known_of_a_record_within_is_kept_when_that_has_become_its_default() -> None:
    beyond = codec.beyond(newer(UNIT, requirements__gpu=2), UNIT)
    plain = msgspec.structs.replace(UNIT, requirements=Requirements())
    written = codec.encode(plain, beyond=beyond)
    assert json.loads(written)["requirements"] == {"gpu": 2}
    assert codec.decode(written, Unit) == plain


def test_keys_of_a_table_are_not_fields_and_do_not_come_back() -> None:
    orders = MachineOrders(machine=MachineId("1" * 32), metadata={"disk": "ssd", "zone": "a"})
    beyond = codec.beyond(newer(orders, taint="x"), orders)
    after = msgspec.structs.replace(orders, metadata={"zone": "a"}, scheduling=Scheduling.CORDONED)
    written = json.loads(codec.encode(after, beyond=beyond))
    assert written["metadata"] == {"zone": "a"}
    assert written["taint"] == "x"
