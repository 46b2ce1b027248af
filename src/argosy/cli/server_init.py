"""Make a cluster, with this host as its first server.

The cluster's certificate authority is made here, in the server's directory: ca.key there is what everybody's identity
rests on, so keep a copy of it in a safe place. Machines and people reach the server at --address; its certificate names
them all.

With --etcd the records are in etcd, and more servers can join (argosy server join); without, they are in a file of this
server, and it stays the only one until argosy store migrate.

  argosy server init --address 10.0.0.1 --install
  argosy token create machine
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
from pathlib import Path

from argosy.cli import exits, installing, patience, places
from argosy.daemon import founding, settings_file
from argosy.daemon.server import addresses_of, name_of, settings_at
from argosy.errors import Invalid
from argosy.settings import ServerSettings

COMMENT = """The settings of this Argosy server; see docs/reference/settings.md.
Whatever is not here is as by default. Restart the server after a change: systemctl restart argosy-server"""


def configure(parser: argparse.ArgumentParser) -> None:
    add_identity(parser)
    places.add_etcd(parser)
    places.add_server_settings(parser)
    parser.add_argument(
        "--install", action="store_true", help="make a systemd service of it, and start that"
    )


def add_identity(parser: argparse.ArgumentParser) -> None:
    """Options that a server that is made and one that joins have in common."""
    parser.add_argument(
        "--name", default="", help="what the cluster calls this server (default the host's name)"
    )
    parser.add_argument(
        "--address",
        action="append",
        default=[],
        metavar="HOST",
        help="a name or address at which others reach this server; the first is told to machines (default the host's own)",
    )
    parser.add_argument(
        "--listen",
        default="",
        metavar="ADDRESS:PORT",
        help=f"where to listen (default {ServerSettings().listen})",
    )
    parser.add_argument(
        "--directory",
        type=places.path,
        metavar="DIR",
        help=f"where the server keeps its things (default {ServerSettings().directory})",
    )
    parser.add_argument(
        "--socket",
        type=places.path,
        metavar="PATH",
        help=f"the socket for people on this host (default {ServerSettings().socket})",
    )


def identity_of(args: argparse.Namespace) -> ServerSettings:
    """What the options of `add_identity` say."""
    default = ServerSettings()
    return ServerSettings(
        name=args.name,
        listen=args.listen or default.listen,
        addresses=tuple(args.address),
        directory=args.directory or default.directory,
        socket=args.socket or default.socket,
    )


def _settings_of(args: argparse.Namespace) -> ServerSettings:
    """What the options say. Where there is a settings file already, that counts, and options are refused."""
    said = dataclasses.replace(identity_of(args), store=places.store_of(args))
    if not args.settings.exists():
        return said
    if said != ServerSettings():
        raise Invalid(
            f"{args.settings} is there already: it says how this server is, not options",
            hint=f"edit {args.settings}, then this command without options",
        )
    return settings_at(args.settings)


def keep(settings: ServerSettings, path: Path) -> None:
    if not path.exists():
        settings_file.write(path, settings, comment=COMMENT)


def run(args: argparse.Namespace) -> int:
    if args.install:
        installing.require()
    settings = _settings_of(args)
    with patience.told(args, "making the cluster"):
        cluster = asyncio.run(founding.found(settings))
    keep(settings, args.settings)
    say(args, settings, f"made the cluster {cluster.id}", cluster.id)
    return exits.DONE


def say(args: argparse.Namespace, settings: ServerSettings, what: str, cluster: str) -> None:
    """Install the service if it was asked for, and say what is there now and what comes next."""
    if args.install:
        with patience.told(args, "starting argosy-server.service"):
            installing.make_group()
            installing.install("argosy-server")
    url = url_of(settings)
    if args.json:
        said = {"cluster": cluster, "server": name_of(settings), "url": url}
        print(json.dumps({**said, "settings": str(args.settings), "running": args.install}))
        return
    print(f"{what}; this server is {name_of(settings)}, at {url}")
    start = "" if args.settings == places.SERVER_SETTINGS else f" --settings {args.settings}"
    following = "argosy token create machine" if args.install else f"argosy server{start}"
    print(f"  -> {following}")


def url_of(settings: ServerSettings) -> str:
    host = addresses_of(settings)[0]
    port = settings.listen.rpartition(":")[2]
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
