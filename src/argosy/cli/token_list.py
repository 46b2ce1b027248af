"""List the cluster's tokens, without their secrets: also those that have expired or are used up."""

from __future__ import annotations

import argparse
import json

from argosy.cli import exits, moments, terminal
from argosy.cli.table import Column, Table
from argosy.client import Client, TokenView


def _table() -> Table[TokenView]:
    now = moments.now()
    return Table(
        {
            "id": Column(lambda row: row["id"]),
            "kind": Column(lambda row: row["kind"]),
            "role": Column(lambda row: row["role"] or ""),
            "name": Column(lambda row: row["name"]),
            "uses": Column(
                lambda row: "any" if row["uses_left"] is None else str(row["uses_left"])
            ),
            "expires": Column(lambda row: (row["expires_at"] or "never")[:19]),
            "created": Column(lambda row: moments.ago(row["created_at"], now)),
            "by": Column(lambda row: row["by"]),
        },
        default=("id", "kind", "role", "name", "uses", "expires", "created"),
    )


def configure(parser: argparse.ArgumentParser) -> None:
    _table().add_options(parser)


def run(args: argparse.Namespace) -> int:
    rows = Client.find(args.endpoint).tokens()
    if args.json:
        print(json.dumps(rows))
        return exits.DONE
    _table().print(
        rows,
        args,
        terminal.style(args),
        when_empty="there are no tokens  -> argosy token create machine",
    )
    return exits.DONE
