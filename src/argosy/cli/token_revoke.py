"""Make a token worth nothing, at once: whoever uses it is cut off. Machines that joined with it stay."""

from __future__ import annotations

import argparse
import json

from argosy.cli import exits
from argosy.client import Client


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="as argosy token list shows it")


def run(args: argparse.Namespace) -> int:
    # The id is the third part of the whole token, which people may have at hand instead.
    parts = args.id.split("_")
    token = Client.find(args.endpoint).revoke_token(parts[2] if len(parts) == 5 else args.id)
    if args.json:
        print(json.dumps(token))
    else:
        print(f"token {token['id']} is revoked")
    return exits.DONE
