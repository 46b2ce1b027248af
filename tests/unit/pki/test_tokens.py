"""Tokens as text."""

from __future__ import annotations

import traceback

import pytest

from argosy.errors import Invalid
from argosy.model.token import TokenKind
from argosy.pki.tokens import TokenText

CA = "ab" * 32


@pytest.mark.parametrize("kind", list(TokenKind))
def test_a_token_is_read_back_as_it_was_written(kind: TokenKind) -> None:
    token = TokenText.make(kind, CA)
    assert TokenText.parse(str(token)) == token


def test_two_tokens_have_nothing_in_common_but_their_cluster() -> None:
    one, other = (TokenText.make(TokenKind.PERSON, CA) for _ in "ab")
    assert one.id != other.id
    assert one.secret != other.secret
    assert not one.matches(other.hash)
    assert one.matches(one.hash)


def test_a_token_vouches_for_one_authority() -> None:
    token = TokenText.make(TokenKind.MACHINE, CA)
    assert token.vouches_for(CA)
    assert not token.vouches_for("ac" * 32)


def test_the_secret_shows_in_no_repr_and_in_no_error() -> None:
    token = TokenText.make(TokenKind.PERSON, CA)
    assert token.secret not in repr(token)
    assert token.id in repr(token)
    with pytest.raises(Invalid) as raised:
        TokenText.parse(str(token) + "0")
    shown = "".join(traceback.format_exception(raised.value)) + raised.value.hint
    assert token.secret not in shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "argosy",
        "argosy_x_" + "1" * 12 + "_" + "2" * 64 + "_" + "3" * 32,
        "argosy_m_" + "1" * 12 + "_" + "2" * 63 + "_" + "3" * 32,
        "argosy_m_" + "1" * 12 + "_" + "2" * 64 + "_" + "3" * 32 + "\n",
        "argosy_m_../../../abc_" + "2" * 64 + "_" + "3" * 32,
        "argosy_m_" + "１" * 12 + "_" + "2" * 64 + "_" + "3" * 32,
    ],
)
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        TokenText.parse(text)
