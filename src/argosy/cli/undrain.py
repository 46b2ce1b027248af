"""Let machines have units again; the same as `argosy uncordon`."""

from __future__ import annotations

import argparse

from argosy.cli import ordering


def configure(parser: argparse.ArgumentParser) -> None:
    ordering.add_machines(parser)


def run(args: argparse.Namespace) -> int:
    return ordering.order(args, "open")
