"""A server beside a newer one: what the newer wrote is used, kept, and never lost by what people do here."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from argosy.client import Submission
from argosy.errors import ArgosyError
from argosy.model.ids import UnitName
from argosy.store import base, keys
from system import recorded
from unit.api.serving import Running, running

WEB = UnitName("web@1.service")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as server:
        await recorded.write(server.store)
        yield server


async def stored(server: Running, key: str) -> dict[str, Any]:
    [kv] = (await server.store.range(key)).kvs
    found: dict[str, Any] = json.loads(kv.value)
    return found


async def written_by_a_newer(server: Running, key: str, **more: Any) -> None:
    """Add fields to a record, as a newer server would."""
    record = {**await stored(server, key), **more}
    await server.store.txn([], [base.Put(key, json.dumps(record).encode())])


async def test_a_unit_keeps_what_a_newer_server_wrote_through_stop_start_and_restart(
    server: Running,
) -> None:
    key = keys.unit(WEB)
    requirements = {"gpu": 2}
    await written_by_a_newer(server, key, canary={"share": 0.1}, requirements=requirements)
    await server.call(lambda client: client.change([WEB], desired="inactive"))
    await server.call(lambda client: client.change([WEB], start=True))
    await server.call(lambda client: client.change([WEB], restart=True))
    found = await stored(server, key)
    assert (found["desired"], found["generation"]) == ("launched", 1)
    assert (found["canary"], found["requirements"]) == ({"share": 0.1}, requirements)


async def test_the_same_text_again_changes_nothing_and_another_text_is_what_this_server_makes_of_it(
    server: Running,
) -> None:
    key = keys.unit(UnitName("old.service"))
    await written_by_a_newer(server, key, canary={"share": 0.1})
    same = Submission("old.service", recorded.TEXT, "launched")
    await server.call(lambda client: client.submit([same]))
    assert (await stored(server, key))["canary"] == {"share": 0.1}
    other = Submission("old.service", b"[Service]\nExecStart=/bin/true\n")
    await server.call(lambda client: client.submit([other], replace=True))
    assert "canary" not in await stored(server, key)


async def test_a_machine_s_orders_keep_what_a_newer_server_wrote(server: Running) -> None:
    key = keys.orders(recorded.ONE)
    await server.call(lambda client: client.order_machine(recorded.ONE, scheduling="cordoned"))
    await written_by_a_newer(server, key, taints=["noisy"])
    await server.call(lambda client: client.order_machine(recorded.ONE, scheduling="open"))
    found = await stored(server, key)
    assert found["taints"] == ["noisy"]
    assert "scheduling" not in found


async def test_a_record_that_this_server_would_misread_ends_it_with_the_way_out(
    server: Running,
) -> None:
    await written_by_a_newer(server, keys.unit(WEB), v=2)
    [kv] = (await server.store.range(keys.unit(WEB))).kvs
    # As a server writes it: the version comes first.
    value = b'{"v":2,' + kv.value.replace(b'"v": 2, ', b"")[1:]
    await server.store.txn([], [base.Put(kv.key, value)])
    with pytest.raises(ArgosyError, match="of version 2, this program knows 1"):
        await server.task
