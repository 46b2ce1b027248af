"""A server, as it tells agents and people where it is."""

from __future__ import annotations

from datetime import datetime

import msgspec


class ServerRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One server that runs. Written by that server under its lease."""

    name: str
    endpoints: tuple[str, ...] = ()
    """`https://10.0.0.5:7440`"""
    version: str = ""
    since: datetime
