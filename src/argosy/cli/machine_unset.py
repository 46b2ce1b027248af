"""Take keys out of a machine's metadata, also those that its agent says. With --forget they are again as the agent says.

argosy machine unset db1 disk
"""

from __future__ import annotations

import argparse

from argosy.cli import labelling


def configure(parser: argparse.ArgumentParser) -> None:
    labelling.add_machine(parser)
    parser.add_argument("keys", nargs="+", metavar="KEY", help="what to take away")
    parser.add_argument(
        "--forget",
        action="store_true",
        help="forget what was set and unset: these keys are again as the machine's agent says",
    )


def run(args: argparse.Namespace) -> int:
    if args.forget:
        return labelling.label(args, forget=args.keys)
    return labelling.label(args, without=args.keys)
