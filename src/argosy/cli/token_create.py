"""Make a token: for a machine or a server to join with, or for a person to use the cluster from elsewhere.

The token is printed once, to standard output, and can be shown by nobody afterwards. One for machines or servers is good
for an hour unless --expires says otherwise, one for a server lets in one; a person's is good until it is revoked.

  argosy token create machine --uses 3
  argosy token create person --role deployer --name ci
"""

from __future__ import annotations

import argparse
import json
import sys

from argosy.cli import exits, following, places, server_init
from argosy.client import Client, TokenView
from argosy.daemon.server import settings_at
from argosy.errors import ArgosyError, Invalid

KINDS = ("machine", "server", "person")
ROLES = ("viewer", "deployer", "admin")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=KINDS, help="whom it lets in")
    parser.add_argument("--role", choices=ROLES, help="of a person; needed there")
    parser.add_argument("--name", default="", help="whom or what it is for; events name it")
    parser.add_argument(
        "--uses", type=int, metavar="N", help="how many may join with it (a server's: 1)"
    )
    parser.add_argument(
        "--expires", metavar="TIME", help="how long it is good: 90s, 1h, 30d, or never"
    )


def run(args: argparse.Namespace) -> int:
    if args.kind == "person" and not args.role:
        raise Invalid("a person's token needs a role", hint="add --role viewer, deployer or admin")
    never = args.expires == "never"
    seconds = None if never or args.expires is None else int(_seconds(args.expires))
    client = Client.find(args.endpoint)
    made = client.create_token(
        args.kind,
        role=args.role,
        name=args.name,
        uses=args.uses,
        expires_in_seconds=seconds,
        never_expires=never,
    )
    if args.json:
        print(json.dumps(made))
        return exits.DONE
    print(made["text"])
    sys.stdout.flush()
    url = str(client.endpoint) if client.endpoint.is_tls else _own_url()
    verb = {"machine": "join", "server": "server join", "person": "login"}[args.kind]
    print(f"{_limits(made['token'])}\n  -> argosy {verb} {url} --token ...", file=sys.stderr)
    return exits.DONE


def _seconds(text: str) -> float:
    try:
        return following.duration(text)
    except argparse.ArgumentTypeError as problem:
        raise Invalid(f"--expires: {problem}", hint="for example --expires 1h") from None


def _limits(token: TokenView) -> str:
    uses = token["uses_left"]
    often = "any number of times" if uses is None else "once" if uses == 1 else f"{uses} times"
    until = f"until {token['expires_at']}" if token["expires_at"] else "until it is revoked"
    return f"token {token['id']} is good {often}, {until}"


def _own_url() -> str:
    """Of the server of this host, where people here can read its settings."""
    try:
        return server_init.url_of(settings_at(places.SERVER_SETTINGS))
    except (ArgosyError, OSError):
        return "https://SERVER:7440"
