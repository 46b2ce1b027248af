"""Tokens as people hand them on: `argosy_m_ID_SECRET_CA`.

The kind (`m`achine, `s`erver, `p`erson) and the id are public: listed, logged, revoked by. The secret is 256 random bits
and stands nowhere but in this text; the store has its SHA-256. The last part is the beginning of the SHA-256 of the
cluster's CA certificate, so that whoever joins with the token knows which server to believe before it has sent anything.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field

from argosy.errors import Invalid
from argosy.model.token import TokenKind

CA_DIGITS = 32
"""Hex digits of the digest of the CA certificate: 128 bits, which nobody can find a second certificate for."""
LETTERS = {TokenKind.MACHINE: "m", TokenKind.SERVER: "s", TokenKind.PERSON: "p"}
_KINDS = {letter: kind for kind, letter in LETTERS.items()}
_TEXT = re.compile(r"argosy_([msp])_([0-9a-f]{12})_([0-9a-f]{64})_([0-9a-f]{32})", re.ASCII)


@dataclass(frozen=True, slots=True)
class TokenText:
    """A token with its secret. Its repr has no secret; `str` has all, since it is what is shown once and handed on."""

    kind: TokenKind
    id: str
    secret: str = field(repr=False)
    ca: str
    """First CA_DIGITS hex digits of the SHA-256 of the CA certificate (DER)."""

    @classmethod
    def make(cls, kind: TokenKind, ca_digest: str) -> TokenText:
        return cls(kind, secrets.token_hex(6), secrets.token_hex(32), ca_digest[:CA_DIGITS])

    @classmethod
    def parse(cls, text: str) -> TokenText:
        """Raises Invalid, whose words never repeat what was given."""
        found = _TEXT.fullmatch(text)
        if found is None:
            raise Invalid(
                "this is no token of argosy, or a part of it is missing",
                hint="copy the whole of it: argosy_..., without spaces",
            )
        letter, token_id, secret, ca = found.groups()
        return cls(_KINDS[letter], token_id, secret, ca)

    def __str__(self) -> str:
        return f"argosy_{LETTERS[self.kind]}_{self.id}_{self.secret}_{self.ca}"

    @property
    def hash(self) -> str:
        """What the store keeps."""
        return hashlib.sha256(self.secret.encode()).hexdigest()

    def matches(self, known_hash: str) -> bool:
        """In a time that tells nothing about the hash."""
        return hmac.compare_digest(self.hash, known_hash)

    def vouches_for(self, ca_digest: str) -> bool:
        """Whether the CA certificate with that SHA-256 (hex) is the one that the token was made under."""
        return hmac.compare_digest(self.ca, ca_digest[:CA_DIGITS])
