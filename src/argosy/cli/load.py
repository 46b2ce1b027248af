"""Place units on machines, with their files, without starting them.

UNIT is a unit file, a directory of them with a slash (web/), or a unit of the cluster. A local file comes before the
cluster's unit of the same name. Units that run are left alone.
"""

from __future__ import annotations

import argparse

from argosy.cli import following, sources, submitting
from argosy.cli.judging import Goal
from argosy.client import Client


def configure(parser: argparse.ArgumentParser) -> None:
    submitting.add_arguments(parser)
    following.add_options(parser)


def run(args: argparse.Namespace) -> int:
    client = Client.find(args.endpoint)
    meant = sources.find(args.names, client)
    named = submitting.named(client, meant)
    here = client.units(meant.runnable) if meant.runnable else []
    launched = {unit["name"] for unit in [*named, *here] if unit["desired"] == "launched"}
    submitted = submitting.submit(client, meant, args, desired=None, verb="load")
    wanted = {*meant.runnable, *(unit["name"] for unit in named)} - launched
    if wanted:
        client.change(sorted(wanted), desired="loaded")
    if not args.json:
        for name in sorted(launched):
            print(f"{name} is launched, and so loaded: left alone")
    wishes = following.wishes(Goal.LOADED, sorted(wanted), (), changes=submitted["changes"])
    return following.follow(client, wishes, args, changes=submitted["changes"])
