"""start, load, submit: give the cluster the texts that the words mean, and say what that changes.

Nothing that exists gets another text unless --replace says so; without it the difference is shown and nothing changes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from argosy.cli import selection, sources, terminal
from argosy.cli.sources import Meant
from argosy.cli.terminal import Style
from argosy.client import Change, Client, Desired, Submission, Submitted, UnitView
from argosy.errors import AlreadyExists, NotFound

DIFF_LINES = 60
SIGNS = {"created": ("+", "green"), "changed": ("~", "yellow"), "destroyed": ("-", "red")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names",
        nargs="+",
        metavar="UNIT",
        help="unit files, a directory of them (with a slash), or units of the cluster",
    )
    parser.add_argument(
        "--replace",
        action="store_true",
        help="give units that exist the text of the local files",
    )


def submit(
    client: Client, meant: Meant, args: argparse.Namespace, *, desired: Desired | None, verb: str
) -> Submitted:
    """Submit the texts: all of them or none. Prints what changes.

    desired: of all but templates; None keeps what is wanted of each.
    Raises AlreadyExists, after having shown the difference, when a unit has another text and --replace is not given.
    """
    submissions = _submissions(client, meant, desired)
    if not submissions:
        return {"revision": 0, "changes": [], "warnings": []}
    style = terminal.style(args)
    if not args.replace:
        _refuse_differing(client, submissions, meant, args, style, verb)
    submitted = client.submit(submissions, app=meant.app, replace=args.replace)
    for warning in submitted["warnings"]:
        print(terminal.printable(warning), file=sys.stderr)
    if not args.json:
        print("".join(line + "\n" for line in changes(submitted["changes"], style)), end="")
    return submitted


def _submissions(client: Client, meant: Meant, desired: Desired | None) -> list[Submission]:
    there = {unit["name"] for unit in client.units(list(meant.texts))}
    runnable = set(meant.runnable)
    found = []
    for name, text in sorted(meant.texts.items()):
        # A single file says nothing about variables: those that the unit has stay. A directory does.
        keeps = name in there and meant.app is None
        variables = client.unit(name)["variables"] if keeps else text.variables
        wanted = desired if name in runnable else None
        found.append(Submission(name, text.data, wanted, variables))
    return found


def _refuse_differing(
    client: Client,
    submissions: Sequence[Submission],
    meant: Meant,
    args: argparse.Namespace,
    style: Style,
    verb: str,
) -> None:
    would = client.submit(submissions, app=meant.app, replace=True, dry_run=True)
    differing = [change for change in would["changes"] if change["change"] == "changed"]
    if not differing:
        return
    if not args.json:
        for change in differing:
            print("\n".join(diff_lines(change, style)), file=sys.stderr)
    first = differing[0]["name"]
    more = f" and {len(differing) - 1} more" if len(differing) > 1 else ""
    verb_of = "differ" if more else "differs"
    raise AlreadyExists(
        f"{first}{more} {verb_of} from what the cluster has; nothing was changed",
        hint=f"argosy {verb} --replace {' '.join(args.names)}",
    )


def changes(found: Sequence[Change], style: Style) -> list[str]:
    """One line for each unit whose record changed, with how much of its text did."""
    lines = []
    for change in found:
        if change["change"] in SIGNS:
            sign, colour = SIGNS[change["change"]]
            size = f"  {_size(change['diff'])}" if change["diff"] else ""
            lines.append(f"{style.paint(sign, colour)} {change['name']}{size}")
    return lines


def diff_lines(change: Change, style: Style) -> list[str]:
    """A unified diff in colour, cut when it is long."""
    lines = (change["diff"] or "").splitlines()
    shown = [
        style.paint(terminal.printable(line), _COLOURS.get(line[:1], ""))
        for line in lines[:DIFF_LINES]
    ]
    if len(lines) > DIFF_LINES:
        shown.append(f"... and {len(lines) - DIFF_LINES} more lines")
    return shown


_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def _size(diff: str) -> str:
    body = [line for line in diff.splitlines() if not line.startswith(("+++", "---"))]
    added = sum(line.startswith("+") for line in body)
    removed = sum(line.startswith("-") for line in body)
    return f"+{added} -{removed} lines"


def named(client: Client, meant: Meant) -> list[UnitView]:
    """The cluster's units that the words name. Raises NotFound when a word means nothing, neither here nor there."""
    if not meant.named:
        return []
    try:
        found = selection.select(client, meant.named)
    except NotFound as problem:
        directories = [word.removesuffix(".service") for word in meant.named]
        if there := [word for word in directories if sources.is_directory(f"./{word}")]:
            problem.hint = f"for the directory, add a slash: {there[0]}/"
        raise
    return selection.without_templates(found, meant.named)
