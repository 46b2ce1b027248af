"""What travels about tokens, joining and machines' agents.

Agents and servers of neighbouring versions speak to each other, so what they send may have fields that are not known here:
these are passed over. What holds a secret shows none of it in its repr.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from argosy.api.schemas import Answer, MachineRef, Request
from argosy.model.machine import Machine
from argosy.model.token import Role, TokenKind

Words = Annotated[
    str, Meta(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)", description="One line.")
]
Pem = Annotated[str, Meta(max_length=16 * 1024, description="PEM.")]
ServerName = Annotated[
    str, Meta(pattern=r"^[0-9A-Za-z][0-9A-Za-z._-]{0,62}$(?!\n)", description="As a host name.")
]
Holder = Annotated[str, Meta(pattern=r"^[0-9A-Za-z._:-]{1,128}$(?!\n)")]
YEARS = 10 * 366 * 86400


class Secretive(msgspec.Struct, frozen=True):
    """Has a secret."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"


# --- tokens ---------------------------------------------------------------------------------------------------------


class TokenRequest(Request, frozen=True):
    kind: TokenKind
    role: Role | None = None
    """Of a person; machines and servers have none."""
    name: Words = ""
    expires_in_seconds: Annotated[int, Meta(ge=1, le=YEARS)] | UnsetType | None = UNSET
    """None: never. Not given: an hour for machines and servers, never for a person."""
    uses: Annotated[int, Meta(ge=1, le=1000000)] | UnsetType | None = UNSET
    """How many may join with it; None: any number. Not given: one server, any number of machines."""


class TokenView(Answer, frozen=True):
    id: str
    kind: TokenKind
    role: Role | None
    name: str
    created_at: datetime
    expires_at: datetime | None
    uses_left: int | None
    by: str


class Tokens(Answer, frozen=True):
    tokens: tuple[TokenView, ...]


class CreatedToken(Secretive, Answer, frozen=True):
    """The only time that the secret is shown."""

    text: str
    token: TokenView


# --- joining --------------------------------------------------------------------------------------------------------


class CaView(Answer, frozen=True):
    certificate: str
    """PEM."""
    cluster: str


class JoinRequest(Secretive, frozen=True):
    token: Annotated[str, Meta(max_length=255)]
    machine: MachineRef
    csr: Pem
    hostname: Words = ""


class Joined(Answer, frozen=True):
    certificate: str
    """PEM, of the machine."""
    ca: str
    """PEM."""
    cluster: str
    servers: tuple[str, ...]


class JoinServerRequest(Secretive, frozen=True):
    token: Annotated[str, Meta(max_length=255)]
    name: ServerName
    addresses: Annotated[tuple[Words, ...], Meta(max_length=100)] = ()


class ServerJoined(Secretive, Answer, frozen=True):
    """With the key of the cluster's authority."""

    ca: str
    ca_key: str
    cluster: str
    store: dict[str, Any]
    """Where the cluster's store is, as in `[store]` of a server's settings, without passwords."""


# --- agents ---------------------------------------------------------------------------------------------------------


class RegisterRequest(msgspec.Struct, frozen=True):
    machine: Machine
    holder: Holder
    """Tells this machine from another with its id: made of the boot's id."""
    asked: Annotated[int, Meta(ge=0)] = 0
    """When it asked, in nanoseconds since that boot: of two registrations the later one counts."""
    protocol: int = 1


class CertificateRequest(msgspec.Struct, frozen=True):
    csr: Pem


class Certificate(Answer, frozen=True):
    certificate: str
    """PEM."""
    ca: str
    """PEM."""
