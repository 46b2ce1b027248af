"""TLS, client certificates and passwords: who is let into etcd, and what is said to those who are not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from argosy.errors import ArgosyError, Invalid, NotAllowed, StoreRefused, Unauthenticated
from argosy.settings import EtcdSettings
from argosy.store.base import Put, Store
from argosy.store.etcd.store import EtcdStore
from contract.etcd_certificates import Authority, Pair
from contract.etcd_kit import EtcdCluster, etcd

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Guarded:
    """An etcd that lets in only whom its authority signed."""

    def __init__(self, cluster: EtcdCluster, authority: Authority, user: Pair) -> None:
        self.cluster = cluster
        self.authority = authority
        self.user = user
        self.settings = replace(
            cluster.settings(),
            ca_file=authority.file,
            cert_file=user.certificate,
            key_file=user.key,
            request_timeout=timedelta(seconds=2),
        )

    def ctl(self, *arguments: str) -> str:
        return self.cluster.ctl(
            f"--cacert={self.authority.file}",
            f"--cert={self.user.certificate}",
            f"--key={self.user.key}",
            *arguments,
        )


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    directory = tmp_path_factory.mktemp("etcd")
    authority = Authority(directory, "etcd-ca")
    member = authority.sign("member")
    arguments = [
        f"--cert-file={member.certificate}",
        f"--key-file={member.key}",
        f"--trusted-ca-file={authority.file}",
        "--client-cert-auth",
    ]
    with etcd(directory, arguments=arguments, scheme="https") as cluster:
        yield Guarded(cluster, authority, authority.sign("root"))


async def put(store: Store, key: str) -> int:
    return (await store.txn([], [Put(key, b"")])).revision


async def refusal(settings: EtcdSettings) -> ArgosyError:
    """How a connection with these settings ends."""
    with pytest.raises(ArgosyError) as raised:
        await EtcdStore.connect(settings)
    return raised.value


async def test_a_client_with_a_certificate_of_the_authority_is_let_in(guarded: Guarded) -> None:
    store = await EtcdStore.connect(guarded.settings)
    async with store.watch("a") as watch:
        written = await put(store, "a")
        assert (await anext(watch)).revision == written
    lease = await store.grant(10)
    assert await store.keep_alive(lease.id) == 10
    await store.close()


async def test_an_etcd_that_somebody_else_signed_is_refused_and_the_words_say_why(
    guarded: Guarded, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other-ca")
    refused = await refusal(replace(guarded.settings, ca_file=other.file))
    assert isinstance(refused, StoreRefused)
    assert "CERTIFICATE_VERIFY_FAILED" in refused.message and "ca_file" in refused.hint


async def test_an_etcd_whose_certificate_has_another_name_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "etcd-ca")
    elsewhere = authority.sign("member", address="192.0.2.1")
    arguments = [f"--cert-file={elsewhere.certificate}", f"--key-file={elsewhere.key}"]
    with etcd(tmp_path, arguments=arguments, scheme="https") as cluster:
        settings = replace(
            cluster.settings(), ca_file=authority.file, request_timeout=timedelta(seconds=1)
        )
        refused = await refusal(settings)
    assert isinstance(refused, StoreRefused) and "names in the certificate" in refused.hint


@pytest.mark.parametrize("shown", ["nothing", "a certificate of somebody else"])
async def test_a_client_that_etcd_does_not_know_is_told_so(
    guarded: Guarded, tmp_path: Path, shown: str
) -> None:
    settings = replace(guarded.settings, cert_file=None, key_file=None)
    if shown != "nothing":
        stranger = Authority(tmp_path, "other-ca").sign("root")
        settings = replace(settings, cert_file=stranger.certificate, key_file=stranger.key)
    refused = await refusal(settings)
    assert isinstance(refused, StoreRefused), refused
    assert "cert_file" in refused.hint


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"endpoints": ()}, "no endpoint"),
        ({"endpoints": ("etcd1:2379",)}, "not an endpoint"),
        ({"endpoints": ("https://etcd1",)}, "not an endpoint"),
        ({"endpoints": ("https://etcd1:99999",)}, "not an endpoint"),
        ({"endpoints": ("https://u:p@etcd1:2379",)}, "not an endpoint"),
        ({"endpoints": ("http://etcd1:2379",)}, "would not use them"),
        ({"ca_file": Path("/nowhere/ca.pem")}, "cannot read /nowhere/ca.pem: No such file"),
        ({"key_file": None}, "needs its key"),
        ({"prefix": ""}, "prefix"),
    ],
    ids=str,
)
async def test_settings_that_cannot_be_right_are_refused_before_anything_is_sent(
    guarded: Guarded, wrong: dict[str, object], words: str
) -> None:
    refused = await refusal(replace(guarded.settings, **wrong))  # type: ignore[arg-type]
    assert isinstance(refused, Invalid) and words in refused.message


async def test_a_password_does_not_travel_in_the_clear(tmp_path: Path) -> None:
    settings = EtcdSettings(endpoints=("http://etcd1:2379",), username="argosy")
    assert "in the clear" in (await refusal(settings)).message


async def test_the_common_name_of_a_certificate_is_the_user_and_its_role_holds(
    guarded: Guarded,
) -> None:
    guarded.ctl("user", "add", "root", "--no-password")
    guarded.ctl("user", "grant-role", "root", "root")
    guarded.ctl("user", "add", "argosy", "--no-password")
    guarded.ctl("role", "add", "argosy")
    guarded.ctl("role", "grant-permission", "argosy", "--prefix=true", "readwrite", "/argosy/")
    guarded.ctl("user", "grant-role", "argosy", "argosy")
    guarded.ctl("auth", "enable")
    try:
        mine = guarded.authority.sign("argosy")
        settings = replace(guarded.settings, cert_file=mine.certificate, key_file=mine.key)
        store = await EtcdStore.connect(settings)
        async with store.watch("a") as watch:
            written = await put(store, "a")
            async with asyncio.timeout(10):
                assert (await anext(watch)).revision == written
        lease = await store.grant(10)
        await store.keep_alive(lease.id)
        assert (await store.status()).keys == 1
        await store.close()
        assert isinstance(await refusal(replace(settings, prefix="/other/")), NotAllowed)
    finally:
        guarded.ctl("auth", "disable")


def with_passwords(cluster: EtcdCluster, directory: Path) -> EtcdSettings:
    """Turn passwords on; the settings of the user `argosy`."""
    cluster.ctl("user", "add", "root:top secret")
    cluster.ctl("user", "grant-role", "root", "root")
    cluster.ctl("user", "add", "argosy:open sesame")
    cluster.ctl("role", "add", "argosy")
    cluster.ctl("role", "grant-permission", "argosy", "--prefix=true", "readwrite", "/argosy/")
    cluster.ctl("user", "grant-role", "argosy", "argosy")
    cluster.ctl("auth", "enable")
    file = directory / "password"
    file.write_text("open sesame\n")
    return replace(cluster.settings(), username="argosy", password_file=file)


async def test_a_token_that_etcd_forgot_is_replaced_for_calls_watches_and_renewals(
    tmp_path: Path,
) -> None:
    # A token lives two seconds after its last use here, and dies with the member.
    with etcd(tmp_path, arguments=["--auth-token=simple", "--auth-token-ttl=2"]) as cluster:
        settings = with_passwords(cluster, tmp_path)
        store = await EtcdStore.connect(settings)
        lease = await store.grant(60)
        async with store.watch("a") as watch:
            assert (await put(store, "a")) == (await anext(watch)).revision
            await asyncio.sleep(4)  # what is waited for is the end of the token's life
            written = await put(store, "a")
            async with asyncio.timeout(10):
                assert (await anext(watch)).revision == written
            [member] = cluster.members
            member.kill()
            cluster.start()
            written = await put(store, "a")
            assert await store.keep_alive(lease.id) == 60
            async with asyncio.timeout(10):
                assert (await anext(watch)).revision == written
        await store.close()


async def test_a_wrong_password_is_refused_and_a_new_one_is_read_without_a_restart(
    tmp_path: Path,
) -> None:
    with etcd(tmp_path) as cluster:
        settings = with_passwords(cluster, tmp_path)
        store = await EtcdStore.connect(settings)
        password = tmp_path / "password"
        password.write_text("guess\n")
        refused = await refusal(settings)
        assert isinstance(refused, Unauthenticated) and "guess" not in refused.message
        nobody = replace(settings, username=None, password_file=None)
        assert isinstance(await refusal(nobody), Unauthenticated)
        cluster.ctl(
            "--user=root:top secret",
            "user",
            "passwd",
            "argosy",
            "--interactive=false",
            typed="guess\n",
        )
        await put(store, "a")  # with the new password: its old token ended with the old one
        await store.close()
