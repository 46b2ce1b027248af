"""Asking before something that cannot be taken back, and refusing where nobody can be asked."""

from __future__ import annotations

import argparse
import sys

from argosy.errors import Invalid


def add_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")


def is_given(args: argparse.Namespace, *, would: str, question: str) -> bool:
    """Whether whoever typed this wants it; what it would do has been shown. `--yes` answers.

    would: for the error, `drain 1 machine`. Raises Invalid when there is nobody to ask.
    """
    if args.yes:
        return True
    require_somebody(args, would=would)
    try:
        answer = input(f"{question} [y/N] ")
    except EOFError:
        return False
    return answer.strip().lower() in ("y", "yes")


def require_somebody(args: argparse.Namespace, *, would: str) -> None:
    """Raises Invalid when nobody can be asked and `--yes` is not given."""
    if not args.yes and (args.json or not (sys.stdin.isatty() and sys.stdout.isatty())):
        raise Invalid(
            f"this would {would}, and there is nobody to ask",
            hint="add --yes when that is what you want",
        )
