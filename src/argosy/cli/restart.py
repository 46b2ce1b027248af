"""Stop and start units where they are. Units that are not wanted launched are left alone.

A glob in quotes means units of the cluster, never local files: argosy restart 'web@*'.
"""

from __future__ import annotations

import argparse

from argosy.cli import changing


def configure(parser: argparse.ArgumentParser) -> None:
    changing.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    return changing.restart(args)
