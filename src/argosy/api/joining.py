"""Newcomers: what a token lets in, and the certificates that machines get and renew.

A token's use and what it is used for are written in one transaction, so a token for one machine lets in one, however
many ask at once. Whoever is refused learns one sentence; which of the reasons it was stands in the server's log, with the
token's id and never with its secret.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

import msgspec

from argosy.api.access_schemas import (
    Certificate,
    CertificateRequest,
    Joined,
    JoinRequest,
    JoinServerRequest,
    ServerJoined,
)
from argosy.api.services import Api
from argosy.errors import Conflict, Invalid, StaleRevision, Unauthenticated, Unsupported
from argosy.model.event import Event
from argosy.model.identity import Identity
from argosy.model.ids import MachineId
from argosy.model.token import Token, TokenKind
from argosy.pki import certificates
from argosy.pki.authority import Authority
from argosy.pki.tokens import TokenText
from argosy.store import base, codec, keys

log = logging.getLogger(__name__)
ATTEMPTS = 50
"""How often a join is tried anew because somebody else used the same token at the same time."""


def authority_of(api: Api) -> Authority:
    """Raises Unsupported where no machine can join."""
    if api.services.authority is None:
        raise Unsupported(
            "this server is one of `argosy up`: it has no other machines",
            hint="argosy server init makes a server that machines can join",
        )
    return api.services.authority


async def join_machine(api: Api, request: JoinRequest) -> Joined:
    """Let a machine in: its certificate, the identity that makes it count, and the token's use, in one transaction.

    Raises Unauthenticated for a token that is worth nothing, Conflict when a live machine has the id, Invalid for a
    signing request that asks for more than its key.
    """
    authority = authority_of(api)
    text = _parse(request.token)
    machine = MachineId(request.machine)
    cluster = (await api.feed.catch_up()).cluster
    assert cluster is not None, "a server opens the cluster before it answers"
    for _ in range(ATTEMPTS):
        now = api.services.clock()
        kv, token = await _find(api, text, TokenKind.MACHINE, now)
        presence = await api.services.store.range(keys.presence(machine))
        if presence.kvs:
            raise Conflict(
                f"a live machine has the id {machine}",
                hint="on the copy of a machine: systemd-id128 new >/etc/machine-id",
            )
        signed = authority.sign_machine(request.csr.encode(), machine, cluster=cluster.id, now=now)
        known = await api.services.store.range(keys.identity(machine))
        identity = Identity(
            machine=machine,
            serials=(certificates.serial(signed),),
            joined_at=now,
            token=token.id,
        )
        told = Event(
            at=now,
            kind="machine.admitted",
            machine=machine,
            message=f"{request.hostname or machine} has {'a new' if known.kvs else 'its'} "
            f"certificate, by token {token.name or token.id}",
            by=f"token {token.id}",
        )
        compares = [
            base.unchanged(kv),
            base.absent(keys.presence(machine)),
            base.unchanged(known.kvs[0]) if known.kvs else base.absent(keys.identity(machine)),
        ]
        ops = [
            *_used(kv, token),
            base.Put(keys.identity(machine), codec.encode(identity)),
            api.journal.put(told),
        ]
        if (await api.services.store.txn(compares, ops)).succeeded:
            await api.feed.catch_up()
            return Joined(
                certificate=signed.decode(),
                ca=authority.certificate.decode(),
                cluster=cluster.id,
                servers=await api.sessions.servers(),
            )
    raise _busy()


async def join_server(api: Api, request: JoinServerRequest) -> ServerJoined:
    """Hand the authority's key to a new server. Raises Unauthenticated, Conflict when a live server has the name."""
    authority = authority_of(api)
    if api.services.store_for_servers is None:
        raise Unsupported(
            "this cluster's records are in a file of its one server, which no other can read",
            hint="argosy store migrate --to etcd; see docs/guides",
        )
    text = _parse(request.token)
    cluster = (await api.feed.catch_up()).cluster
    assert cluster is not None, "a server opens the cluster before it answers"
    for _ in range(ATTEMPTS):
        now = api.services.clock()
        kv, token = await _find(api, text, TokenKind.SERVER, now)
        if (await api.services.store.range(keys.server(request.name))).kvs:
            raise Conflict(f"a live server has the name {request.name}")
        told = Event(
            at=now,
            kind="server.admitted",
            message=f"server {request.name} has the authority's key, "
            f"by token {token.name or token.id}",
            by=f"token {token.id}",
        )
        ops = [*_used(kv, token), api.journal.put(told)]
        if (await api.services.store.txn([base.unchanged(kv)], ops)).succeeded:
            return ServerJoined(
                ca=authority.certificate.decode(),
                ca_key=authority.key.decode(),
                cluster=cluster.id,
                store=dict(api.services.store_for_servers),
            )
    raise _busy()


async def renew_certificate(
    api: Api, machine: MachineId, shown: str, request: CertificateRequest
) -> Certificate:
    """Another certificate for a machine of the cluster. The one that it asks with goes on being good, until the new one
    is used (`settle_certificate`).

    shown: serial of the certificate that the machine asks with. Raises Unauthenticated when the machine is not in the
    cluster any more, Invalid.
    """
    authority = authority_of(api)
    found = await api.services.store.range(keys.identity(machine))
    cluster = await api.sessions.cluster()
    if not found.kvs:
        raise Unauthenticated("the cluster does not know this machine any more")
    identity = codec.decode(found.kvs[0].value, Identity)
    signed = authority.sign_machine(
        request.csr.encode(), machine, cluster=cluster.id, now=api.services.clock()
    )
    renewed = msgspec.structs.replace(identity, serials=(shown, certificates.serial(signed)))
    put = base.Put(
        keys.identity(machine),
        codec.encode(renewed, beyond=codec.beyond(found.kvs[0].value, identity)),
    )
    if not (await api.services.store.txn([base.unchanged(found.kvs[0])], [put])).succeeded:
        raise StaleRevision("the machine's identity changed at the same time", hint="try again")
    await api.feed.catch_up()
    return Certificate(certificate=signed.decode(), ca=authority.certificate.decode())


async def settle_certificate(api: Api, machine: MachineId, shown: str) -> None:
    """The machine shows its newest certificate: the ones before it are worth nothing from now on."""
    identity = api.feed.picture.identities.get(machine)
    if identity is None or len(identity.serials) < 2 or identity.serials[-1] != shown:
        return
    found = await api.services.store.range(keys.identity(machine))
    if found.kvs and codec.decode(found.kvs[0].value, Identity) == identity:
        settled = msgspec.structs.replace(identity, serials=(shown,))
        put = base.Put(
            keys.identity(machine),
            codec.encode(settled, beyond=codec.beyond(found.kvs[0].value, identity)),
        )
        await api.services.store.txn([base.unchanged(found.kvs[0])], [put])


def _parse(text: str) -> TokenText:
    try:
        return TokenText.parse(text)
    except Invalid:
        log.info("somebody came with something that is no token")
        raise _refused() from None


async def _find(
    api: Api, text: TokenText, kind: TokenKind, now: datetime
) -> tuple[base.KeyValue, Token]:
    """The token's record, if it is worth something now. Raises Unauthenticated."""
    known = api.feed.picture.tokens.get(text.id)
    is_right = text.matches(known.hash if known else "")
    if known is not None and not is_right:
        log.warning("token %s was shown with a wrong secret", text.id)
        raise _refused()
    if known is None and not api.doubts.has():
        # Who guesses does not get to read the store more often than that.
        raise _refused()
    found = await api.services.store.range(keys.token(text.id))
    token = codec.decode(found.kvs[0].value, Token) if found.kvs else None
    problem = _fault(token, text, kind, now)
    if token is None or problem:
        log.warning("token %s was refused: %s", text.id, problem)
        raise _refused()
    return found.kvs[0], token


def _fault(token: Token | None, text: TokenText, kind: TokenKind, now: datetime) -> str:
    """Pure: why the token is worth nothing; empty when it is worth something."""
    if token is None:
        return "there is none with this id"
    if not text.matches(token.hash):
        return "its secret is wrong"
    if token.kind is not kind or text.kind is not kind:
        return f"it is for a {token.kind}, not for a {kind}"
    if token.expires_at is not None and token.expires_at <= now:
        return f"it expired at {token.expires_at:%Y-%m-%d %H:%M:%S %Z}"
    if token.uses_left is not None and token.uses_left < 1:
        return "it is used up"
    return ""


def _used(kv: base.KeyValue, token: Token) -> Sequence[base.Op]:
    if token.uses_left is None:
        return ()
    less = msgspec.structs.replace(token, uses_left=token.uses_left - 1)
    return (
        base.Put(keys.token(token.id), codec.encode(less, beyond=codec.beyond(kv.value, token))),
    )


def _refused() -> Unauthenticated:
    return Unauthenticated(
        "the token is not valid, or not any more",
        hint="ask for a new one: argosy token create",
    )


def _busy() -> StaleRevision:
    return StaleRevision("too many join with the same token at the same time", hint="try again")
