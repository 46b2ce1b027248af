"""Tokens: what lets a machine or a server join, and people in. The store has hashes, never a secret."""

from __future__ import annotations

import enum
from datetime import datetime

import msgspec


class TokenKind(enum.StrEnum):
    MACHINE = "machine"
    """Lets machines join."""
    SERVER = "server"
    """Lets servers join: whoever has it gets the key of the cluster's certificate authority."""
    PERSON = "person"
    """Lets a person or a program use the API."""


class Role(enum.StrEnum):
    """What somebody may do; each includes the ones before it."""

    VIEWER = "viewer"
    DEPLOYER = "deployer"
    """Change units."""
    ADMIN = "admin"
    """Change machines, tokens and the cluster; run commands on machines."""

    def includes(self, other: Role) -> bool:
        order = list(Role)
        return order.index(self) >= order.index(other)


class Token(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One token. Written by people through the API; its uses are counted down by the server that a join uses."""

    id: str
    kind: TokenKind
    hash: str
    """SHA-256 of the secret, hex. The secret is 256 random bits, so guessing is hopeless however fast the hash."""
    role: Role | None = None
    """Of a person."""
    name: str = ""
    """Whom or what it is for."""
    created_at: datetime
    expires_at: datetime | None = None
    uses_left: int | None = None
    """None: any number."""
    by: str = ""
