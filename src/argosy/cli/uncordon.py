"""Let machines have units again, whether they were cordoned or drained. What moved away comes back only by
rebalancing, which happens by itself, gently, or at once with `argosy rebalance`.
"""

from __future__ import annotations

import argparse

from argosy.cli import ordering


def configure(parser: argparse.ArgumentParser) -> None:
    ordering.add_machines(parser)


def run(args: argparse.Namespace) -> int:
    return ordering.order(args, "open")
