"""Print the words that can stand at a place: what the completion scripts ask while somebody presses Tab.

Prints nothing, and no error, when no server answers: a Tab is no place for messages.
"""

from __future__ import annotations

import argparse
from contextlib import suppress

from argosy import errors
from argosy.cli import exits
from argosy.client import Client


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=["units", "machines"])
    parser.add_argument("prefix", nargs="?", default="")


def run(args: argparse.Namespace) -> int:
    client = Client.find(args.endpoint)
    with suppress(errors.ArgosyError):
        if args.what == "units":
            words = [unit["name"] for unit in client.units()]
        else:
            words = [machine["id"] for machine in client.machines()]
        print("\n".join(word for word in words if word.startswith(args.prefix)))
    return exits.DONE
