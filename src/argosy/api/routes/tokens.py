"""Tokens. A secret is shown by the answer that makes it, and never again."""

from __future__ import annotations

from datetime import timedelta

from msgspec import UNSET

from argosy.api import joining
from argosy.api.access import Access
from argosy.api.access_schemas import CreatedToken, TokenRequest, Tokens, TokenView
from argosy.api.routing import Route
from argosy.api.services import Api
from argosy.errors import Invalid, NotFound
from argosy.model.event import Event
from argosy.model.token import Token, TokenKind
from argosy.pki.tokens import TokenText
from argosy.store import base, codec, keys

JOIN_WITHIN = timedelta(hours=1)
"""How long a token for machines or servers is good, when nobody says otherwise."""


async def create_token(api: Api, body: TokenRequest) -> CreatedToken:
    """Make a token. Its secret is in this answer and nowhere else."""
    authority = joining.authority_of(api)
    is_person = body.kind is TokenKind.PERSON
    if is_person and body.role is None:
        raise Invalid("a person's token needs a role", hint="viewer, deployer or admin")
    if not is_person and body.role is not None:
        raise Invalid(f"a token for a {body.kind} has no role")
    if is_person and body.uses not in (None, UNSET):
        raise Invalid("a person's token has no number of uses", hint="let it expire instead")
    now = api.services.clock()
    uses = body.uses
    if uses is UNSET:
        uses = 1 if body.kind is TokenKind.SERVER else None
    lasts: timedelta | None = None if is_person else JOIN_WITHIN
    if body.expires_in_seconds is not UNSET:
        seconds = body.expires_in_seconds
        lasts = None if seconds is None else timedelta(seconds=seconds)
    text = TokenText.make(body.kind, authority.digest)
    token = Token(
        id=text.id,
        kind=body.kind,
        hash=text.hash,
        role=body.role,
        name=body.name,
        created_at=now,
        expires_at=None if lasts is None else now + lasts,
        uses_left=uses,
        by=api.by,
    )
    told = Event(at=now, kind="token.created", message=_in_words(token), by=api.by)
    ops = [base.Put(keys.token(token.id), codec.encode(token)), api.journal.put(told)]
    result = await api.services.store.txn([base.absent(keys.token(token.id))], ops)
    assert result.succeeded, "the id is random"
    # Whoever gets the token may use it at once.
    await api.feed.catch_up()
    return CreatedToken(text=str(text), token=_view(token))


async def list_tokens(api: Api) -> Tokens:
    """All tokens, the oldest first: also those that have expired or are used up."""
    picture = await api.feed.catch_up()
    tokens = sorted(picture.tokens.values(), key=lambda token: (token.created_at, token.id))
    return Tokens(tokens=tuple(map(_view, tokens)))


async def revoke_token(api: Api, id: str) -> TokenView:  # noqa: A002
    """Make a token worth nothing, at once. Machines that joined with it stay."""
    if not id.isalnum() or not id.isascii():
        raise NotFound(f"there is no token {id!r}", hint="argosy token list")
    found = await api.services.store.range(keys.token(id))
    if not found.kvs:
        raise NotFound(f"there is no token {id}", hint="argosy token list")
    token = codec.decode(found.kvs[0].value, Token)
    told = Event(at=api.services.clock(), kind="token.revoked", message=_in_words(token), by=api.by)
    # However often it was used meanwhile.
    await api.services.store.txn([], [base.Delete(keys.token(id)), api.journal.put(told)])
    await api.feed.catch_up()
    return _view(token)


def _view(token: Token) -> TokenView:
    return TokenView(
        id=token.id,
        kind=token.kind,
        role=token.role,
        name=token.name,
        created_at=token.created_at,
        expires_at=token.expires_at,
        uses_left=token.uses_left,
        by=token.by,
    )


def _in_words(token: Token) -> str:
    role = f" as {token.role}" if token.role else ""
    name = f" ({token.name})" if token.name else ""
    return f"token {token.id} for a {token.kind}{role}{name}"


ROUTES = (
    Route(
        method="POST",
        path="/v1/tokens",
        handler=create_token,
        access=Access.ADMIN,
        status=201,
        errors=(501, 507),
    ),
    Route(method="GET", path="/v1/tokens", handler=list_tokens, access=Access.ADMIN),
    Route(
        method="DELETE",
        path="/v1/tokens/{id}",
        handler=revoke_token,
        access=Access.ADMIN,
        errors=(404,),
    ),
)
