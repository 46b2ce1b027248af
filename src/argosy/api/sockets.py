"""The sockets that a server listens on: a unix socket for its own user or for a group, loopback TCP where that was asked
for, and the port for TLS.
"""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

from argosy.api import ports
from argosy.errors import Invalid, StoreRefused

BACKLOG = 256
TLS_BACKLOG = 4096
"""All machines of a cluster may come at once; the kernel lowers it to net.core.somaxconn."""


KEEPALIVE = (
    (socket.TCP_KEEPIDLE, 30),
    (socket.TCP_KEEPINTVL, 10),
    (socket.TCP_KEEPCNT, 3),
    (socket.TCP_USER_TIMEOUT, 60_000),
)
"""A machine that lost its power says nothing: after a minute its connections are given up, instead of after two hours, or a
quarter of one when something was under way to it (tcp(7))."""


def listen_unix(path: Path, *, group: int | None = None) -> socket.socket:
    """Listen on a socket that only this user can connect to, or also the group with that id; its directory is made if it
    is not there.

    A socket file that a dead server left is replaced. The path may be longer than connect(2) takes: the directory is
    opened and named by its descriptor.
    Raises StoreRefused when a live server has it, Invalid when others could put a socket of theirs in its place, or could
    reach it who should not, or when the path is no socket.
    """
    directory = open_private(path.parent) if group is None else _open_shared(path.parent)
    try:
        # Two servers that begin together must not each take the other's socket for a dead one's.
        fcntl.flock(directory, fcntl.LOCK_EX)
        short = f"/proc/self/fd/{directory}/{path.name}"
        _clear(short, path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # In a private directory that keeps others out already; the mode says the same to whoever looks.
            before = os.umask(0o177)
            try:
                sock.bind(short)
            finally:
                os.umask(before)
            if group is not None:
                os.chown(short, -1, group)
                os.chmod(short, 0o660)  # noqa: PTH101
            sock.listen(BACKLOG)
            sock.setblocking(False)
        except BaseException:
            sock.close()
            raise
        return sock
    finally:
        os.close(directory)


def open_private(directory: Path) -> int:
    """A descriptor of the directory, which belongs to this user alone. Raises Invalid when it does not, or is none."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as problem:
        raise Invalid(f"{directory} cannot be used: {problem.strerror}") from problem
    found = os.fstat(descriptor)
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        os.close(descriptor)
        raise Invalid(
            f"{directory} must belong to you alone, because whoever can reach the socket in it can run programs",
            hint=f"chmod 700 {directory}",
        )
    return descriptor


def _open_shared(directory: Path) -> int:
    """A descriptor of a directory that others may look into but not write to. Raises Invalid."""
    try:
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as problem:
        raise Invalid(f"{directory} cannot be used: {problem.strerror}") from problem
    found = os.fstat(descriptor)
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022:
        os.close(descriptor)
        raise Invalid(
            f"others can write to {directory}, and could put a socket of theirs in the server's place",
            hint=f"chmod 755 {directory}",
        )
    return descriptor


def identity(path: Path) -> tuple[int, int] | None:
    """What tells one socket file from another that took its place."""
    with suppress(OSError):
        found = path.lstat()
        return found.st_dev, found.st_ino
    return None


def listen_tcp(listen: str) -> socket.socket:
    """Listen on `ADDRESS:PORT`, loopback only; port 0 takes a free one.

    Raises Invalid for another address, and when the port is taken, with who has it where that can be found out.
    """
    return _listen(*parse_listen(listen), listen, BACKLOG)


def listen_tls(listen: str) -> socket.socket:
    """Listen on `ADDRESS:PORT`, any address of this host; without an address on all of them. Port 0 takes a free one.

    What speaks there has to be TLS: that is for the caller. Raises as `listen_tcp`.
    """
    name, _, port_text = listen.rpartition(":")
    everywhere = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104
    address, port = _parse(name or everywhere, port_text, listen)
    sock = _listen(str(address), port, listen, TLS_BACKLOG)
    # Connections take this over from the socket that they come in on.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE:
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
    return sock


def _listen(address: str, port: int, listen: str, backlog: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address != "::"))
        sock.bind((address, port))
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError as problem:
        sock.close()
        if problem.errno == errno.EADDRINUSE:
            holder = ports.holder_of(port)
            raise Invalid(
                f"port {port} is taken" + (f" by {holder}" if holder else ""),
                hint=f"choose another: {address}:{port + 1 if port < 65535 else port - 1}",
            ) from problem
        raise Invalid(f"cannot listen on {listen}: {problem.strerror}") from problem
    return sock


def parse_listen(listen: str) -> tuple[str, int]:
    """`127.0.0.1:8080`, `[::1]:8080`, `localhost:8080` or `8080` as address and port. Raises Invalid."""
    name, _, port_text = listen.rpartition(":")
    address, port = _parse(name or "127.0.0.1", port_text, listen)
    if not address.is_loopback:
        raise Invalid(
            f"{address} is not a loopback address: whoever reaches the API can run programs here, and over TCP it asks "
            "nobody who they are",
            hint="listen on 127.0.0.1 and reach it from elsewhere through ssh -L",
        )
    return str(address), port


def _parse(
    name: str, port_text: str, listen: str
) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]:
    if not (port_text.isascii() and port_text.isdecimal() and int(port_text) <= 65535):
        raise Invalid(f"{listen!r} has no port", hint="write ADDRESS:PORT, such as 127.0.0.1:8080")
    if name == "localhost":
        name = "127.0.0.1"
    try:
        return ipaddress.ip_address(name.removeprefix("[").removesuffix("]")), int(port_text)
    except ValueError:
        raise Invalid(
            f"{name!r} is no address", hint="write ADDRESS:PORT, such as 127.0.0.1:8080"
        ) from None


def _clear(short: str, path: Path) -> None:
    """Make room for a new socket file."""
    try:
        mode = os.lstat(short).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise Invalid(f"{path} is there and is no socket", hint="move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(short)
        except ConnectionRefusedError:
            os.unlink(short)  # noqa: PTH108
            return
        except (BlockingIOError, PermissionError):
            pass  # somebody listens: too busy to accept, or not for us
    raise StoreRefused(
        f"another server already answers on {path}", hint="argosy status; argosy down ends it"
    )
