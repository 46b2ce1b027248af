"""Tells the service manager how a daemon is, where one asks: sd_notify(3), without its library."""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def tell(*lines: str) -> None:
    """Send lines such as `READY=1` and `STATUS=...`. Does nothing where nobody asked for it ($NOTIFY_SOCKET)."""
    name = os.environ.get("NOTIFY_SOCKET", "")
    if not name.startswith(("/", "@")):
        return
    address = "\0" + name[1:] if name.startswith("@") else name
    # A service manager that is gone, or busy, is no reason to do nothing else.
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto("\n".join(lines).encode(), address)
