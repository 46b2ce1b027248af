"""Move the cluster's records from SQLite to etcd, or back, and have this host's server use them there.

Machines and units go on meanwhile and notice nothing. The servers must be stopped for the moment that it takes, so that
nothing is written to the old store after it was read; then this server's settings are changed, and it is started again.

  systemctl stop argosy-server
  argosy store migrate --to etcd --etcd https://10.0.0.1:2379
  systemctl start argosy-server
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json

from argosy.cli import exits, places, transferring
from argosy.daemon import settings_file
from argosy.daemon.server import settings_at
from argosy.daemon.stores import open_store, sqlite_path
from argosy.errors import Conflict, Invalid
from argosy.pki import files
from argosy.settings import ServerSettings, StoreKind, StoreSettings
from argosy.store import keys
from argosy.store.base import Store, prefix_end
from argosy.store.transfer import Contents, copy

COMMENT = "The settings of this Argosy server; see docs/reference/settings.md."


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--to", choices=[str(kind) for kind in StoreKind], required=True, help="the new store"
    )
    parser.add_argument(
        "--path", type=places.path, metavar="FILE", help="of the new SQLite store, which is made"
    )
    places.add_etcd(parser)
    places.add_server_settings(parser)


def run(args: argparse.Namespace) -> int:
    settings = settings_at(args.settings)
    target = _target(args, settings)
    transferring.require_stopped(settings)
    contents = asyncio.run(_copy(args, settings, target))
    before = args.settings.with_name(f"{args.settings.name}.before-migration")
    files.write_public(before, files.read_public(args.settings))
    settings_file.write(args.settings, dataclasses.replace(settings, store=target), comment=COMMENT)
    # A server that is started with old settings must not find the old records.
    aside = transferring.set_aside(settings.store, settings.directory)
    if args.json:
        said = {"records": len(contents.records), "epoch": contents.cluster.epoch}
        print(json.dumps({**said, "settings": str(args.settings), "aside": aside.told}))
        return exits.DONE
    print(f"{len(contents.records)} records moved; {args.settings} names the new store")
    print(f"the settings as they were are in {before}")
    print(f"  -> {transferring.START}")
    return exits.DONE


def _target(args: argparse.Namespace, settings: ServerSettings) -> StoreSettings:
    kind = StoreKind(args.to)
    if kind is settings.store.kind:
        raise Invalid(f"the records are in {kind} already", hint=f"see {args.settings}")
    if kind is StoreKind.ETCD:
        found = places.store_of(args)
        if not found.etcd.endpoints:
            raise Invalid("where etcd is is not said", hint="add --etcd https://HOST:2379")
        if args.path:
            raise Invalid("--path is for --to sqlite")
        return found
    if places.store_of(args) != StoreSettings():
        raise Invalid("options for etcd are for --to etcd; the old store is in the settings")
    target = StoreSettings(path=args.path)
    path = sqlite_path(target, settings.directory)
    if path.exists():
        raise Conflict(f"{path} is there already", hint="name a new file: --path FILE")
    return target


async def _copy(
    args: argparse.Namespace, settings: ServerSettings, target: StoreSettings
) -> Contents:
    source = await open_store(settings.store, settings.directory)
    try:
        if settings.store.kind is StoreKind.ETCD:
            await _require_no_servers(source)
        into = await open_store(target, settings.directory)
        try:
            return await copy(source, into, raise_epoch=True, progress=transferring.progress(args))
        finally:
            await into.close()
    finally:
        await source.close()


async def _require_no_servers(store: Store) -> None:
    """Raises Conflict while other servers share the store. One that died is there for some seconds longer."""
    found = await store.range(keys.SERVERS, prefix_end(keys.SERVERS))
    names = [keys.last_part(kv.key) for kv in found.kvs]
    if names:
        raise Conflict(
            f"servers use the store: {', '.join(names)}",
            hint="systemctl stop argosy-server on each, then this command again",
        )
