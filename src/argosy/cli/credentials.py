"""Tokens that people give to a verb: where others could not see them."""

from __future__ import annotations

import argparse
import getpass
import os
import sys

from argosy.errors import Invalid


def add_token(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--token",
        metavar="TOKEN",
        help="the token, or - to read it from standard input; else $ARGOSY_TOKEN, else it is asked for. Others on this "
        "host can see what stands in a command line",
    )


def token(args: argparse.Namespace, *, kind: str) -> str:
    """The token given. kind: `machine`, `server` or `person`. Raises Invalid when there is none, or one of another kind."""
    text = args.token or os.environ.get("ARGOSY_TOKEN", "")
    if text == "-":
        text = sys.stdin.readline()
    elif not text and sys.stdin.isatty():
        text = getpass.getpass("Token: ")
    text = text.strip()
    needed = f"argosy token create {kind}, on a server or as an admin, makes one"
    if not text:
        raise Invalid("this needs a token", hint=needed)
    if not text.startswith(f"argosy_{kind[0]}_"):
        raise Invalid(f"this is no token for a {kind}", hint=needed)
    return text
