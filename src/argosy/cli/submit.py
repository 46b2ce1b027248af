"""Put unit files into the cluster without starting them.

UNIT is a unit file, or a directory of them with a slash: web/. What is wanted of units that exist already stays.
"""

from __future__ import annotations

import argparse
import json

from argosy.cli import exits, sources, submitting
from argosy.client import Client


def configure(parser: argparse.ArgumentParser) -> None:
    submitting.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    client = Client.find(args.endpoint)
    meant = sources.find(args.names, client)
    there = submitting.named(client, meant)
    submitted = submitting.submit(client, meant, args, desired=None, verb="submit")
    if args.json:
        print(json.dumps(submitted))
        return exits.DONE
    unchanged = [one["name"] for one in submitted["changes"] if one["change"] == "unchanged"]
    for name in sorted([*unchanged, *(unit["name"] for unit in there)]):
        print(f"{name} is there already")
    return exits.DONE
