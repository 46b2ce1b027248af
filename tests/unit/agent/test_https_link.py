"""The agent's link over HTTPS, against real servers over real TLS: fail-over, sessions, and servers that misbehave."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import msgspec
import pytest

from argosy.agent import https_link
from argosy.agent.https_link import HttpsLink
from argosy.agent.servers import Servers
from argosy.api.cluster import open_cluster
from argosy.api.server import Server, TlsPort
from argosy.api.services import Services
from argosy.api.sessions import Sessions
from argosy.errors import Conflict, NotFound, ServerUnreachable, Temporary, Unauthenticated
from argosy.model.assignment import AssignedUnit, Assignment
from argosy.model.cluster import Cluster
from argosy.model.identity import Identity
from argosy.model.ids import Digest, MachineId, UnitName
from argosy.model.link import Report
from argosy.model.machine import Machine
from argosy.model.observed import ActiveState, UnitStatus
from argosy.model.unit import DesiredState
from argosy.pki import certificates, files
from argosy.pki.authority import Authority
from argosy.pki.certificates import TlsFiles
from argosy.store import codec, keys
from argosy.store.base import Delete, Put
from argosy.store.memory import MemoryStore

ME = MachineId("1" * 32)
MACHINE = Machine(id=ME, hostname="m1")
TEXT = b"[Service]\nExecStart=/bin/true\n"
DIGEST = Digest(hashlib.sha256(TEXT).hexdigest())


def now() -> datetime:
    return datetime.now(UTC)


class World:
    """A cluster's store and authority, servers on it, and a machine that is one of the cluster."""

    def __init__(
        self, directory: Path, store: MemoryStore, cluster: Cluster, stack: AsyncExitStack
    ) -> None:
        self.directory = directory
        self.store = store
        self.cluster = cluster
        self.authority = Authority.make(cluster.id, now=now())
        self._stack = stack
        self._running: dict[str, list[asyncio.Task[None]]] = {}

    def certify(self, name: str) -> ssl.SSLContext:
        """TLS as a server of that name speaks it."""
        found = TlsFiles(
            certificate=self.directory / f"{name}.crt",
            key=self.directory / f"{name}.key",
            ca=self.directory / "ca.crt",
        )
        key = certificates.make_key()
        request = certificates.make_request(key)
        signed = self.authority.sign_server(request, name=name, addresses=[], now=now())
        files.write_private(found.key, key)
        files.write_public(found.certificate, signed)
        files.write_public(found.ca, self.authority.certificate)
        return certificates.server_context(found)

    async def serve(self, name: str) -> str:
        """One more server; its URL."""
        sessions = Sessions(self.store, name=name, clock=now)
        services = Services(
            store=self.store, clock=now, sessions=sessions, authority=self.authority
        )
        tls = TlsPort(listen="127.0.0.1:0", context=self.certify(name))
        server = Server(services, unix=None, tls=tls)
        [url] = server.endpoints
        self._running[url] = [
            asyncio.create_task(server.run(), name=name),
            asyncio.create_task(sessions.run(), name=f"{name} sessions"),
        ]
        self._stack.callback(server.close)
        self._stack.push_async_callback(self.kill, url)
        return url

    async def kill(self, url: str) -> None:
        tasks = self._running.pop(url, [])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def join(self, machine: MachineId = ME) -> ssl.SSLContext:
        """TLS as that machine of the cluster speaks it."""
        key = certificates.make_key()
        signed = self.authority.sign_machine(
            certificates.make_request(key), machine, cluster=self.cluster.id, now=now()
        )
        identity = Identity(
            machine=machine, serials=(certificates.serial(signed),), joined_at=now()
        )
        await self.store.txn([], [Put(keys.identity(machine), codec.encode(identity))])
        files.write_private(self.directory / f"{machine}.pem", signed + key)
        return certificates.client_context(
            ca=self.authority.certificate, certificate=self.directory / f"{machine}.pem"
        )

    def known(self, *urls: str) -> Servers:
        return Servers(urls, self.directory / "servers.json", chance=Random(1))

    async def link(self, *urls: str, holder: str = "boot1") -> HttpsLink:
        link = HttpsLink(self.known(*urls), await self.join(), holder=holder)
        self._stack.callback(link.close)
        return link


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store = MemoryStore()
    cluster = await open_cluster(store, clock=now)
    async with AsyncExitStack() as stack:
        yield World(tmp_path, store, cluster, stack)
    await store.close()


async def assign(world: World, *names: str) -> None:
    units = tuple(
        AssignedUnit(name=UnitName(name), digest=DIGEST, desired=DesiredState.LAUNCHED)
        for name in names
    )
    record = Assignment(machine=ME, units=units)
    await world.store.txn(
        [],
        [
            Put(keys.assignment(ME), codec.encode(record)),
            Put(keys.text(DIGEST), TEXT),
        ],
    )


def active(name: str) -> UnitStatus:
    return UnitStatus(name=UnitName(name), active=ActiveState.ACTIVE)


async def observed(world: World) -> list[str]:
    found = await world.store.range(keys.OBSERVED, keys.OBSERVED + "\U0010ffff")
    return [keys.last_part(kv.key) for kv in found.kvs]


async def test_a_machine_registers_follows_fetches_and_reports(world: World) -> None:
    link = await world.link(await world.serve("a"))
    registered = await link.register(MACHINE)
    assert registered.cluster == world.cluster.id
    await assign(world, "one.service")
    async with link.assignments() as deliveries:
        first = await anext(deliveries)
        assert [unit.name for unit in first.assignment.units] == ["one.service"]
        await assign(world, "one.service", "two.service")
        second = await anext(deliveries)
        assert second.revision > first.revision
    assert await link.text(DIGEST) == TEXT
    await link.report(Report(changed=(active("one.service"),), full=True))
    await link.report(Report())
    assert await observed(world) == ["one.service"]


async def test_a_text_that_no_unit_of_the_machine_has_is_not_found(world: World) -> None:
    link = await world.link(await world.serve("a"))
    await assign(world, "one.service")
    with pytest.raises(NotFound):
        await link.text(Digest("0" * 64))


async def test_reports_go_on_at_another_server_once_the_machine_has_registered_there(
    world: World,
) -> None:
    first, second = await world.serve("a"), await world.serve("b")
    link = await world.link(first, second)
    await link.register(MACHINE)
    await link.report(Report())
    await world.kill(first)
    with pytest.raises(Temporary):
        await link.report(Report())
    with pytest.raises(ServerUnreachable, match="register"):
        await link.report(Report())
    await link.register(MACHINE)
    await link.report(Report(changed=(active("one.service"),)))
    assert await observed(world) == ["one.service"]


async def test_the_stream_is_cut_when_the_agent_moves_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(https_link, "CALL_SECONDS", 0.3)
    async with silent_after_the_head(world) as (frozen, let_go):
        link = await world.link(frozen, await world.serve("b"))
        async with link.assignments() as deliveries:
            reading = asyncio.ensure_future(anext(deliveries))
            with pytest.raises(ServerUnreachable, match="no answer within"):
                await link.text(DIGEST)
            with pytest.raises(ServerUnreachable):
                await asyncio.wait_for(reading, 5)
        let_go()


@asynccontextmanager
async def silent_after_the_head(
    world: World,
) -> AsyncIterator[tuple[str, Callable[[], None]]]:
    """A server that begins streams, and answers nothing else."""
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        if b"/assignment" in asked:
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        await over.wait()
        writer.close()

    async with answering(world, serve) as url:
        try:
            yield url, over.set
        finally:
            over.set()


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def answering(world: World, serve: Serve) -> AsyncIterator[str]:
    """Something with a server's certificate that does what `serve` says with each connection."""
    context = world.certify("odd")
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x00\xff\r\n\r\n", id="no HTTP"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{}", id="half an answer"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]", id="another shape"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n" + b"\xff" * 9, id="no JSON"),
        pytest.param(b"HTTP/1.1 502 Bad\r\ncontent-length: 4\r\n\r\n<h1>", id="a proxy's error"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000, id="a head without end"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 5 * 2**20, id="more than any answer may have"
        ),
        pytest.param(
            b"HTTP/1.1 429 Slow\r\ncontent-length: 81\r\n\r\n"
            + msgspec.json.encode(
                {"error": {"kind": "Invalid", "message": "too many requests", "hint": "wait a bit"}}
            ),
            id="a refusal",
        ),
    ],
)
async def test_whatever_a_server_answers_is_a_reason_to_try_again_and_no_more(
    world: World, answer: bytes
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        try:
            writer.write(answer)
            await writer.drain()
        except ConnectionError:
            pass
        writer.close()

    async with answering(world, serve) as url:
        link = await world.link(url)
        with pytest.raises(Temporary):
            await link.register(MACHINE)


async def test_a_text_that_is_not_what_its_digest_says_is_refused(world: World) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
        writer.close()

    async with answering(world, serve) as url:
        link = await world.link(url)
        with pytest.raises(Temporary, match="another text"):
            await link.text(DIGEST)


async def test_a_server_of_another_cluster_is_not_believed(world: World, tmp_path: Path) -> None:
    url = await world.serve("a")
    other = Authority.make("f" * 32, now=now())
    context = certificates.client_context(ca=other.certificate)
    link = HttpsLink(world.known(url), context, holder="x")
    with pytest.raises(ServerUnreachable, match="not a server of this cluster"):
        await link.register(MACHINE)


async def test_a_clone_is_refused_and_the_original_goes_on(world: World) -> None:
    url = await world.serve("a")
    original = await world.link(url)
    await original.register(MACHINE)
    clone = HttpsLink(world.known(url), world_context(world), holder="boot2")
    with pytest.raises(Conflict, match="another live machine"):
        await clone.register(MACHINE)
    clone.close()
    await original.report(Report())


def world_context(world: World) -> ssl.SSLContext:
    return certificates.client_context(
        ca=world.authority.certificate, certificate=world.directory / f"{ME}.pem"
    )


async def test_a_machine_that_was_removed_is_told_that_nobody_knows_it(world: World) -> None:
    link = await world.link(await world.serve("a"))
    await link.register(MACHINE)
    await world.store.txn([], [Delete(keys.identity(ME))])
    with pytest.raises(Unauthenticated):
        await report_for_ever(link)  # until the server has heard of it


async def report_for_ever(link: HttpsLink) -> None:
    while True:
        await link.report(Report())


async def test_a_new_certificate_is_used_without_an_interruption(world: World) -> None:
    link = await world.link(await world.serve("a"))
    await link.register(MACHINE)
    key = certificates.make_key()
    certificate, ca = await link.new_certificate(certificates.make_request(key))
    assert ca == world.authority.certificate
    files.write_private(world.directory / "new.pem", certificate + key)
    link.use(certificates.client_context(ca=ca, certificate=world.directory / "new.pem"))
    await link.report(Report())
    found = await world.store.range(keys.identity(ME))
    identity = codec.decode(found.kvs[0].value, Identity)
    assert identity.serials == (certificates.serial(certificate),)


async def test_a_report_that_is_too_large_for_one_arrives_in_several(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(https_link, "REPORT_BYTES", 2000)
    link = await world.link(await world.serve("a"))
    await link.register(MACHINE)
    names = [f"u{number:02}.service" for number in range(40)]
    await link.report(Report(changed=tuple(map(active, names)), full=True))
    assert await observed(world) == names


async def test_where_servers_are_is_remembered_and_a_damaged_file_is_no_harm(
    world: World, tmp_path: Path
) -> None:
    first = world.known("https://10.0.0.1:7440")
    first.learn(["https://10.0.0.2:7440", "https://10.0.0.3:7440", "ftp://nonsense"])
    assert first.current == "https://10.0.0.1:7440"
    again = world.known("https://10.0.0.1:7440")
    assert set(again.all) == {f"https://10.0.0.{n}:7440" for n in (1, 2, 3)}
    assert again.all[-1] == "https://10.0.0.1:7440"
    text = (world.directory / "servers.json").read_bytes()
    for length in range(len(text)):
        (world.directory / "servers.json").write_bytes(text[:length])
        assert world.known("https://10.0.0.1:7440").all == ("https://10.0.0.1:7440",)


async def test_a_server_that_went_from_the_list_is_asked_no_more(world: World) -> None:
    servers = world.known()
    servers.learn(["https://10.0.0.2:7440", "https://10.0.0.3:7440"])
    servers.learn(["https://10.0.0.3:7440"])
    assert servers.all == ("https://10.0.0.3:7440",)
