"""Set metadata of a machine, whatever its agent says of itself. Units whose MachineMetadata= no longer holds move.

argosy machine set db1 disk=ssd zone=b
"""

from __future__ import annotations

import argparse

from argosy.cli import labelling
from argosy.errors import Invalid


def configure(parser: argparse.ArgumentParser) -> None:
    labelling.add_machine(parser)
    parser.add_argument("pairs", nargs="+", metavar="KEY=VALUE", help="what to set")


def run(args: argparse.Namespace) -> int:
    return labelling.label(args, metadata=_metadata(args.pairs))


def _metadata(words: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not key or not equals:
            raise Invalid(
                f"{word!r} is no KEY=VALUE", hint="argosy machine set MACHINE disk=ssd zone=b"
            )
        if found.setdefault(key, value) != value:
            raise Invalid(f"{key!r} is set twice", hint="leave one of the two out")
    return found
