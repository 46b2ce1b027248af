"""Forget where you are logged in. The token stays good; argosy token revoke ends it."""

from __future__ import annotations

import argparse
import json

from argosy.cli import exits
from argosy.endpoint import login_path


def configure(parser: argparse.ArgumentParser) -> None:
    pass


def run(args: argparse.Namespace) -> int:
    path = login_path()
    was_there = path.exists()
    path.unlink(missing_ok=True)
    if args.json:
        print(json.dumps({"logged_out": was_there}))
    else:
        print("logged out" if was_there else "nobody was logged in")
    return exits.DONE
