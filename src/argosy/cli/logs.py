"""Print what units wrote, merged by time.

Several units are told apart by name and colour. With -f it goes on with what comes, also of units that come to match. A
glob in quotes means units of the cluster: argosy logs -f 'web@*'. Without NAME: all units.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from argosy.cli import exits, moments, naming, terminal
from argosy.client import Client, LogLine
from argosy.errors import ServerUnreachable

LINES = 100


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="units of the cluster; globs too")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with new lines")
    parser.add_argument(
        "-n", "--lines", type=int, default=LINES, metavar="N", help="the last N lines (default 100)"
    )
    parser.add_argument(
        "--since-cursor",
        metavar="CURSOR",
        help="everything behind this place; --json and --show-cursor tell cursors",
    )
    parser.add_argument("--show-cursor", action="store_true", help="end with the last cursor")
    parser.add_argument("-t", "--time", action="store_true", help="put the time before each line")
    parser.add_argument("--machine", metavar="MACHINE", help="only from there; id, address or host")


def run(args: argparse.Namespace) -> int:
    client = Client.find(args.endpoint)
    names = naming.unit_names(args.names)
    machine = naming.machine_id(client.machines(), args.machine) if args.machine else None
    # Followed, a glob may come to mean several units.
    is_open = args.follow and (not names or any(map(naming.is_glob, names)))
    show = Printer([unit["name"] for unit in client.units(names)], args, is_named=is_open)
    cursor = args.since_cursor
    try:
        with client.logs(
            names, lines=args.lines, follow=args.follow, after=cursor, machine=machine
        ) as lines:
            for line in lines:
                cursor = line["cursor"]
                show(line)
                # A reader in a pipe is to see a line when it is there.
                if args.follow:
                    sys.stdout.flush()
    except ServerUnreachable as problem:
        if cursor:
            again = " ".join(["argosy logs -f --since-cursor", cursor, *args.names])
            problem.hint = f"go on from here: {again}"
        raise
    if args.show_cursor and cursor:
        print(f"-- cursor: {cursor}")
    return exits.DONE


def follow_logs(
    client: Client, names: Sequence[str], args: argparse.Namespace, *, lines: int
) -> None:
    """Print the units' last `lines` lines and go on with what comes, until the server ends it: for verbs that end in
    following. Raises ServerUnreachable when the server goes away.
    """
    show = Printer([unit["name"] for unit in client.units(names)], args)
    with client.logs(names, lines=lines, follow=True) as stream:
        for line in stream:
            show(line)
            sys.stdout.flush()


class Printer:
    """Prints log lines, with the unit's name before each when there are several units."""

    def __init__(
        self, names: Sequence[str], args: argparse.Namespace, *, is_named: bool = False
    ) -> None:
        """names: the units that are expected, for the width of the names' column. args: json, no_color and, when it is
        there, time. is_named: put names before the lines also when one unit is expected."""
        self._as_json = args.json
        self._has_time = getattr(args, "time", False)
        self._style = terminal.style(args)
        self._is_terminal = terminal.is_terminal(sys.stdout)
        self._is_named = is_named or len(names) > 1
        self._width = max(map(len, names), default=0)
        self._colours: dict[str, str] = {}
        for name in names:
            self._colour(name)

    def __call__(self, line: LogLine) -> None:
        sys.stdout.write(self.text(line) + "\n")

    def text(self, line: LogLine) -> str:
        if self._as_json:
            return json.dumps(line)
        text = line["text"]
        if self._is_terminal:
            text = terminal.output_line(text, has_colour=self._style.has_colour)
        if line["stream"] == "argosy":
            text = self._style.dim(f"-- {text}")
        if self._is_named:
            name = line["unit"].ljust(self._width)
            text = f"{self._style.paint(name, self._colour(line['unit']))} | {text}"
        if self._has_time:
            text = f"{self._style.dim(moments.clock(line['at']))} {text}"
        return text

    def _colour(self, name: str) -> str:
        colours = terminal.UNIT_COLOURS
        return self._colours.setdefault(name, colours[len(self._colours) % len(colours)])
