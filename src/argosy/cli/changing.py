"""stop, restart, unload: one change of what is wanted of units that the cluster has, then wait for it.

Units that the verb means nothing to (a stop of one that is on no machine) are left alone, and named.
"""

from __future__ import annotations

import argparse

from argosy.cli import following, naming, selection
from argosy.cli.judging import Goal
from argosy.client import Client, Desired, UnitView


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names",
        nargs="+",
        metavar="NAME",
        help="units of the cluster; a glob in quotes means those that it matches: 'web@*'",
    )
    following.add_options(parser)


def change(args: argparse.Namespace, goal: Goal, *, desired: Desired) -> int:
    """Lower what is wanted of the units to `desired`, and wait for the goal."""
    client = Client.find(args.endpoint)
    units = _named(client, args)
    # To want "loaded" of a unit that is on no machine would place it: the opposite of a stop.
    touched = [unit["name"] for unit in units if unit["desired"] != "inactive"]
    _say_left_alone(units, touched, args, "is on no machine: nothing to do")
    if touched:
        client.change(touched, desired=desired)
    return following.follow(client, following.wishes(goal, touched, ()), args)


def restart(args: argparse.Namespace) -> int:
    client = Client.find(args.endpoint)
    units = _named(client, args)
    names = [unit["name"] for unit in units]
    before = client.states(naming.unit_names(args.names))
    touched = client.change(names, restart=True)["units"] if names else []
    _say_left_alone(units, touched, args, "is not wanted launched: not restarted")
    wanted = following.wishes(Goal.RUNNING, touched, before, is_restart=True)
    return following.follow(client, wanted, args)


def _named(client: Client, args: argparse.Namespace) -> list[UnitView]:
    """Raises NotFound when a word means no unit: whoever mistypes one name of three wants none of them changed."""
    words = naming.unit_names(args.names)
    return selection.without_templates(selection.select(client, words), words)


def _say_left_alone(
    units: list[UnitView], touched: list[str], args: argparse.Namespace, why: str
) -> None:
    if not args.json:
        for unit in units:
            if unit["name"] not in touched:
                print(f"{unit['name']} {why}; to start it: argosy start {unit['name']}")
