"""Stop units and take them off their machines. The cluster keeps them.

A glob in quotes means units of the cluster, never local files: argosy unload 'web@*'.
"""

from __future__ import annotations

import argparse

from argosy.cli import changing
from argosy.cli.judging import Goal


def configure(parser: argparse.ArgumentParser) -> None:
    changing.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    return changing.change(args, Goal.UNLOADED, desired="inactive")
