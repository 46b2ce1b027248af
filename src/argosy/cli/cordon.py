"""Give machines no more units; those that they have stay. `argosy uncordon` ends it.

argosy cordon db1 --for 1h --reason "disk looks bad"
"""

from __future__ import annotations

import argparse

from argosy.cli import ordering


def configure(parser: argparse.ArgumentParser) -> None:
    ordering.add_machines(parser)
    ordering.add_reasons(parser)


def run(args: argparse.Namespace) -> int:
    return ordering.order(args, "cordoned")
