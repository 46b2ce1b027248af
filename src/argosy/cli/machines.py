"""List the cluster's machines with how they are: ready, suspect, held, lost, cordoned, draining or drained, and why.

`argosy list-machines` is the same table with fleet's columns.
"""

from __future__ import annotations

import argparse

from argosy.cli import list_machines

FIELDS = ("machine", "hostname", "ip", "state", "since", "units", "why")


def configure(parser: argparse.ArgumentParser) -> None:
    list_machines.add_options(parser, default=FIELDS)


def run(args: argparse.Namespace) -> int:
    return list_machines.show(args, default=FIELDS)
