"""Print the version of this program and, when a server answers, the server's and its cluster."""

from __future__ import annotations

import argparse
import json

from argosy import __version__, errors
from argosy.cli import exits
from argosy.client import Client


def configure(parser: argparse.ArgumentParser) -> None:
    pass


def run(args: argparse.Namespace) -> int:
    client = Client.find(args.endpoint)
    try:
        server = client.version()
    except errors.ServerUnreachable as problem:
        if args.endpoint:
            raise
        server = None
        why = problem.message
    if args.json:
        print(json.dumps({"version": __version__, "server": server}))
        return exits.DONE
    print(f"argosy {__version__}")
    if server is None:
        print(f"server: none ({why})")
    else:
        print(f"server {server['version']} at {client.endpoint}, API v{server['api']}")
        print(
            f"cluster {server['cluster']}, epoch {server['epoch']}, revision {server['revision']}"
        )
    return exits.DONE
