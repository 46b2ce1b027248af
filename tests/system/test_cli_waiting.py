"""A wait follows the server's watch: it hears of changes at once, and outlives a restart of the server."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgspec
import pytest

from argosy.cli import judging
from argosy.cli.judging import Goal, Outcome, Wish
from argosy.cli.waiting import Wait
from argosy.client import Client
from argosy.errors import ServerUnreachable
from argosy.model.ids import UnitName
from argosy.model.observed import ActiveState, Observed
from argosy.store import base, codec, keys
from argosy.store.memory import MemoryStore
from system import recorded
from unit.api.serving import running

NAME = UnitName("web@1.service")


def wait_for_run(client: Client) -> Wait:
    return Wait(client, {NAME: Wish(Goal.RUNNING)}, machine_name=lambda machine: machine[:4])


async def report(store: MemoryStore, active: ActiveState, sub: str) -> None:
    """What the machine's agent would write."""
    status = msgspec.structs.replace(recorded.STATUSES[recorded.ONE, NAME], active=active, sub=sub)
    observed = Observed(machine=recorded.ONE, status=status)
    put = base.Put(keys.observed(recorded.ONE, NAME), codec.encode(observed))
    await store.txn([], [put])


async def until_seen(wait: Wait, text: str) -> None:
    async with asyncio.timeout(10):
        while NAME not in wait.verdicts or wait.verdicts[NAME].text != text:
            await asyncio.sleep(0.01)


async def test_a_wait_ends_when_the_watch_tells_of_the_state(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        await recorded.write(server.store)
        await report(server.store, ActiveState.ACTIVATING, "start")
        wait = wait_for_run(server.client)
        waiting = asyncio.create_task(asyncio.to_thread(wait.run, 20))
        await until_seen(wait, "activating (start) on 113f")
        await report(server.store, ActiveState.ACTIVE, "running")
        assert await waiting
        assert wait.verdicts[NAME].text == "running on 113f"


async def test_a_run_that_ends_at_once_is_not_taken_for_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long enough for any machine to deliver the second state before the first one counts.
    monkeypatch.setitem(judging.STANDS_AFTER, Outcome.DONE, 10.0)
    async with running(tmp_path) as server:
        await recorded.write(server.store)
        wait = wait_for_run(server.client)
        waiting = asyncio.create_task(asyncio.to_thread(wait.run, 20))
        await until_seen(wait, "running on 113f")
        await report(server.store, ActiveState.FAILED, "failed")
        assert await waiting
        assert wait.verdicts[NAME].outcome is Outcome.FAILED


async def test_a_wait_goes_on_when_the_server_comes_back(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        await recorded.write(server.store)
        await report(server.store, ActiveState.ACTIVATING, "start")
        wait = wait_for_run(server.client)
        waiting = asyncio.create_task(asyncio.to_thread(wait.run, 20))
        await until_seen(wait, "activating (start) on 113f")
    assert not waiting.done()
    async with running(tmp_path) as server:
        await recorded.write(server.store)
        assert await waiting


async def test_a_server_that_stays_away_ends_the_wait_in_time(tmp_path: Path) -> None:
    client = Client.find(f"unix://{tmp_path}/none")
    began = time.monotonic()
    with pytest.raises(ServerUnreachable):
        await asyncio.to_thread(wait_for_run(client).run, 0.5)
    assert time.monotonic() - began < 5


async def test_time_that_runs_out_is_an_answer(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        await recorded.write(server.store)
        await report(server.store, ActiveState.ACTIVATING, "start")
        wait = wait_for_run(server.client)
        assert not await asyncio.to_thread(wait.run, 0.3)
        assert wait.verdicts[NAME].outcome is Outcome.WAITING
