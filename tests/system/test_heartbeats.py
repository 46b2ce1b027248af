"""Heartbeats that are answered before HTTP gets to see them decide as the long way does."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from argosy.agent.https_link import HttpsLink
from argosy.agent.servers import Servers
from argosy.api.access import Peer
from argosy.api.heartbeats import Heartbeats
from argosy.errors import LeaseLost, NotFound, Temporary, Unauthenticated
from argosy.model.ids import Digest, UnitName
from argosy.model.link import Report
from argosy.model.machine import Machine
from argosy.model.observed import UnitStatus
from argosy.store import base, keys
from system.tls_server import ME, TlsServer, tls_server


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[TlsServer]:
    async with tls_server(tmp_path) as served:
        yield served


@pytest.fixture
async def certificate(server: TlsServer) -> ssl.SSLContext:
    return await server.machine()


async def registered(server: TlsServer, certificate: ssl.SSLContext) -> HttpsLink:
    path = server.directory / "known"
    servers = Servers([f"https://localhost:{server.port}"], path, chance=Random(1))
    link = HttpsLink(servers, certificate, holder="boot-1")
    await link.register(Machine(id=ME))
    return link


@pytest.fixture
async def link(server: TlsServer, certificate: ssl.SSLContext) -> AsyncIterator[HttpsLink]:
    """A registered agent's."""
    link = await registered(server, certificate)
    yield link
    link.close()


@pytest.fixture
def short_way(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each arrival of bytes between requests: whether it was answered there and then."""
    taken: list[bool] = []
    original = Heartbeats.may_acknowledge

    def watched(self: Heartbeats, peer: Peer, data: bytes) -> bool:
        taken.append(original(self, peer, data))
        return taken[-1]

    monkeypatch.setattr(Heartbeats, "may_acknowledge", watched)
    return taken


async def test_a_heartbeat_of_our_agent_goes_the_short_way_and_a_report_does_not(
    link: HttpsLink, short_way: list[bool]
) -> None:
    await link.report(Report())
    await link.report(Report(changed=(UnitStatus(name=UnitName("a.service")),)))
    await link.report(Report())
    with pytest.raises(NotFound):
        await link.text(Digest("0" * 64))
    assert short_way == [True, False, True, False]


async def test_a_heartbeat_keeps_a_machine_there(server: TlsServer, link: HttpsLink) -> None:
    session = server.sessions._sessions[ME]
    session.is_doubted = True
    await link.report(Report())
    assert not session.is_doubted


async def test_heartbeats_of_a_removed_machine_are_refused(
    server: TlsServer, link: HttpsLink
) -> None:
    await link.report(Report())
    await server.store.txn([], [base.Delete(keys.identity(ME))])
    with pytest.raises(Unauthenticated):
        await link.report(Report())


async def test_heartbeats_of_an_earlier_registration_are_refused(
    server: TlsServer, link: HttpsLink, certificate: ssl.SSLContext
) -> None:
    later = await registered(server, certificate)
    with pytest.raises(LeaseLost):
        await link.report(Report())
    await later.report(Report())
    later.close()


async def test_a_server_that_cannot_vouch_does_not_acknowledge(
    server: TlsServer, link: HttpsLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.sessions, "_asked_at", float("-inf"))
    with pytest.raises(Temporary):
        await link.report(Report())


async def test_too_many_heartbeats_are_refused(link: HttpsLink) -> None:
    async def many() -> None:
        for _ in range(200):
            await link.report(Report())

    with pytest.raises(Temporary, match="too much at a time"):
        await many()
