"""Who may do what: every route with every kind of credentials, over real TLS; and what those get who lie."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from argosy.api.access import Access
from argosy.api.access_schemas import (
    CreatedToken,
    JoinRequest,
    JoinServerRequest,
    ServerJoined,
    TokenView,
)
from argosy.api.app import ROUTES
from argosy.api.protocol import BoundedProtocol
from argosy.api.removing import remove_machine
from argosy.model.event import Event
from argosy.model.identity import Identity
from argosy.model.ids import MachineId, UnitName
from argosy.model.observed import Observed
from argosy.model.token import Role, Token, TokenKind
from argosy.pki import certificates
from argosy.pki.authority import Authority
from argosy.pki.tokens import TokenText
from argosy.store import base, codec, keys
from system.tls_server import ME, OTHER, Answer, TlsServer, read_answer, request, tls_server

NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
ALLOWED = {
    "GET /v1/version": "anyone",
    "GET /v1/ca": "anyone",
    "POST /v1/join": "anyone",
    "POST /v1/join-server": "anyone",
    "GET /v1/status": "viewer",
    "GET /v1/health": "viewer",
    "GET /metrics": "viewer",
    "GET /v1/units": "viewer",
    "GET /v1/units/{name}": "viewer",
    "GET /v1/states": "viewer",
    "GET /v1/machines": "viewer",
    "GET /v1/why/{name}": "viewer",
    "GET /v1/events": "viewer",
    "GET /v1/watch": "viewer",
    "GET /v1/logs": "viewer",
    "POST /v1/verify": "viewer",
    "POST /v1/units": "deployer",
    "PATCH /v1/units": "deployer",
    "DELETE /v1/units": "deployer",
    "PATCH /v1/machines/{machine}": "admin",
    "DELETE /v1/machines/{machine}": "admin",
    "GET /v1/machines/{machine}/drain-plan": "viewer",
    "GET /v1/rebalance-plan": "viewer",
    "POST /v1/moves": "admin",
    "GET /v1/machines/{machine}/facts": "viewer",
    "GET /v1/machines/{machine}/journal": "admin",
    "POST /v1/machines/{machine}/exec": "admin",
    "POST /v1/machines/{machine}/exec/{id}/input": "admin",
    "POST /v1/stop-cluster": "admin",
    "GET /v1/backup": "admin",
    "POST /v1/tokens": "admin",
    "GET /v1/tokens": "admin",
    "DELETE /v1/tokens/{id}": "admin",
    "PUT /v1/agent/machine": "machine",
    "GET /v1/agent/assignment": "machine",
    "GET /v1/agent/texts/{digest}": "machine",
    "POST /v1/agent/report": "machine",
    "POST /v1/agent/certificate": "machine",
    "GET /v1/agent/servers": "machine",
    "GET /v1/agent/questions": "machine",
    "POST /v1/agent/answers/{id}": "machine",
    "GET /v1/agent/inputs/{id}": "machine",
}
"""The least that somebody has to be. Written out here on purpose: a route that is opened to more people by mistake differs
from its line."""

PASSES = {
    "anyone": {"anyone", "viewer", "deployer", "admin", "machine"},
    "viewer": {"viewer", "deployer", "admin"},
    "deployer": {"deployer", "admin"},
    "admin": {"admin"},
    "machine": {"machine"},
}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[TlsServer]:
    async with tls_server(tmp_path) as server:
        yield server


async def status(
    server: TlsServer,
    route: str,
    *,
    context: ssl.SSLContext | None = None,
    token: TokenText | str | None = None,
) -> int:
    """Of a request without a body: whoever is let in is told so, or finds nothing, or is asked for a body (415)."""
    method, path = route.split()
    path = path.replace("{name}", "x.service").replace("{digest}", "a" * 64).replace("{id}", "0")
    path = path.replace("{machine}", "f" * 32)
    reader, writer = await server.connect(context)
    try:
        writer.write(request(method, path, token=token))
        async with asyncio.timeout(10):
            head = await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()
    return int(head.split()[1])


def test_the_table_has_every_route_and_the_routes_say_the_same() -> None:
    assert {f"{route.method} {route.path}": route.needs.value for route in ROUTES} == ALLOWED
    assert {one.value for one in Access} == PASSES.keys()


@pytest.mark.parametrize("route", sorted(ALLOWED))
async def test_a_route_is_for_those_of_the_table_and_for_nobody_else(
    server: TlsServer, route: str
) -> None:
    passes = PASSES[ALLOWED[route]]
    known = {
        "viewer": {"token": await server.token(role=Role.VIEWER)},
        "deployer": {"token": await server.token(role=Role.DEPLOYER)},
        "admin": {"token": await server.token(role=Role.ADMIN)},
        "machine": {"context": await server.machine()},
    }
    for who, credentials in known.items():
        found = await status(server, route, **credentials)  # type: ignore[arg-type]
        assert (found not in (401, 403)) is (who in passes), f"{who} gets {found}"
        if who not in passes:
            assert found == 403, f"{who} gets {found}"

    expired = await server.token(role=Role.ADMIN, expires_in=timedelta(seconds=-1))
    machine_token = await server.token(TokenKind.MACHINE)
    server_token = await server.token(TokenKind.SERVER)
    right = await server.token(role=Role.ADMIN)
    wrong_secret = str(right).replace(right.secret, "0" * 64)
    unknown: dict[str, dict[str, Any]] = {
        "nobody": {},
        "an unknown token": {"token": TokenText.make(TokenKind.PERSON, server.authority.digest)},
        "a token with a wrong secret": {"token": wrong_secret},
        "an expired token": {"token": expired},
        "a token for machines": {"token": machine_token},
        "a token for servers": {"token": server_token},
        "no token at all": {"token": "hello"},
        "a machine that is not known": {"context": await server.machine(OTHER, is_known=False)},
        "a certificate of another cluster": {
            "context": await server.machine(OTHER, cluster="d" * 32)
        },
        "a machine with a wrong token": {"context": await server.machine(), "token": wrong_secret},
    }
    for who, credentials in unknown.items():
        found = await status(server, route, **credentials)
        if "anyone" in passes:
            assert found not in (401, 403), f"{who} gets {found}"
        else:
            assert found == 401, f"{who} gets {found}"


async def test_certificates_of_another_authority_and_expired_ones_get_no_connection(
    server: TlsServer,
) -> None:
    stranger = Authority.make(server.cluster.id, now=server.now())
    forged = await server.machine(authority=stranger)
    expired = await server.machine(at=server.now() - timedelta(days=91))
    for context in (forged, expired):
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await server.ask("GET", "/v1/version", context=context)
    assert (await server.ask("GET", "/v1/version")).status == 200


async def test_older_versions_of_tls_get_no_connection(server: TlsServer) -> None:
    context = server.anonymous()
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(OSError):
        await server.ask("GET", "/v1/version", context=context)


async def test_a_certificate_that_expires_on_an_open_connection_is_worth_nothing_from_then_on(
    server: TlsServer,
) -> None:
    link = await Link.open(server)
    assert (await link.report()).status == 204
    server.later += timedelta(days=91)
    assert (await link.report()).status == 401


# --- a machine's way in ---------------------------------------------------------------------------------------------


async def join(
    server: TlsServer, token: TokenText | str, *, machine: str = ME, csr: bytes | None = None
) -> tuple[Answer, bytes]:
    key = certificates.make_key()
    body = {
        "token": str(token),
        "machine": machine,
        "hostname": "m1",
        "csr": (csr or certificates.make_request(key)).decode(),
    }
    return await server.ask("POST", "/v1/join", body), key


class Link:
    """An agent's connection: its certificate, and the session of its registration."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        machine: MachineId,
        context: ssl.SSLContext,
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.machine = machine
        self.context = context
        self.session = ""

    @classmethod
    async def open(
        cls,
        server: TlsServer,
        *,
        machine: MachineId = ME,
        context: ssl.SSLContext | None = None,
        holder: str = "boot-1",
    ) -> Link:
        context = context or await server.machine(machine)
        link = cls(*await server.connect(context), machine, context)
        answer = await link.ask(
            "PUT", "/v1/agent/machine", {"machine": {"id": machine}, "holder": holder}
        )
        assert answer.status == 200, answer
        link.session = answer.json["session"]
        return link

    async def ask(self, method: str, path: str, body: Any = None) -> Answer:
        self.writer.write(request(method, path, body))
        async with asyncio.timeout(10):
            return await read_answer(self.reader)

    async def report(self, **more: Any) -> Answer:
        return await self.ask("POST", "/v1/agent/report", {"session": self.session, **more})


async def test_a_machine_joins_and_speaks_for_itself(server: TlsServer) -> None:
    token = await server.token(TokenKind.MACHINE)
    answer, key = await join(server, token)
    assert answer.status == 200
    assert answer.json["ca"].encode() == server.authority.certificate
    assert answer.json["servers"] == ["https://10.0.0.5:7440"]
    link = await Link.open(server, context=server.shows(answer.json["certificate"].encode(), key))
    assert (await link.report()).status == 204
    identity = codec.decode((await server.store.range(keys.identity(ME))).kvs[0].value, Identity)
    assert (identity.token, len(identity.serials)) == (token.id, 1)
    link.writer.close()


async def test_a_token_for_one_machine_lets_in_one_of_twenty_that_come_at_once(
    server: TlsServer,
) -> None:
    token = await server.token(TokenKind.MACHINE, uses=1)
    machines = [f"{number:032x}" for number in range(1, 21)]
    answers = await asyncio.gather(*(join(server, token, machine=one) for one in machines))
    assert sorted(answer.status for answer, _ in answers) == [200] + [401] * 19
    identities = await server.store.range(keys.IDENTITIES, base.prefix_end(keys.IDENTITIES))
    assert len(identities.kvs) == 1


async def test_twenty_machines_join_at_once_with_a_token_for_twenty(server: TlsServer) -> None:
    token = await server.token(TokenKind.MACHINE, uses=20)
    machines = [f"{number:032x}" for number in range(1, 21)]
    answers = await asyncio.gather(*(join(server, token, machine=one) for one in machines))
    assert {answer.status for answer, _ in answers} == {200}
    left = codec.decode((await server.store.range(keys.token(token.id))).kvs[0].value, Token)
    assert left.uses_left == 0


async def test_whoever_comes_with_a_bad_token_learns_one_sentence_and_the_log_the_reason(
    server: TlsServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    good = await server.token(TokenKind.MACHINE)
    bad: dict[str, TokenText | str] = {
        "is for a person": await server.token(role=Role.ADMIN),
        "is for a server": await server.token(TokenKind.SERVER),
        "expired": await server.token(TokenKind.MACHINE, expires_in=timedelta(seconds=-1)),
        "used up": await server.token(TokenKind.MACHINE, uses=0),
        "none with this id": TokenText.make(TokenKind.MACHINE, server.authority.digest),
        "wrong secret": str(good).replace(good.secret, "0" * 64),
        "no token": "argosy_m_1_2_3",
    }
    answers = {reason: (await join(server, token))[0] for reason, token in bad.items()}
    assert {answer.status for answer in answers.values()} == {401}
    assert len({answer.body for answer in answers.values()}) == 1
    for reason in ("expired", "used up", "none with this id", "wrong secret", "no token"):
        assert reason in caplog.text
    assert not (await server.store.range(keys.IDENTITIES, base.prefix_end(keys.IDENTITIES))).kvs


async def test_a_live_machines_id_is_not_given_to_another(server: TlsServer) -> None:
    await Link.open(server)
    answer, _ = await join(server, await server.token(TokenKind.MACHINE))
    assert answer.status == 409
    assert "live machine" in answer.message


@pytest.mark.parametrize("machine", ["", "../" + "1" * 29, "1" * 31, "G" * 32, "1" * 32 + "\n"])
async def test_a_machine_without_a_proper_id_is_refused(server: TlsServer, machine: str) -> None:
    answer, _ = await join(server, await server.token(TokenKind.MACHINE), machine=machine)
    assert answer.status == 422


async def test_a_signing_request_that_is_none_costs_the_token_nothing(server: TlsServer) -> None:
    token = await server.token(TokenKind.MACHINE, uses=1)
    refused, _ = await join(server, token, csr=b"-----BEGIN CERTIFICATE REQUEST-----")
    assert refused.status == 422
    assert (await join(server, token))[0].status == 200


async def test_a_server_joins_with_a_servers_token_and_gets_the_authoritys_key(
    server: TlsServer,
) -> None:
    token = await server.token(TokenKind.SERVER, uses=1)
    body = {"token": str(token), "name": "s2", "addresses": ["10.0.0.6"]}
    answer = await server.ask("POST", "/v1/join-server", body)
    assert answer.status == 200
    assert answer.json["ca_key"].encode() == server.authority.key
    assert answer.json["store"]["endpoints"] == ["https://10.0.0.1:2379"]
    assert (await server.ask("POST", "/v1/join-server", body)).status == 401
    machine = {**body, "token": str(await server.token(TokenKind.MACHINE))}
    assert (await server.ask("POST", "/v1/join-server", machine)).status == 401
    live = {"token": str(await server.token(TokenKind.SERVER)), "name": "s1"}
    assert (await server.ask("POST", "/v1/join-server", live)).status == 409


async def test_a_renewed_certificate_ends_the_old_one_when_it_is_used(server: TlsServer) -> None:
    old = await Link.open(server)
    key = certificates.make_key()
    renewed = await old.ask(
        "POST", "/v1/agent/certificate", {"csr": certificates.make_request(key).decode()}
    )
    assert renewed.status == 200
    # The agent may die before it has saved it: the old one still works.
    assert (await old.report()).status == 204
    context = server.shows(renewed.json["certificate"].encode(), key)
    new = await Link.open(server, context=context)
    assert (await new.report()).status == 204
    assert (await new.report()).status == 204
    assert (await old.report()).status == 401


# --- agents of neighbouring versions --------------------------------------------------------------------------------


async def test_a_newer_agent_is_served_and_what_it_says_more_is_passed_over(
    server: TlsServer,
) -> None:
    context = await server.machine(ME)
    machine = {"id": ME, "hostname": "one", "gpus": 2, "capacity": {"memory_bytes": 1, "disks": []}}
    body = {"machine": machine, "holder": "boot-1", "protocol": 2, "wishes": ["more"]}
    answer = await server.ask("PUT", "/v1/agent/machine", body, context=context)
    assert answer.status == 200
    status = {"name": "web.service", "digest": "a" * 64, "active": "active", "pressure": 0.1}
    report = {"session": answer.json["session"], "changed": [status], "mood": "good"}
    answer = await server.ask("POST", "/v1/agent/report", report, context=context)
    assert answer.status == 204
    found = (await server.store.range(keys.observed(ME, UnitName("web.service")))).kvs[0]
    assert codec.decode(found.value, Observed).status.active == "active"


async def test_an_agent_too_old_to_be_served_is_told_what_to_do(server: TlsServer) -> None:
    context = await server.machine(ME)
    body = {"machine": {"id": ME}, "holder": "boot-1", "protocol": 0}
    answer = await server.ask("PUT", "/v1/agent/machine", body, context=context)
    assert answer.status == 501
    assert answer.json["error"]["hint"] == "update argosy on the machine"
    assert not (await server.store.range(keys.presence(ME))).kvs


# --- those who lie --------------------------------------------------------------------------------------------------


async def test_an_agent_that_says_it_is_another_machine_is_refused(server: TlsServer) -> None:
    await Link.open(server, machine=OTHER)
    link = await Link.open(server)
    body = {"machine": {"id": OTHER}, "holder": "boot-1"}
    answer = await link.ask("PUT", "/v1/agent/machine", body)
    assert answer.status == 403
    assert (await server.store.range(keys.presence(OTHER))).kvs[0].version == 1


async def test_an_agent_that_reports_for_another_machine_reports_for_itself(
    server: TlsServer,
) -> None:
    link = await Link.open(server)
    lie = {
        "at": "2999-01-01T00:00:00Z",
        "kind": "unit.failed",
        "unit": "db.service",
        "machine": OTHER,
        "by": "engine",
        "message": "not true",
    }
    assert (await link.report(events=[lie])).status == 204
    found = await server.store.range(keys.EVENTS, base.prefix_end(keys.EVENTS))
    told = codec.decode(found.kvs[-1].value, Event)
    assert (told.machine, told.by) == (ME, "agent")
    assert told.at < server.now() + timedelta(minutes=2)


@pytest.mark.parametrize("name", ["../x.service", "a/b.service", "", "x", "\n.service"])
async def test_a_report_about_what_is_no_unit_is_refused(server: TlsServer, name: str) -> None:
    link = await Link.open(server)
    unit = {"name": name, "digest": "a" * 64}
    assert (await link.report(changed=[unit])).status == 422
    assert (await link.report(gone=[name])).status == 422
    assert not (await server.store.range(keys.OBSERVED, base.prefix_end(keys.OBSERVED))).kvs


async def test_a_report_without_a_registration_is_refused(server: TlsServer) -> None:
    link = await Link.open(server)
    for body in ({}, {"session": "none"}):
        assert (await link.ask("POST", "/v1/agent/report", body)).status == 409
    assert (await link.report()).status == 204


async def test_a_report_of_a_gigabyte_is_refused_before_it_is_read(server: TlsServer) -> None:
    link = await Link.open(server)
    head = (
        "POST /v1/agent/report HTTP/1.1\r\nHost: s\r\nContent-Type: application/json\r\n"
        f"Content-Length: {2**30}\r\n\r\n"
    )
    link.writer.write(head.encode())
    answer = await read_answer(link.reader)
    assert answer.status == 413


async def test_a_status_of_megabytes_is_refused_and_long_lines_are_cut(server: TlsServer) -> None:
    link = await Link.open(server)
    status = {"name": "x.service", "digest": "a" * 64}
    answer = await link.report(changed=[{**status, "text": "x" * 3_000_000}])
    assert answer.status == 422
    lines = [*(str(number) * 60_000 for number in range(9)), "the reason"]
    assert (await link.report(changed=[{**status, "last_lines": lines}])).status == 204
    kept = (await server.store.range(keys.observed(ME, UnitName("x.service")))).kvs[0].value
    assert len(kept) < 64 * 1024
    assert b"the reason" in kept


async def test_a_machine_that_makes_up_units_without_end_is_stopped(server: TlsServer) -> None:
    link = await Link.open(server)
    sent = 0
    for batch in range(30):
        names = [f"u{batch}-{number}.service" for number in range(500)]
        units = [{"name": name, "digest": "a" * 64} for name in names]
        answer = await link.report(changed=units)
        if answer.status == 422:
            break
        sent += len(units)
    assert "at most 10000 units" in answer.message
    observed = keys.observed_of(ME)
    found = await server.store.range(observed, base.prefix_end(observed), keys_only=True)
    assert found.total == sent == 10_000
    # Not by registering anew, either.
    again = await Link.open(server, context=link.context)
    assert (await again.report(changed=units)).status == 422
    assert (await again.report(changed=units, full=True)).status == 204


async def test_megabytes_without_end_are_refused_after_a_while(server: TlsServer) -> None:
    link = await Link.open(server)
    event = {"at": "2026-01-01T00:00:00Z", "kind": "unit.failed", "message": "x" * 2_000_000}
    seen = [(await link.report(events=[event])).status for _ in range(30)]
    assert 10 <= seen.count(204) <= 25
    assert seen[-1] == 429
    found = await server.store.range(keys.EVENTS, base.prefix_end(keys.EVENTS))
    assert all(len(kv.value) < 10_000 for kv in found.kvs)


async def test_thousands_of_requests_of_one_machine_do_not_keep_others_waiting(
    server: TlsServer,
) -> None:
    noisy, quiet = await Link.open(server), await Link.open(server, machine=OTHER)
    one = request("POST", "/v1/agent/report", {"session": noisy.session})
    noisy.writer.write(one * 3000)
    seen = [(await read_answer(noisy.reader)).status for _ in range(500)]
    assert (await quiet.report()).status == 204
    seen += [(await read_answer(noisy.reader)).status for _ in range(2500)]
    taken = seen.count(204)
    assert seen.count(429) == 3000 - taken
    assert 90 <= taken <= 1000
    # After a rest it is heard again.
    async with asyncio.timeout(10):
        while (await noisy.report()).status != 204:
            await asyncio.sleep(0.02)


async def test_a_machine_that_follows_its_assignment_anew_ends_its_oldest_stream(
    server: TlsServer,
) -> None:
    context = await server.machine()
    streams = [await stream(server, "/v1/agent/assignment", context=context) for _ in range(5)]
    for forgotten in streams[:-2]:
        assert await ends(forgotten)
    await server.store.txn([], [base.Put(keys.assignment(ME), b'{"machine":"%b"}' % ME.encode())])
    for kept in streams[-2:]:
        assert ME.encode() in b"".join(await all_within(kept, seconds=0.3))


async def test_guessing_tokens_does_not_reach_the_store_more_than_it_can_bear(
    server: TlsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    whole = server.store.range

    async def counting(*args: Any, **kwargs: Any) -> base.RangeResult:
        reads.append(args[0])
        return await whole(*args, **kwargs)

    monkeypatch.setattr(server.store, "range", counting)
    reader, writer = await server.connect()
    for _ in range(1000):
        guess = TokenText.make(TokenKind.PERSON, server.authority.digest)
        writer.write(request("GET", "/v1/units", token=guess))
    for _ in range(1000):
        assert (await read_answer(reader)).status == 401
    writer.close()
    assert len(reads) < 400


async def test_strangers_cannot_keep_machines_out_by_taking_all_connections(
    server: TlsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedProtocol, "max_connections", 20)
    context = await server.machine()
    for _ in range(10):
        await server.connect()
    refused = await server.ask("GET", "/v1/version")
    assert (refused.status, refused.message) == (503, "too many connections")
    link = await Link.open(server, context=context)
    assert (await link.report()).status == 204


# --- being turned out -----------------------------------------------------------------------------------------------


async def stream(server: TlsServer, path: str, **who: Any) -> asyncio.StreamReader:
    """A stream that has begun."""
    reader, writer = await server.connect(who.get("context"))
    writer.write(request("GET", path, token=who.get("token")))
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
    assert head.split()[1] == b"200"
    return reader


async def all_within(reader: asyncio.StreamReader, *, seconds: float) -> list[bytes]:
    """The lines that come in so many seconds."""
    lines = []
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while line := await reader.readline():
                lines.append(line)
    return lines


async def ends(reader: asyncio.StreamReader) -> bool:
    """Whether the stream ends now, by its proper end."""
    async with asyncio.timeout(5):
        while line := await reader.readline():
            if line == b"0\r\n":
                return True
    return False


async def test_a_removed_machine_is_refused_at_once_and_its_streams_end(server: TlsServer) -> None:
    link, other = await Link.open(server), await Link.open(server, machine=OTHER)
    await link.report(changed=[{"name": "x.service", "digest": "a" * 64}])
    assignments = await stream(server, "/v1/agent/assignment", context=link.context)
    await remove_machine(server.server._api, ME, reason="stolen")
    assert await ends(assignments)
    assert (await link.report()).status == 401
    assert (await other.report()).status == 204
    for prefix in (keys.MACHINES, keys.IDENTITIES, keys.PRESENCE):
        found = await server.store.range(prefix, base.prefix_end(prefix), keys_only=True)
        assert [keys.last_part(kv.key) for kv in found.kvs] == [OTHER]
    observed = keys.observed_of(ME)
    assert not (await server.store.range(observed, base.prefix_end(observed))).kvs
    events = await server.store.range(keys.EVENTS, base.prefix_end(keys.EVENTS))
    last = codec.decode(events.kvs[-1].value, Event)
    assert (last.kind, last.machine, last.message) == ("machine.removed", ME, "stolen")


async def test_a_revoked_token_is_refused_at_once_and_its_streams_end(server: TlsServer) -> None:
    admin, viewer = await server.token(role=Role.ADMIN), await server.token(role=Role.VIEWER)
    watching = await stream(server, "/v1/watch", token=viewer)
    staying = await stream(server, "/v1/watch", token=admin)
    answer = await server.ask("DELETE", f"/v1/tokens/{viewer.id}", token=admin)
    assert answer.status == 200
    assert await ends(watching)
    assert (await server.ask("GET", "/v1/units", token=viewer)).status == 401
    assert b"0\r\n" not in await all_within(staying, seconds=0.2)


async def test_a_stream_ends_when_its_token_expires(server: TlsServer) -> None:
    viewer = await server.token(role=Role.VIEWER, expires_in=timedelta(seconds=1))
    assert await ends(await stream(server, "/v1/watch", token=viewer))


# --- secrets --------------------------------------------------------------------------------------------------------


async def test_a_created_token_is_shown_once_and_its_hash_never(
    server: TlsServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    admin = await server.token(role=Role.ADMIN)
    body = {"kind": "person", "role": "deployer", "name": "robot"}
    created = await server.ask("POST", "/v1/tokens", body, token=admin)
    assert created.status == 201
    text = TokenText.parse(created.json["text"])
    assert (await server.ask("PATCH", "/v1/units", {}, token=text)).status == 422
    # Everything that anybody can read.
    shown = b""
    for path in ("/v1/tokens", "/v1/events", "/v1/machines", "/v1/status", "/v1/units"):
        shown += (await server.ask("GET", path, token=admin)).body
    reader = await stream(server, "/v1/watch?since=1", token=admin)
    shown += b"".join(await all_within(reader, seconds=0.5))
    assert text.id.encode() in shown
    for secret in (text.secret, text.hash, admin.secret, admin.hash):
        assert secret.encode() not in shown
        assert secret not in caplog.text
    listed = (await server.ask("GET", "/v1/tokens", token=admin)).json["tokens"]
    assert [(one["name"], one["by"]) for one in listed if one["id"] == text.id] == [
        ("robot", "a admin")
    ]


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "person"},
        {"kind": "machine", "role": "admin"},
        {"kind": "person", "role": "viewer", "uses": 3},
        {"kind": "person", "role": "root"},
        {"kind": "machine", "uses": 0},
        {"kind": "machine", "expires_in_seconds": -5},
        {"kind": "machine", "name": "a\nb"},
    ],
)
async def test_a_token_that_makes_no_sense_is_not_made(
    server: TlsServer, body: dict[str, object]
) -> None:
    admin = await server.token(role=Role.ADMIN)
    assert (await server.ask("POST", "/v1/tokens", body, token=admin)).status == 422


async def test_tokens_for_newcomers_expire_within_the_hour_unless_somebody_says_otherwise(
    server: TlsServer,
) -> None:
    admin = await server.token(role=Role.ADMIN)
    machine = await server.ask("POST", "/v1/tokens", {"kind": "machine"}, token=admin)
    assert machine.json["token"]["uses_left"] is None
    other = await server.ask("POST", "/v1/tokens", {"kind": "server"}, token=admin)
    assert other.json["token"]["uses_left"] == 1
    text = machine.json["text"]
    server.later += timedelta(minutes=59)
    assert (await join(server, text))[0].status == 200
    server.later += timedelta(minutes=2)
    assert (await join(server, text, machine=OTHER))[0].status == 401


def test_secrets_show_in_no_repr() -> None:
    key = "-----BEGIN PRIVATE KEY-----"
    view = TokenView("1", TokenKind.PERSON, Role.ADMIN, "", NOW, None, None, "")
    for shown in (
        JoinRequest(token="argosy_m_secret", machine=ME, csr="c"),
        JoinServerRequest(token="argosy_s_secret", name="s1"),
        ServerJoined(ca="c", ca_key=key, cluster="c", store={}),
        CreatedToken(text="argosy_p_secret", token=view),
        Authority.make("c" * 32, now=NOW),
    ):
        assert "secret" not in repr(shown)
        assert "PRIVATE" not in repr(shown)


async def test_who_did_it_stands_in_the_events(server: TlsServer) -> None:
    deployer = await server.token(role=Role.DEPLOYER)
    unit = {"name": "a.service", "text": "[Service]\nExecStart=/bin/true\n"}
    submitted = await server.ask("POST", "/v1/units", {"units": [unit]}, token=deployer)
    assert submitted.status == 200
    events = (await server.ask("GET", "/v1/events", token=deployer)).json["events"]
    assert [one["by"] for one in events if one["kind"] == "unit.submitted"] == ["a deployer"]


async def test_what_the_machine_has_no_unit_of_is_not_shown_to_it(server: TlsServer) -> None:
    admin = await server.token(role=Role.ADMIN)
    secret = {"name": "a.service", "text": "[Service]\nExecStart=/bin/a\nEnvironment=S=1\n"}
    await server.ask("POST", "/v1/units", {"units": [secret]}, token=admin)
    digest = (await server.ask("GET", "/v1/units/a.service", token=admin)).json["digest"]
    link = await Link.open(server)
    assert (await link.ask("GET", f"/v1/agent/texts/{digest}")).status == 404
    units = [{"name": "a.service", "digest": digest, "desired": "launched"}]
    record = json.dumps({"machine": ME, "units": units}).encode()
    await server.store.txn([], [base.Put(keys.assignment(ME), record)])
    answer = await link.ask("GET", f"/v1/agent/texts/{digest}")
    assert (answer.status, answer.body) == (200, secret["text"].encode())
