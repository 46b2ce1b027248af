"""Where a server may listen, and what is said when it may not."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from argosy.api.sockets import listen_tcp, listen_tls, listen_unix, parse_listen
from argosy.client import Client, Endpoint, state_dir
from argosy.errors import Invalid


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("localhost:0", ("127.0.0.1", 0)),
        ("[::1]:8080", ("::1", 8080)),
        (":8080", ("127.0.0.1", 8080)),
        ("8080", ("127.0.0.1", 8080)),
    ],
)
def test_addresses_on_loopback_are_taken(text: str, parsed: tuple[str, int]) -> None:
    assert parse_listen(text) == parsed


@pytest.mark.parametrize("text", ["0.0.0.0:80", "10.1.2.3:80", "[::]:80", "192.168.0.1:1"])
def test_addresses_that_others_can_reach_are_refused_with_the_reason(text: str) -> None:
    with pytest.raises(Invalid, match="not a loopback address") as caught:
        parse_listen(text)
    assert "ssh -L" in caught.value.hint


@pytest.mark.parametrize(
    "text", ["", "localhost", "example.org:80", "127.0.0.1:99999", "127.0.0.1:x"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse_listen(text)


def test_a_taken_port_is_said_to_be_taken_and_by_whom() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(Invalid, match=rf"port {port} is taken by .*\(pid {os.getpid()}\)"):
            listen_tcp(f"127.0.0.1:{port}")


def test_a_directory_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "open"
    directory.mkdir()
    directory.chmod(0o755)
    with pytest.raises(Invalid, match="must belong to you alone") as caught:
        listen_unix(directory / "argosy.sock")
    assert caught.value.hint == f"chmod 700 {directory}"


def test_a_file_in_the_sockets_place_is_left_alone(tmp_path: Path) -> None:
    directory = tmp_path / "private"
    directory.mkdir(mode=0o700)
    path = directory / "argosy.sock"
    path.write_text("precious")
    with pytest.raises(Invalid, match="is no socket"):
        listen_unix(path)
    assert path.read_text() == "precious"


def test_a_client_finds_the_endpoint_given_then_the_environments_then_the_users_own() -> None:
    environ = {"ARGOSY_ENDPOINT": "http://127.0.0.1:1", "XDG_STATE_HOME": "/s"}
    assert Client.find("unix:///a/b", environ).endpoint == Endpoint(path="/a/b")
    assert Client.find(None, environ).endpoint == Endpoint(host="127.0.0.1", port=1)
    del environ["ARGOSY_ENDPOINT"]
    assert Client.find(None, environ).endpoint == Endpoint(path="/s/argosy/argosy.sock")


@pytest.mark.parametrize(
    ("environ", "directory"),
    [
        ({"ARGOSY_STATE_DIR": "/mine"}, "/mine"),
        ({"XDG_STATE_HOME": "/s", "HOME": "/home/me"}, "/s/argosy"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/home/me"}, "/home/me/.local/state/argosy"),
        ({"HOME": "/home/me"}, "/home/me/.local/state/argosy"),
    ],
)
def test_the_state_directory_is_where_the_xdg_specification_puts_it(
    environ: dict[str, str], directory: str
) -> None:
    assert state_dir(environ) == Path(directory)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "argosy",
        "unix://",
        "unix://host/path",
        "http://",
        "http://h",
        "http://127.0.0.1:1/path",
        "http://user@127.0.0.1:1",
        "http://127.0.0.1:port",
    ],
)
def test_what_is_no_endpoint_is_refused_with_the_forms_that_there_are(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        Endpoint.parse(text)
    assert "unix:///" in caught.value.hint


@pytest.mark.parametrize(
    "text", ["unix:///a%20b", "http://127.0.0.1:80", "http://[::1]:80", "https://a.example:7440"]
)
def test_an_endpoint_reads_as_it_was_written(text: str) -> None:
    assert str(Endpoint.parse(text)) == text


def test_a_socket_for_a_group_is_for_that_group_and_nobody_else(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    path = directory / "argosy.sock"
    with listen_unix(path, group=os.getgid()):
        found = path.stat()
        assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o660, os.getgid())
        assert stat.S_IMODE(directory.stat().st_mode) == 0o755


def test_a_directory_that_others_can_write_to_is_refused_for_a_shared_socket(
    tmp_path: Path,
) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(Invalid, match="others can write"):
        listen_unix(tmp_path / "argosy.sock", group=0)


@pytest.mark.parametrize(
    ("listen", "host"), [("127.0.0.1:0", "127.0.0.1"), ("0.0.0.0:0", "0.0.0.0"), ("[::1]:0", "::1")]
)
def test_tls_is_spoken_on_any_address(listen: str, host: str) -> None:
    with listen_tls(listen) as sock:
        assert sock.getsockname()[0] == host


def test_without_an_address_it_is_all_of_them_in_both_versions_of_ip() -> None:
    with listen_tls(":0") as sock:
        for address in ("127.0.0.1", "::1"):
            socket.create_connection((address, sock.getsockname()[1]), timeout=5).close()
