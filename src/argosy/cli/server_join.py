"""Make this host another server of a cluster whose records are in etcd.

URL is any of its servers; the token is made by argosy token create server. This server gets the key of the cluster's
authority, so it has to be as safe as the others are. Where etcd is the other server says; what stands in files of its own
(certificates, a password) is given here.
"""

from __future__ import annotations

import argparse
import dataclasses

from argosy.cli import credentials, exits, installing, patience, places, server_init
from argosy.client import Client, Endpoint
from argosy.daemon import founding
from argosy.errors import AlreadyExists
from argosy.settings import StoreSettings


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", help="a server of the cluster: https://HOST:7440")
    credentials.add_token(parser)
    server_init.add_identity(parser)
    places.add_etcd(parser)
    places.add_server_settings(parser)
    parser.add_argument(
        "--install", action="store_true", help="make a systemd service of it, and start that"
    )


def run(args: argparse.Namespace) -> int:
    if args.install:
        installing.require()
    endpoint = Endpoint.parse(args.url)
    if args.settings.exists():
        raise AlreadyExists(
            f"{args.settings} is there already", hint="argosy server runs this server"
        )
    client = Client(endpoint, token=credentials.token(args, kind="server"))
    store = StoreSettings(etcd=places.etcd_of(args))
    settings = dataclasses.replace(server_init.identity_of(args), store=store)
    with patience.told(args, "joining the cluster"):
        settings = founding.enter(settings, client)
    server_init.keep(settings, args.settings)
    cluster = client.version()["cluster"]
    server_init.say(args, settings, f"joined the cluster {cluster}", cluster)
    return exits.DONE
