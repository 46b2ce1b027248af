"""Put a backup into the empty store of this host's server, which must not run.

The cluster goes on in a new epoch, by which machines know that what comes now is newer than what they have. Units that run
go on running; what was changed after the backup is undone. A store of SQLite that is in the way is kept beside it under
another name; an etcd has to be empty below its prefix.

  systemctl stop argosy-server && argosy restore FILE && systemctl start argosy-server
"""

from __future__ import annotations

import argparse
import asyncio
import json

from argosy.cli import exits, places, transferring
from argosy.daemon.server import settings_at
from argosy.daemon.stores import open_store
from argosy.model.cluster import Cluster
from argosy.settings import ServerSettings
from argosy.store.backup import read_backup, restore_backup


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=places.path, metavar="FILE", help="of argosy backup")
    places.add_server_settings(parser)


def run(args: argparse.Namespace) -> int:
    settings = settings_at(args.settings)
    transferring.require_stopped(settings)
    read_backup(args.file)  # before anything is moved aside for it
    aside = transferring.set_aside(settings.store, settings.directory)
    try:
        cluster = asyncio.run(_restore(args, settings))
    except BaseException:
        transferring.put_back(aside)
        raise
    if args.json:
        print(json.dumps({"cluster": cluster.id, "epoch": cluster.epoch, "aside": aside.told}))
        return exits.DONE
    print(f"the cluster {cluster.id} is restored, in its epoch {cluster.epoch}")
    if aside.told:
        print(f"the store that was there is in {aside.told}")
    print(f"  -> {transferring.START}")
    return exits.DONE


async def _restore(args: argparse.Namespace, settings: ServerSettings) -> Cluster:
    store = await open_store(settings.store, settings.directory)
    try:
        return await restore_backup(args.file, store, progress=transferring.progress(args))
    finally:
        await store.close()
