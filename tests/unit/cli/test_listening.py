"""Where processes listen is asked of the kernel."""

from __future__ import annotations

import os
import socket

from argosy.cli.listening import listening


def test_listening_sockets_of_a_process_are_found_by_port() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as first,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as second,
        socket.socket() as third,
    ):
        third.bind(("127.0.0.1", 0))
        bound = third.getsockname()[1]
        ports = {first.getsockname()[1]: "127.0.0.1", second.getsockname()[1]: "[::1]"}
        expected = [f"{ports[port]}:{port}" for port in sorted(ports)]
        found = listening({"me.service": os.getpid()})["me.service"]
    # Other tests of this process may listen, too.
    assert [place for place in found if place in expected] == expected
    assert not any(place.endswith(f":{bound}") for place in found)


def test_a_process_of_which_a_child_listens_counts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = listening({"parent.service": os.getppid()})
    assert f"127.0.0.1:{port}" in found["parent.service"]


def test_a_process_that_is_gone_listens_nowhere() -> None:
    assert listening({"gone.service": 2**22 + 1}) == {}
