"""Take units out of the cluster: they are stopped, and their texts are forgotten.

A glob in quotes means units of the cluster, never local files: argosy destroy 'web@*'. It shows what it matches and asks
first; --yes answers.
"""

from __future__ import annotations

import argparse

from argosy.cli import consent, exits, following, naming, selection
from argosy.cli.judging import Goal
from argosy.client import Client


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names", nargs="+", metavar="NAME", help="units of the cluster; globs in quotes"
    )
    consent.add_option(parser)
    following.add_options(parser)


def run(args: argparse.Namespace) -> int:
    client = Client.find(args.endpoint)
    words = naming.unit_names(args.names)
    if any(map(naming.is_glob, words)):
        # Exactly what is shown now is destroyed, whatever else comes to match meanwhile.
        words = [unit["name"] for unit in selection.select(client, words)]
        if not args.yes and not _is_agreed(words, args):
            print("Nothing was destroyed.")
            return exits.DONE
    touched = client.destroy(words)["units"]
    return following.follow(client, following.wishes(Goal.UNLOADED, touched, ()), args)


def _is_agreed(names: list[str], args: argparse.Namespace) -> bool:
    would = f"destroy {len(names)} units"
    consent.require_somebody(args, would=would)
    print("This destroys:")
    for name in names:
        print(f"  {name}")
    count = "this unit" if len(names) == 1 else f"these {len(names)} units"
    return consent.is_given(args, would=would, question=f"Destroy {count}?")
