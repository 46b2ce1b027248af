"""The API over real sockets: what clients see, what bad ones meet, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import select
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from argosy import errors
from argosy.api.feed import Feed
from argosy.api.protocol import BoundedProtocol
from argosy.client import Client, Submission
from unit.api.serving import Running, running

WEB = b"[Service]\nExecStart=/bin/sleep 1\n"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as server:
        yield server


def post(
    path: str, body: bytes, *, content_type: str = "application/json", more: str = ""
) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n{more}\r\n"
    )
    return head.encode() + body


def get(path: str, *, host: str = "localhost") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()


def error(body: bytes) -> dict[str, object]:
    found: dict[str, object] = json.loads(body)["error"]
    return found


# --- the sockets ----------------------------------------------------------------------------------------------------


async def test_the_socket_and_its_directory_are_for_its_user_alone(server: Running) -> None:
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(server.path.parent.stat().st_mode) == 0o700


async def test_it_answers_on_loopback_too_when_asked(server: Running) -> None:
    here = await server.call(lambda client: client.version())
    there = await asyncio.to_thread(server.tcp.version)
    assert here == there


async def test_a_live_server_is_not_replaced(server: Running, tmp_path: Path) -> None:
    with pytest.raises(errors.StoreRefused, match="another server already answers"):
        async with running(tmp_path):
            pass
    assert (await server.call(lambda client: client.version()))["api"] == 1


async def test_the_socket_of_a_dead_server_is_replaced(tmp_path: Path) -> None:
    async with running(tmp_path) as first:
        await first.call(lambda client: client.version())
        kept = tmp_path / "kept"
        os.link(first.path, kept)
    # As after kill -9: the file is there, nobody listens.
    kept.rename(first.path)
    async with running(tmp_path) as second:
        assert (await second.call(lambda client: client.version()))["api"] == 1


async def test_a_server_that_ends_takes_its_socket_along_and_nobody_elses(tmp_path: Path) -> None:
    async with running(tmp_path) as first:
        first.path.unlink()
        async with running(tmp_path) as second:
            first.task.cancel()
            await asyncio.gather(first.task, return_exceptions=True)
            assert second.path.exists()
            assert (await second.call(lambda client: client.version()))["api"] == 1
        assert not second.path.exists()


async def test_a_path_longer_than_the_kernel_takes_works(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    async with running(deep) as server:
        assert (await server.call(lambda client: client.version()))["api"] == 1


# --- requests that are wrong ----------------------------------------------------------------------------------------


async def test_an_unknown_field_is_named(server: Running) -> None:
    status, body = await server.raw(post("/v1/units", b'{"units":[],"unit":1}'))
    assert status == 422
    assert "`unit`" in str(error(body)["problems"])


async def test_an_unknown_query_parameter_is_named(server: Running) -> None:
    status, body = await server.raw(get("/v1/units?nmae=x"))
    assert status == 422
    assert error(body)["problems"] == ["nmae: there is no such parameter"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_wrong_content_type_is_refused(server: Running, content_type: str) -> None:
    request = post("/v1/stop-cluster", b"{}", content_type=content_type)
    status, body = await server.raw(request)
    assert (status, error(body)["kind"]) == (415, "Invalid")
    assert server.stops == []


async def test_what_is_no_json_is_refused(server: Running) -> None:
    status, _ = await server.raw(post("/v1/units", b'{"units":'))
    assert status == 400


async def test_json_nested_a_hundred_thousand_deep_is_refused(server: Running) -> None:
    status, _ = await server.raw(post("/v1/units", b'{"units":' + b"[" * 100_000))
    assert status in (400, 422)


async def test_an_announced_gigabyte_is_refused_at_once(server: Running) -> None:
    head = (
        "PATCH /v1/units HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {2**30}\r\n\r\n"
    )
    status, body = await server.raw(head.encode())
    assert (status, error(body)["message"]) == (413, "the body is larger than 4 MiB")


async def test_a_gigabyte_in_chunks_is_refused_when_it_passes_the_bound(server: Running) -> None:
    def send() -> tuple[bytes, int]:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(server.path))
            sock.sendall(
                b"PATCH /v1/units HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
            sent = 0
            with suppress(ConnectionError):
                while sent < 2**30:
                    sock.sendall(chunk)
                    sent += 0x10000
            return sock.recv(65536), sent

    answer, sent = await asyncio.to_thread(send)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert sent < 32 * 2**20


async def test_the_client_hears_why_a_huge_body_was_refused(server: Running) -> None:
    names = ["x" * 200] * 30_000

    def change(client: Client) -> None:
        client.change(names, desired="inactive")

    with pytest.raises(errors.Invalid, match="larger than 4 MiB"):
        await server.call(change)


@pytest.mark.parametrize("request_", [b"GET /v1/ver", post("/v1/units", b'{"un')[:-2]])
async def test_half_a_request_is_closed_after_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_: bytes
) -> None:
    monkeypatch.setattr(BoundedProtocol, "request_seconds", 0.2)
    async with running(tmp_path) as server:
        status, body = await server.raw(request_)
    assert (status, error(body)["message"]) == (408, "the request did not arrive in time")


async def test_a_connection_that_asks_nothing_is_closed_after_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedProtocol, "request_seconds", 0.2)
    async with running(tmp_path) as server:
        assert await server.raw(b"") == (0, b"")


async def test_a_body_that_trickles_does_not_extend_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedProtocol, "request_seconds", 0.3)

    def trickle(path: Path) -> tuple[bytes, int]:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            sock.sendall(post("/v1/units", b" " * 1000)[:-1000])
            sock.settimeout(0.02)
            for trickled in range(900):
                with suppress(ConnectionError):
                    sock.send(b" ")
                with suppress(TimeoutError):
                    return sock.recv(65536), trickled
        return b"", 900

    async with running(tmp_path) as server:
        answer, trickled = await asyncio.to_thread(trickle, server.path)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert trickled < 100


async def test_garbage_is_answered_and_closed(server: Running) -> None:
    status, body = await server.raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
    assert (status, error(body)["code"]) == (400, 400)


async def test_a_head_without_end_is_refused(server: Running) -> None:
    status, _ = await server.raw(b"GET / HTTP/1.1\r\nX: " + b"a" * 200_000)
    assert status in (400, 431)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("..%2f..%2fetc%2fpasswd", id="up and away"),
        pytest.param("%00", id="NUL"),
        pytest.param("a%0ab.service", id="newline"),
        pytest.param("-x.service", id="leading dash"),
        pytest.param("%ff%fe", id="no UTF-8"),
        pytest.param("x" * 5000, id="long"),
    ],
)
async def test_names_that_cannot_be_are_not_found(server: Running, name: str) -> None:
    for path in ("units", "why"):
        status, body = await server.raw(get(f"/v1/{path}/{name}"))
        assert (status, error(body)["kind"]) == (404, "NotFound")


@pytest.mark.parametrize("name", ["../web.service", "a\0.service", "a\n.service", "-a.service", ""])
async def test_names_that_cannot_be_are_refused_at_submission(server: Running, name: str) -> None:
    with pytest.raises(errors.Invalid) as caught:
        await server.call(lambda client: client.submit([Submission(name, WEB)]))
    assert caught.value.problems
    assert not any(ord(sign) < 32 for sign in "".join(caught.value.problems))
    assert await server.call(lambda client: client.units()) == []


async def test_a_path_that_is_none_and_a_method_that_is_none_are_told_apart(
    server: Running,
) -> None:
    status, body = await server.raw(get("/v1/nothing"))
    assert (status, error(body)["kind"]) == (404, "NotFound")
    status, body = await server.raw(get("/v1/verify"))
    assert (status, error(body)["kind"]) == (405, "Invalid")


async def test_a_page_with_another_name_cannot_speak_over_tcp(server: Running) -> None:
    status, body = await server.raw(get("/v1/units", host="evil.example"), tcp=True)
    assert status == 421
    assert "evil.example" in str(error(body)["message"])
    for host in ("localhost:1234", "127.0.0.1", f"[::1]:{server.port}"):
        status, _ = await server.raw(get("/v1/units", host=host), tcp=True)
        assert status == 200


# --- the whole way --------------------------------------------------------------------------------------------------


async def test_what_is_submitted_comes_back_byte_for_byte(server: Running) -> None:
    text = b"# \xe2\x98\x83\r\n[Service]\nExecStart=/bin/echo \\\n  hello\n"
    await server.call(lambda client: client.submit([Submission("snow.service", text)]))
    unit = await server.call(lambda client: client.unit("snow.service"))
    assert unit["text"].encode() == text


async def test_errors_arrive_as_the_classes_they_were_raised_as(server: Running) -> None:
    await server.call(lambda client: client.submit([Submission("web.service", WEB)]))
    with pytest.raises(errors.AlreadyExists, match=r"web\.service") as caught:
        await server.call(lambda client: client.submit([Submission("web.service", WEB + b"#\n")]))
    assert caught.value.hint
    with pytest.raises(errors.NotFound, match=r"wbe\.service") as missing:
        await server.call(lambda client: client.destroy(["wbe.service"]))
    assert missing.value.hint == "did you mean web.service?"


async def test_stop_cluster_asks_the_owner_of_the_process(server: Running) -> None:
    await server.call(lambda client: client.stop_cluster())
    assert server.stops == [None]


async def test_units_come_in_pages_that_join_to_the_whole(server: Running) -> None:
    names = [f"u{number:03}.service" for number in range(25)]
    await server.call(lambda client: client.submit([Submission(name, WEB) for name in names]))
    found: list[str] = []
    after = ""
    while True:
        _, body = await server.raw(get(f"/v1/units?limit=10{after}"))
        page = json.loads(body)
        found += [unit["name"] for unit in page["units"]]
        if page["after"] is None:
            break
        after = f"&after={page['after']}"
    assert found == names


async def test_a_watch_tells_of_a_change_that_came_after_ready(server: Running) -> None:
    with await asyncio.to_thread(server.client.watch, ["web*"]) as watch:
        ready = await asyncio.to_thread(next, watch)
        await server.call(lambda client: client.submit([Submission("db.service", WEB)]))
        done = await server.call(lambda client: client.submit([Submission("web.service", WEB)]))
        item = await asyncio.to_thread(next, watch)
    assert ready.kind == "ready"
    assert (item.kind, item.revision, item.data["name"]) == (
        "unit",
        done["revision"],
        "web.service",
    )


async def test_a_client_that_goes_away_leaves_nothing_behind(server: Running) -> None:
    watch = await asyncio.to_thread(server.client.watch)
    await asyncio.to_thread(next, watch)
    subscriptions = server.server._api.feed._subscriptions
    assert len(subscriptions) == 1
    await asyncio.to_thread(watch.close)
    async with asyncio.timeout(5):
        while subscriptions:
            await server.call(lambda client: client.version())


async def test_half_a_request_does_not_hold_up_the_end(server: Running) -> None:
    reader, writer = await asyncio.open_unix_connection(server.path)
    writer.write(post("/v1/units", b'{"un')[:-2])
    await server.call(lambda client: client.version())
    async with asyncio.timeout(1):
        server.task.cancel()
        await asyncio.gather(server.task, return_exceptions=True)
        assert b"the server stops" in await reader.read()
    writer.close()


async def test_a_watch_ends_quietly_after_its_time(server: Running) -> None:
    def watch(client: Client) -> list[str]:
        with client.watch(timeout_seconds=0.2) as items:
            return [item.kind for item in items]

    assert await server.call(watch) == ["ready"]


async def test_a_watch_can_be_closed_from_another_thread(server: Running) -> None:
    watch = await asyncio.to_thread(server.client.watch)
    waiting = asyncio.ensure_future(asyncio.to_thread(list, watch))
    await server.call(lambda client: client.version())
    await asyncio.to_thread(watch.close)
    async with asyncio.timeout(5):
        await waiting


async def test_a_watch_that_reads_too_slowly_ends_with_the_reason(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Feed, "queue_limit", 20)
    reader, writer = await asyncio.open_unix_connection(server.path, limit=1024)
    writer.write(b"GET /v1/watch HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readuntil(b"event: ready")
    units = [Submission(f"u{number}.service", WEB) for number in range(400)]
    await server.call(lambda client: client.submit(units))
    told = b""
    async with asyncio.timeout(10):
        while b"event: end" not in told or not told.endswith(b"0\r\n\r\n"):
            told += await reader.read(65536)
    writer.close()
    assert b"you read too slowly" in told


async def test_a_client_that_never_reads_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedProtocol, "stalled_seconds", 0.2)
    async with running(tmp_path) as server:
        units = [Submission(f"u{number}.service", WEB) for number in range(1000)]
        await server.call(lambda client: client.submit(units))
        with socket.socket(socket.AF_UNIX) as stuck:
            stuck.setblocking(False)
            stuck.connect(str(server.path))
            for _ in range(10):
                stuck.send(b"GET /v1/units HTTP/1.1\r\nHost: localhost\r\n\r\n")
            hung_up = select.poll()
            hung_up.register(stuck, 0)
            async with asyncio.timeout(10):
                while not hung_up.poll(0):
                    await server.call(lambda client: client.version())


async def test_beyond_its_connections_a_server_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedProtocol, "max_connections", 2)
    async with running(tmp_path) as server:
        held = [await asyncio.open_unix_connection(server.path) for _ in range(2)]
        with pytest.raises(errors.StoreUnavailable, match="too many connections"):
            await server.call(lambda client: client.version())
        for _, writer in held:
            writer.close()
            await writer.wait_closed()
        assert (await server.call(lambda client: client.version()))["api"] == 1


async def test_a_server_that_stops_ends_watches_with_the_reason(server: Running) -> None:
    watch = await asyncio.to_thread(server.client.watch)
    await asyncio.to_thread(next, watch)
    waiting = asyncio.ensure_future(asyncio.to_thread(next, watch))
    async with asyncio.timeout(5):
        server.task.cancel()
        await asyncio.gather(server.task, return_exceptions=True)
        with pytest.raises(errors.ServerUnreachable, match="the server stops"):
            await waiting
    watch.close()


async def test_a_server_that_is_not_there_is_said_to_be_so_with_the_way_to_start_one(
    tmp_path: Path,
) -> None:
    client = Client.find(f"unix://{tmp_path}/argosy.sock")
    with pytest.raises(errors.ServerUnreachable) as caught:
        await asyncio.to_thread(client.version)
    assert caught.value.hint == "start one: argosy up"


async def test_something_else_on_the_port_is_told_apart_from_a_server() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        await writer.drain()
        writer.close()

    other = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = other.sockets[0].getsockname()[1]
    async with other:
        client = Client.find(f"http://127.0.0.1:{port}")
        with pytest.raises(errors.ServerUnreachable, match="not an Argosy server"):
            await asyncio.to_thread(client.version)


async def test_a_write_whose_answer_is_lost_is_indeterminate(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    path = tmp_path / "s"
    other = await asyncio.start_unix_server(serve, path)
    async with other:
        client = Client.find(f"unix://{path}")
        with pytest.raises(errors.Indeterminate):
            await asyncio.to_thread(client.destroy, ["web.service"])
        with pytest.raises(errors.ServerUnreachable):
            await asyncio.to_thread(client.version)
