"""stop, restart, unload: one change of what is wanted of units that the cluster has, then wait for it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from argosy.cli import following, naming
from argosy.cli.judging import Goal
from argosy.client import Client, Desired


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names",
        nargs="+",
        metavar="NAME",
        help="units of the cluster; a glob in quotes means those that it matches: 'web@*'",
    )
    following.add_options(parser)


def change(args: argparse.Namespace, goal: Goal, *, desired: Desired) -> int:
    client = Client.find(args.endpoint)
    touched = client.change(naming.unit_names(args.names), desired=desired)["units"]
    return following.follow(client, following.wishes(goal, touched, ()), args)


def restart(args: argparse.Namespace) -> int:
    client = Client.find(args.endpoint)
    names = naming.unit_names(args.names)
    before = client.states(names)
    touched = client.change(names, restart=True)["units"]
    passed_over(client, names, touched, args)
    wanted = following.wishes(Goal.RUNNING, touched, before, is_restart=True)
    return following.follow(client, wanted, args)


def passed_over(
    client: Client, names: Sequence[str], touched: Sequence[str], args: argparse.Namespace
) -> None:
    """Say which of the units were left alone because nobody wants them to run."""
    if args.json:
        return
    for unit in client.units(names):
        if unit["name"] not in touched:
            print(
                f"{unit['name']} is wanted {unit['desired']}, not launched: not restarted; "
                f"start it: argosy start {unit['name']}"
            )
