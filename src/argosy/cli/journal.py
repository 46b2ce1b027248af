"""Print a machine's own journal, through the servers: of the whole machine, or of one unit of it.

  argosy journal db1 --since 10min --priority err
  argosy journal web.service -f

A unit of the cluster means its machine's journal about it, which systemd keeps; what units print is also in `argosy logs`.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime, timedelta

from argosy.cli import exits, following, moments, targets, terminal
from argosy.cli.terminal import Style
from argosy.client import Client, JournalLine
from argosy.errors import Invalid

LINES = 100
PRIORITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
_COLOURS = {"emerg": "red", "alert": "red", "crit": "red", "err": "red", "warning": "yellow"}


def configure(parser: argparse.ArgumentParser) -> None:
    targets.add(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
    parser.add_argument(
        "-n", "--lines", type=int, default=LINES, metavar="N", help="the last N (default 100)"
    )
    parser.add_argument(
        "-u",
        "--unit",
        default="",
        metavar="UNIT",
        help="with a machine: only of this systemd unit, also one that is not the cluster's",
    )
    parser.add_argument(
        "--since",
        metavar="TIME",
        help="nothing older: 10min, 2h, or an instant, 2026-03-14T15:09 (local time)",
    )
    parser.add_argument(
        "-p",
        "--priority",
        default="",
        metavar="PRIORITY",
        help=f"this severity and worse: {', '.join(PRIORITIES)}",
    )


def run(args: argparse.Namespace) -> int:
    if args.priority and args.priority not in (*PRIORITIES, *"01234567"):
        raise Invalid(
            f"there is no priority {args.priority!r}", hint="one of " + ", ".join(PRIORITIES)
        )
    since = _since(args.since, moments.now()) if args.since else None
    client = Client.find(args.endpoint)
    target = targets.find(client, args)
    if target.unit and args.unit:
        raise Invalid("--unit goes with a machine", hint=f"argosy journal {target.unit}")
    style = terminal.style(args)
    count = 0
    with client.journal(
        target.machine,
        unit=target.unit or args.unit,
        lines=args.lines,
        follow=args.follow,
        since=since,
        priority=args.priority,
    ) as lines:
        for line in lines:
            count += 1
            print(json.dumps(line) if args.json else _text(line, style), flush=args.follow)
    if target.unit and not count and not args.json and sys.stderr.isatty():
        print(f"the journal has nothing about it  -> argosy logs {target.unit}", file=sys.stderr)
    return exits.DONE


def _text(line: JournalLine, style: Style) -> str:
    text = line["text"]
    if terminal.is_terminal(sys.stdout):
        text = "\n".join(
            terminal.output_line(one, has_colour=style.has_colour) for one in text.split("\n")
        )
    text = style.paint(text, _COLOURS.get(line.get("priority", ""), ""))
    return f"{style.dim(moments.local(line['at']))} {text}"


def _since(text: str, now: datetime) -> str:
    """An ISO instant, of a length of time before now or of an instant."""
    try:
        return (now - timedelta(seconds=following.duration(text))).isoformat()
    except Invalid:
        pass
    try:
        return datetime.fromisoformat(text).astimezone().isoformat()
    except (ValueError, OverflowError):
        raise Invalid(
            f"--since: {text!r} is no time", hint="write 10min, 2h, or 2026-03-14T15:09"
        ) from None
