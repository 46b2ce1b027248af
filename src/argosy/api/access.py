"""Who makes a request, and whether they may.

A connection says something by itself: a unix socket has its peer's user, TLS may have a machine's certificate, loopback
TCP (of `argosy up`) is open to this host. A token that a request brings decides alone, whatever the connection says.
Everything is looked up in the feed's picture, so a revoked token or removed machine is refused as soon as this server has
heard of it, and nothing is read from the store for it.

What strangers learn is one sentence for all ways of not being known.
"""

from __future__ import annotations

import asyncio
import functools
import pwd
import re
import socket
import struct
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from argosy.api.picture import Picture
from argosy.errors import Conflict, Invalid, NotAllowed, StoreUnavailable, Unauthenticated
from argosy.model.ids import MachineId
from argosy.model.token import Role, TokenKind
from argosy.pki.certificates import PeerCertificate, peer_certificate
from argosy.pki.tokens import TokenText

HOLDER = "argosy-holder"
"""Header by which a machine says what tells it from a copy of itself."""
SCHEME = re.compile(r"bearer +(\S+) *", re.IGNORECASE | re.ASCII)
LONGEST_TIMER_SECONDS = 86400.0
_UCRED = struct.Struct("3i")


class Access(StrEnum):
    """Whom a route is for."""

    ANYONE = "anyone"
    MACHINE = "machine"
    """A machine of the cluster, about itself."""
    VIEWER = "viewer"
    DEPLOYER = "deployer"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """The other end of a connection, as far as the connection itself shows it."""

    uid: int | None = None
    """Of a unix socket: the user who connected."""
    certificate: PeerCertificate | None = None
    """Of TLS: the verified certificate, if it is a machine's."""
    is_loopback: bool = False
    """Plain TCP, which is served on loopback only."""


STRANGER = Peer()


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who makes a request."""

    name: str
    """As records and events say it."""
    role: Role | None = None
    """None for a machine."""
    machine: MachineId | None = None
    serial: str = ""
    """Of the machine's certificate."""
    holder: str = ""
    """What tells the machine, in this boot, from a copy of it; empty: it did not say."""
    token: str = ""
    """Id of the token that was shown."""
    expires_at: datetime | None = None


def identify(
    peer: Peer, authorization: str | None, picture: Picture, now: datetime, *, holder: str = ""
) -> Principal | None:
    """Pure: who it is; None when nothing says so.

    holder: what a machine says to be told by from a copy of itself.
    Raises Unauthenticated for a token or certificate worth nothing, Conflict for the copy of a machine that is there.
    """
    if authorization is not None:
        return _of_token(authorization, picture, now)
    if peer.certificate is not None:
        return _of_certificate(peer.certificate, picture, now, holder)
    if peer.uid is not None:
        return Principal(name=_user(peer.uid), role=Role.ADMIN)
    if peer.is_loopback:
        return Principal(name="local", role=Role.ADMIN)
    return None


def require(principal: Principal | None, access: Access) -> None:
    """Pure: returns when they may. Raises Unauthenticated when nobody is known, NotAllowed when they may not."""
    if access is Access.ANYONE:
        return
    if principal is None:
        raise Unauthenticated(
            "this server does not know who you are", hint="argosy login URL --token TOKEN"
        )
    if access is Access.MACHINE:
        if principal.machine is None:
            raise NotAllowed("this is for machines, which show their certificate")
        return
    needed = Role(access.value)
    if principal.role is None:
        raise NotAllowed("a machine may speak of itself only")
    if not principal.role.includes(needed):
        raise NotAllowed(
            f"{principal.name} has the role {principal.role}, and this needs {needed}",
            hint=f"ask an admin for a token: argosy token create --role {needed}",
        )


def _of_token(authorization: str, picture: Picture, now: datetime) -> Principal:
    shown = SCHEME.fullmatch(authorization)
    try:
        text = TokenText.parse(shown[1] if shown else "")
    except Invalid:
        raise _unknown() from None
    token = picture.tokens.get(text.id)
    # A token that is not there is compared too: how long it takes tells nothing.
    is_right = text.matches(token.hash if token else "")
    if token is None or not is_right or token.kind is not TokenKind.PERSON:
        raise _unknown()
    if token.expires_at is not None and token.expires_at <= now:
        raise _unknown()
    return Principal(
        name=token.name or f"token {token.id}",
        role=token.role or Role.VIEWER,
        token=token.id,
        expires_at=token.expires_at,
    )


def _of_certificate(
    shown: PeerCertificate, picture: Picture, now: datetime, holder: str
) -> Principal:
    identity = picture.identities.get(shown.machine)
    is_ours = picture.cluster is not None and shown.cluster == picture.cluster.id
    if (
        not is_ours
        or identity is None
        or shown.serial not in identity.serials
        or shown.expires_at <= now.timestamp()
    ):
        raise Unauthenticated(
            "the cluster does not know this machine, or not any more",
            hint="argosy join URL --token TOKEN",
        )
    if picture.is_another(shown.machine, holder):
        raise another(shown.machine)
    return Principal(
        name=f"machine {shown.machine}",
        machine=shown.machine,
        serial=shown.serial,
        holder=holder,
    )


def another(machine: MachineId) -> Conflict:
    """For the second of two machines with one id, as images that are copied make them."""
    return Conflict(
        f"another live machine has the id {machine}",
        hint="after a reboot it passes; on a copy of a machine: systemd-id128 new >/etc/machine-id; "
        "argosy join URL --again --install",
    )


def _unknown() -> Unauthenticated:
    return Unauthenticated(
        "the token is not valid, or not any more", hint="argosy login URL --token TOKEN"
    )


def is_still_known(principal: Principal, picture: Picture, now: datetime) -> bool:
    """Pure: whether who was let in before would be let in now."""
    if principal.token:
        token = picture.tokens.get(principal.token)
        if token is None or token.role is not principal.role:
            return False
        return token.expires_at is None or token.expires_at > now
    if principal.machine is not None:
        identity = picture.identities.get(principal.machine)
        is_there = identity is not None and principal.serial in identity.serials
        return is_there and not picture.is_another(principal.machine, principal.holder)
    return True


class Streams:
    """Answers under way that go on, each with whom it is for: those of whoever is not known any more end at once."""

    def __init__(self) -> None:
        self._open: dict[MachineId | None, dict[asyncio.Event, Principal]] = {}
        """By machine; those of people together."""

    @contextmanager
    def opened(
        self, principal: Principal, picture: Picture, now: datetime
    ) -> Iterator[asyncio.Event]:
        """Yields what is set when the stream is to end."""
        ended = asyncio.Event()
        if not is_still_known(principal, picture, now):
            ended.set()
        timer = None
        if principal.expires_at is not None:
            left = (principal.expires_at - now).total_seconds()
            # A longer stream than that is checked when its client asks again.
            timer = asyncio.get_running_loop().call_later(
                min(left, LONGEST_TIMER_SECONDS), ended.set
            )
        of_machine = self._open.setdefault(principal.machine, {})
        of_machine[ended] = principal
        try:
            yield ended
        finally:
            del of_machine[ended]
            if not of_machine and self._open.get(principal.machine) is of_machine:
                del self._open[principal.machine]
            if timer is not None:
                timer.cancel()

    def check(
        self, picture: Picture, now: datetime, machines: Collection[MachineId] | None
    ) -> None:
        """End what has no right to go on, according to a picture that has changed. machines: all that it is about."""
        for machine in self._open if machines is None else machines:
            for ended, principal in self._open.get(machine, {}).items():
                if not is_still_known(principal, picture, now):
                    ended.set()


def peer_of(transport: asyncio.BaseTransport) -> Peer:
    """Of a connection that was just made; its TLS handshake is done."""
    tls = transport.get_extra_info("ssl_object")
    if tls is not None:
        return Peer(certificate=peer_certificate(tls.getpeercert()))
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family == socket.AF_UNIX:
        _, uid, _ = _UCRED.unpack(
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        )
        return Peer(uid=uid)
    return Peer(is_loopback=sock is not None)


@functools.lru_cache(maxsize=1000)
def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def check_loaded(picture: Picture) -> None:
    """Raises StoreUnavailable for a picture of nothing: nobody can be known by it."""
    if picture.cluster is None:
        raise StoreUnavailable("this server has not read its store yet", hint="try again")
