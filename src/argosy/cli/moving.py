"""drain, rebalance: plans of moves as people see them, and waiting until the units are where they were to go."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence

from argosy.cli import following, naming, terminal
from argosy.cli.judging import Goal, Verdict, Wish
from argosy.client import Client, Move, Staying

TIMEOUT_SECONDS = 600.0
"""Units may take their time to stop, and they move a few at a time."""


def add_options(parser: argparse.ArgumentParser) -> None:
    following.add_options(parser, timeout_seconds=TIMEOUT_SECONDS)
    parser.add_argument("--dry-run", action="store_true", help="show the plan, change nothing")


def plan_lines(
    moves: Sequence[Move],
    staying: Sequence[Staying],
    machine_name: naming.MachineNames,
    *,
    has_origin: bool,
) -> Iterator[str]:
    """A line for each unit. has_origin: also say which machine it leaves."""
    width = max((len(one["unit"]) for one in [*moves, *staying]), default=0)
    for move in moves:
        where = f"-> {machine_name(move['after'])}" if move["after"] else "stops here: it is global"
        if has_origin:
            where = f"{machine_name(move['before'])} {where}"
        yield f"  {move['unit'].ljust(width)}  {where}"
    for one in staying:
        reason = terminal.printable(one["reason"])
        yield f"  {one['unit'].ljust(width)}  stays: {reason}"


def count(moves: Sequence[Move]) -> str:
    return "1 unit" if len(moves) == 1 else f"{len(moves)} units"


def wait(
    client: Client, moves: Sequence[Move], args: argparse.Namespace
) -> tuple[Mapping[str, Verdict], bool]:
    """Wait until each unit has left its machine and is on another as it is wanted; as `following.wait` returns it."""
    wanted = {one["unit"]: Wish(Goal.AWAY, away_from=one["before"]) for one in moves}
    return following.wait(client, wanted, args)
