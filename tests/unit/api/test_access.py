"""Who somebody is, decided from a connection, a header and a picture; and how much they may ask."""

from __future__ import annotations

import asyncio
import resource
from datetime import UTC, datetime, timedelta

import pytest

from argosy.api import access
from argosy.api.access import Access, Peer, Principal, Streams, identify, is_still_known, require
from argosy.api.buckets import Bucket
from argosy.api.picture import Picture
from argosy.api.problems import Refused
from argosy.api.protocol import FEWEST_CONNECTIONS, OTHER_FILES, connections_possible
from argosy.errors import Conflict, NotAllowed, StoreUnavailable, Unauthenticated
from argosy.model.cluster import Cluster
from argosy.model.identity import Identity
from argosy.model.ids import MachineId
from argosy.model.token import Role, Token, TokenKind
from argosy.pki.certificates import PeerCertificate
from argosy.pki.tokens import TokenText
from argosy.testing import loop

ME = MachineId("1" * 32)
NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
TEXT = TokenText.make(TokenKind.PERSON, "ab" * 32)
CERTIFICATE = PeerCertificate(
    cluster="c" * 32, machine=ME, serial="abc", expires_at=NOW.timestamp() + 60
)


@pytest.fixture
def picture() -> Picture:
    picture = Picture(lambda: NOW)
    picture.cluster = Cluster(id="c" * 32, created_at=NOW)
    picture.identities[ME] = Identity(machine=ME, serials=("abc", "def"), joined_at=NOW)
    picture.tokens[TEXT.id] = token()
    return picture


def token(role: Role = Role.DEPLOYER, *, expires_at: datetime | None = None) -> Token:
    return Token(
        id=TEXT.id,
        kind=TokenKind.PERSON,
        hash=TEXT.hash,
        role=role,
        name="robot",
        created_at=NOW,
        expires_at=expires_at,
    )


def test_a_token_decides_alone_whatever_the_connection_says(picture: Picture) -> None:
    for peer in (Peer(), Peer(uid=0), Peer(is_loopback=True), Peer(certificate=CERTIFICATE)):
        found = identify(peer, f"Bearer {TEXT}", picture, NOW)
        assert found is not None
        assert (found.name, found.role, found.machine) == ("robot", Role.DEPLOYER, None)
        with pytest.raises(Unauthenticated):
            identify(peer, "Bearer x", picture, NOW)


@pytest.mark.parametrize("header", ["", "Bearer", "Basic abc", str(TEXT), f"Bearer {TEXT} {TEXT}"])
def test_a_header_that_is_no_bearer_token_is_refused(picture: Picture, header: str) -> None:
    with pytest.raises(Unauthenticated):
        identify(Peer(uid=0), header, picture, NOW)


def test_who_connects_to_the_socket_is_an_admin_under_their_own_name(picture: Picture) -> None:
    root = identify(Peer(uid=0), None, picture, NOW)
    assert root == Principal(name="root", role=Role.ADMIN)
    nameless = identify(Peer(uid=3_999_999_999), None, picture, NOW)
    assert nameless == Principal(name="uid 3999999999", role=Role.ADMIN)


def test_a_certificate_counts_while_the_record_names_it(picture: Picture) -> None:
    peer = Peer(certificate=CERTIFICATE)
    found = identify(peer, None, picture, NOW)
    assert found is not None
    assert (found.machine, found.role) == (ME, None)
    with pytest.raises(Unauthenticated):
        identify(peer, None, picture, NOW + timedelta(minutes=2))
    picture.identities[ME] = Identity(machine=ME, serials=("def",), joined_at=NOW)
    with pytest.raises(Unauthenticated):
        identify(peer, None, picture, NOW)


def test_a_role_includes_those_below_it() -> None:
    order = [Access.VIEWER, Access.DEPLOYER, Access.ADMIN]
    for has, role in enumerate(Role):
        for needs, one in enumerate(order):
            if has >= needs:
                require(Principal(name="x", role=role), one)
            else:
                with pytest.raises(NotAllowed):
                    require(Principal(name="x", role=role), one)


def test_nobody_is_known_by_a_picture_of_nothing() -> None:
    with pytest.raises(StoreUnavailable):
        access.check_loaded(Picture(lambda: NOW))


def test_who_was_let_in_is_turned_out_when_the_role_changes_or_the_record_goes(
    picture: Picture,
) -> None:
    robot = identify(Peer(), f"Bearer {TEXT}", picture, NOW)
    machine = identify(Peer(certificate=CERTIFICATE), None, picture, NOW)
    assert robot is not None
    assert machine is not None
    assert is_still_known(robot, picture, NOW)
    assert is_still_known(machine, picture, NOW)
    picture.tokens[TEXT.id] = token(Role.VIEWER)
    del picture.identities[ME]
    assert not is_still_known(robot, picture, NOW)
    assert not is_still_known(machine, picture, NOW)
    assert is_still_known(Principal(name="root", role=Role.ADMIN), picture, NOW)


def test_a_copy_of_a_machine_is_told_from_it_while_it_is_there(picture: Picture) -> None:
    peer = Peer(certificate=CERTIFICATE)
    copy = identify(peer, None, picture, NOW, holder="copy")
    assert copy is not None  # nobody else is there
    picture.holders[ME] = "original"
    assert not is_still_known(copy, picture, NOW)
    with pytest.raises(Conflict, match="another live machine") as refused:
        identify(peer, None, picture, NOW, holder="copy")
    assert "systemd-id128 new" in refused.value.hint
    assert identify(peer, None, picture, NOW, holder="original") is not None


def test_the_streams_of_a_copy_end_when_the_machine_itself_comes(picture: Picture) -> None:
    streams = Streams()
    copy = identify(Peer(certificate=CERTIFICATE), None, picture, NOW, holder="copy")
    assert copy is not None
    with streams.opened(copy, picture, NOW) as ended:
        picture.holders[ME] = "original"
        streams.check(picture, NOW, [MachineId("2" * 32)])
        assert not ended.is_set()
        streams.check(picture, NOW, [ME])
        assert ended.is_set()


async def test_a_stream_that_begins_after_its_token_went_ends_at_once(picture: Picture) -> None:
    streams = Streams()
    robot = identify(Peer(), f"Bearer {TEXT}", picture, NOW)
    assert robot is not None
    with streams.opened(robot, picture, NOW) as ended:
        assert not ended.is_set()
        del picture.tokens[TEXT.id]
        streams.check(picture, NOW, None)
        assert ended.is_set()
    with streams.opened(robot, picture, NOW) as ended:
        assert ended.is_set()


def test_a_bucket_gives_its_burst_and_then_so_many_a_second() -> None:
    async def story() -> list[int]:
        bucket = Bucket(per_second=50, burst=100)
        given = []
        for _ in range(4):
            given.append(sum(bucket.has() for _ in range(1000)))
            await asyncio.sleep(1)
        await asyncio.sleep(60)
        given.append(sum(bucket.has() for _ in range(1000)))
        with pytest.raises(Refused):
            bucket.take()
        return given

    assert loop.run(1, story) == [100, 50, 50, 50, 100]


def test_as_many_connections_as_open_files_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    for soft, possible in (
        (1024, 1024 - OTHER_FILES),
        (300, FEWEST_CONNECTIONS),
        (65536, 65536 - OTHER_FILES),
        (resource.RLIM_INFINITY, 1_000_000 - OTHER_FILES),
    ):
        monkeypatch.setattr(resource, "getrlimit", lambda _, soft=soft: (soft, soft))
        assert connections_possible() == possible
