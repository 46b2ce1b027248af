"""Even out how many units the machines have, with few moves. Shows them first, then asks.

A move restarts the unit, on another machine. Units that stand in a relation to others or to one machine are left alone.
"""

from __future__ import annotations

import argparse
import json

from argosy.cli import consent, exits, following, moving, naming
from argosy.client import Client, Move
from argosy.errors import Invalid

BUDGET = 10
MOST = 1000


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--budget",
        type=int,
        default=BUDGET,
        metavar="N",
        help=f"how many units may move at most (default {BUDGET})",
    )
    consent.add_option(parser)
    moving.add_options(parser)


def run(args: argparse.Namespace) -> int:
    if not 1 <= args.budget <= MOST:
        raise Invalid(f"--budget is from 1 to {MOST}")
    client = Client.find(args.endpoint)
    moves = client.plan_rebalance(budget=args.budget)
    if args.dry_run or not moves:
        _show(client, moves, args)
        return exits.DONE
    would = f"move {moving.count(moves)}"
    consent.require_somebody(args, would=would)
    if not args.json:
        _show(client, moves, args)
    if not consent.is_given(args, would=would, question=f"Move {moving.count(moves)}?"):
        print("Nothing was moved.")
        return exits.DONE
    client.ask_moves(
        (one["unit"], one["after"], one["reason"]) for one in moves if one["after"] is not None
    )
    if args.no_block:
        if args.json:
            print(json.dumps({"moves": moves}))
        else:
            print(f"asked for {moving.count(moves)} to move")
        return exits.DONE
    verdicts, in_time = moving.wait(client, moves, args)
    if args.json:
        print(json.dumps({"moves": moves, "units": following.as_json(verdicts)}))
    else:
        following.say_the_end(verdicts, in_time=in_time, timeout_seconds=args.timeout)
    return following.code(verdicts)


def _show(client: Client, moves: list[Move], args: argparse.Namespace) -> None:
    if args.json:
        print(json.dumps({"moves": moves}))
        return
    if not moves:
        print("No move would make it more even.")
        return
    machine_name = naming.MachineNames(client.machines())
    print(f"{moving.count(moves)} would move:")
    print("\n".join(moving.plan_lines(moves, (), machine_name, has_origin=True)))
