"""The daemon `argosy server`: a store, an engine that leads or waits to, sessions of machines, and the API.

Its directory is private to it:

    ca.crt, ca.key  the cluster's certificate authority; who has the key can make himself any machine of the cluster
    server.pem      this server's certificate with its key, made anew at each start and before it runs out
    store.db        the cluster's records, where they are in SQLite

A store that is away when the server starts is waited for; one that goes away later is every part's own affair.
"""

from __future__ import annotations

import asyncio
import grp
import logging
import os
import platform
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from argosy.api.cluster import open_cluster
from argosy.api.questions import Questions
from argosy.api.server import Server, TlsPort
from argosy.api.services import Services
from argosy.api.sessions import Sessions
from argosy.daemon import garbage, host, renewal, settings_file
from argosy.daemon.inspection import inspect
from argosy.daemon.metrics_port import served
from argosy.daemon.server_metrics import Observed, ServerMetrics
from argosy.daemon.stores import wait_for_store
from argosy.engine.engine import Engine
from argosy.errors import ArgosyError, Invalid, NotFound
from argosy.pki import certificates, files
from argosy.pki.authority import Authority
from argosy.pki.certificates import TlsFiles
from argosy.settings import ServerSettings, StoreKind
from argosy.store import base, keys
from argosy.store.measured import MeasuredStore

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServerFiles:
    """Where a server's certificates are."""

    directory: Path

    @property
    def ca(self) -> Path:
        return self.directory / "ca.crt"

    @property
    def ca_key(self) -> Path:
        return self.directory / "ca.key"

    @property
    def certificate(self) -> Path:
        """With its key."""
        return self.directory / "server.pem"

    @property
    def tls(self) -> TlsFiles:
        return TlsFiles(certificate=self.certificate, key=self.certificate, ca=self.ca)

    def authority(self, settings: ServerSettings) -> Authority:
        """Raises Invalid when there is none yet, or when its key could be read by others."""
        try:
            certificate, key = files.read_public(self.ca), files.read_private(self.ca_key)
        except NotFound as problem:
            raise Invalid(
                f"this server is part of no cluster yet: {problem}",
                hint="argosy server init makes a cluster, argosy server join enters one",
            ) from None
        return Authority(certificate, key, settings.certificate_life)

    def expiries(self) -> Mapping[str, datetime]:
        """When the certificates run out, by what they are for. One that cannot be read is left out."""
        found = {}
        for word, read in (
            ("server", partial(files.read_private, self.certificate)),
            ("authority", partial(files.read_public, self.ca)),
        ):
            with suppress(ArgosyError, OSError):
                found[word] = certificates.expires_at(read())
        return found

    def keep_authority(self, authority: Authority) -> None:
        files.write_private(self.ca_key, authority.key)
        files.write_public(self.ca, authority.certificate)


def now() -> datetime:
    """The wall clock, for records that people read, and for certificates."""
    return datetime.now(UTC)


def name_of(settings: ServerSettings) -> str:
    """What the cluster calls this server."""
    return settings.name or platform.node()


def addresses_of(settings: ServerSettings) -> tuple[str, ...]:
    """Where others reach this server, the one that agents are told first."""
    return settings.addresses or host.names_of_this_host()


async def run_server(
    settings: ServerSettings, stop: asyncio.Event, ready: Callable[[], None]
) -> None:
    """Serve until `stop` is set; then requests end, and agents go to other servers.

    ready: called when the API answers. Raises Invalid for settings that cannot be carried out, StoreRefused, and what
    made it impossible to go on.
    """
    async with server(settings) as url:
        log.info("serving the cluster at %s", url)
        ready()
        await stop.wait()
        log.info("asked to stop")


@asynccontextmanager
async def server(settings: ServerSettings) -> AsyncIterator[str]:
    """A server that serves while the body runs; yields its URL. A part that dies takes the body along."""
    host.make_private(settings.directory)
    place = ServerFiles(settings.directory)
    authority = place.authority(settings)
    name, addresses = name_of(settings), addresses_of(settings)

    async def sign(request: bytes) -> bytes:
        return authority.sign_server(request, name=name, addresses=addresses, now=now())

    await renewal.renew(place.certificate, sign)
    async with AsyncExitStack() as stack:
        observed = Observed()
        backing = await wait_for_store(settings.store, settings.directory)
        stack.push_async_callback(backing.close)
        store = MeasuredStore(backing, observed.operation)
        cluster = await open_cluster(store, clock=now)
        if settings.store.kind is StoreKind.SQLITE:
            # The store is locked by this process: whoever led it before is dead, and its lease need not be waited out.
            await store.txn([], [base.Delete(keys.LEADER)])
        port = settings.listen.rpartition(":")[2]
        url = f"https://{_in_url(addresses[0])}:{port}"
        presence = settings.engine.presence
        sessions = Sessions(store, name=name, clock=now, endpoints=[url], settings=presence)
        engine = Engine(store, name=name, clock=now, settings=settings.engine, turned=observed.turn)
        questions = Questions()
        metrics = ServerMetrics(
            observed=observed,
            name=name,
            store=store,
            sessions=sessions,
            questions=questions,
            engine=lambda: engine.status,
            expiries=place.expiries,
        )
        services = Services(
            store=store,
            clock=now,
            writer=name,
            questions=questions,
            engine=lambda: engine.status,
            sessions=sessions,
            metrics=metrics,
            inspect=partial(
                inspect,
                backing,
                settings.store.kind,
                expiries=place.expiries,
                directories=(Path("/"), settings.directory),
            ),
            authority=authority,
            store_for_servers=_for_servers(settings),
        )
        context = certificates.server_context(place.tls)
        api = Server(
            services,
            unix=settings.socket,
            unix_group=_group_id(settings.socket_group),
            tls=TlsPort(listen=settings.listen, context=context),
        )
        stack.callback(api.close)
        await stack.enter_async_context(
            served(settings.metrics_listen, lambda: metrics.exposed(api.picture))
        )
        log.info("cluster %s, server %s", cluster.id, name)
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(garbage.keep_pauses_short(), name="keep pauses short"),
                tasks.create_task(engine.run(), name="engine"),
                tasks.create_task(sessions.run(), name="sessions"),
                tasks.create_task(api.run(), name="api"),
                tasks.create_task(
                    renewal.keep_renewed(
                        place.certificate,
                        sign=sign,
                        use=lambda: certificates.reload(context, place.tls),
                        clock=now,
                        chance=random.Random(),  # noqa: S311 - spreads, hides nothing
                    ),
                    name="renew the certificate",
                ),
            ]
            try:
                yield url
            finally:
                for task in reversed(running):
                    task.cancel()


def _for_servers(settings: ServerSettings) -> dict[str, Any] | None:
    """What a server that joins is told of the store: where it is, and nothing that stands in files of this host."""
    if settings.store.kind is StoreKind.SQLITE:
        return None
    etcd = settings.store.etcd
    return {"kind": "etcd", "etcd": {"endpoints": list(etcd.endpoints), "prefix": etcd.prefix}}


def _group_id(name: str) -> int | None:
    """Of the group that may use the socket; None where only this user may."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return 0 if os.geteuid() == 0 else None


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def settings_at(path: Path) -> ServerSettings:
    """Raises Invalid, also when the file is not there."""
    if not path.exists():
        raise Invalid(
            f"there is no {path}",
            hint="argosy server init makes a cluster, argosy server join enters one",
        )
    return settings_file.read(path, ServerSettings)
