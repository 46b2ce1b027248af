"""How a cluster begins and grows: the first server makes it, others enter it, machines join it.

Each of these leaves files from which a daemon starts, or nothing that counts: what is written last is what a daemon needs
first. Who gets in proves it with a token, and believes only the server that the token vouches for (`client.Client.ca`).
"""

from __future__ import annotations

import dataclasses
import platform

import msgspec

from argosy.api.cluster import open_cluster
from argosy.client import Client
from argosy.daemon import host, settings_file
from argosy.daemon.agent import AgentFiles
from argosy.daemon.server import ServerFiles, addresses_of, name_of, now
from argosy.daemon.stores import open_store
from argosy.errors import AlreadyExists, Conflict, Invalid
from argosy.model.cluster import Cluster
from argosy.model.ids import MachineId
from argosy.pki import certificates, files
from argosy.pki.authority import Authority
from argosy.settings import MachineSettings, ServerSettings, StoreSettings
from argosy.store import keys


async def found(settings: ServerSettings) -> Cluster:
    """Make a cluster: its record in an empty store, and its authority in the server's directory.

    Raises AlreadyExists when this server is part of a cluster, Conflict when the store has one whose authority is
    elsewhere, Invalid, and what stores raise.
    """
    place = _empty_place(settings)
    store = await open_store(settings.store, settings.directory)
    try:
        if (await store.range(keys.CLUSTER)).kvs:
            raise Conflict(
                "the store has a cluster already, whose authority is on another server",
                hint="argosy token create server there, then argosy server join here",
            )
        cluster = await open_cluster(store, clock=now)
    finally:
        await store.close()
    authority = Authority.make(cluster.id, now=now())
    # Refused now rather than by the daemon: an address that is none.
    key = certificates.make_key()
    authority.sign_server(
        certificates.make_request(key),
        name=name_of(settings),
        addresses=addresses_of(settings),
        now=now(),
    )
    place.keep_authority(authority)
    return cluster


def enter(settings: ServerSettings, client: Client) -> ServerSettings:
    """Get the key of the cluster's authority, by the client's server token. Returns the settings, with where the store is.

    Raises AlreadyExists when this server is part of a cluster, Unauthenticated, Conflict when a live server has the name.
    """
    place = _empty_place(settings)
    joined = client.join_server(name=name_of(settings), addresses=addresses_of(settings))
    authority = Authority(joined["ca"].encode(), joined["ca_key"].encode())
    if certificates.digest(authority.certificate) != certificates.digest(client.ca.encode()):
        raise Invalid("the server handed out another authority than the one that the token is for")
    told = settings_file.parsed(joined["store"], StoreSettings, "the other server's [store]")
    own = settings.store.etcd
    etcd = dataclasses.replace(
        own, endpoints=own.endpoints or told.etcd.endpoints, prefix=told.etcd.prefix
    )
    place.keep_authority(authority)
    return dataclasses.replace(settings, store=dataclasses.replace(told, etcd=etcd))


def join(settings: MachineSettings, client: Client, *, again: bool) -> str:
    """Make this host a machine of the cluster, by the client's machine token. Returns the cluster's id.

    again: also when it is one already. Raises AlreadyExists else, Unauthenticated, Conflict when a live machine has its id.
    """
    host.make_private(settings.directory)
    place = AgentFiles(settings.directory)
    if place.certificate.exists() and not again:
        raise AlreadyExists(
            "this machine is part of a cluster already",
            hint="argosy agent runs it; to join anew, add --again",
        )
    machine = host.machine_id(settings)
    key = certificates.make_key()
    joined = client.join(
        machine=machine,
        hostname=platform.node(),
        csr=certificates.make_request(key).decode(),
    )
    certificate, ca = joined["certificate"].encode(), joined["ca"].encode()
    named = certificates.machine_of(certificate)
    if named is None or (named.machine, named.cluster) != (machine, joined["cluster"]):
        raise Invalid("the server gave a certificate of another machine")
    if certificates.digest(ca) != certificates.digest(client.ca.encode()):
        raise Invalid("the server handed out another authority than the one that the token is for")
    _set_aside(place, machine, joined["cluster"])
    files.write_private(place.servers, msgspec.json.encode(joined["servers"]))
    files.write_public(place.ca, ca)
    files.write_private(place.certificate, certificate + key)
    return joined["cluster"]


def _set_aside(place: AgentFiles, machine: MachineId, cluster: str) -> None:
    """What the machine was to run by the word of another cluster, or as a copy of another machine, counts no more."""
    if not place.certificate.exists():
        return
    before = certificates.machine_of(files.read_private(place.certificate))
    is_same = before is not None and (before.machine, before.cluster) == (machine, cluster)
    if not is_same and place.state.exists():
        place.state.rename(place.directory / f"state.{now():%Y%m%dT%H%M%S}")


def _empty_place(settings: ServerSettings) -> ServerFiles:
    host.make_private(settings.directory)
    place = ServerFiles(settings.directory)
    if place.ca_key.exists():
        raise AlreadyExists(
            f"this server is part of a cluster already: {place.ca_key} is there",
            hint="argosy server runs it",
        )
    return place
