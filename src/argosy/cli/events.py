"""Print what happened in the cluster: submitted, placed, started, failed, moved, machines that came and went.

NAME limits it to a unit, or to those that a glob in quotes matches. With -f it goes on with what happens.
"""

from __future__ import annotations

import argparse
import json
import sys

from argosy.cli import exits, moments, naming, terminal
from argosy.cli.terminal import Style, printable
from argosy.client import Client, EventView

LINES = 100
_PARTS = ("", "api", "agent", "engine")
"""Who acts by themselves; of others it is said who they are."""
_COLOURS = {"failed": "red", "lost": "red", "pending": "yellow", "active": "green"}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="a unit, or a glob of units")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what happens")
    parser.add_argument(
        "-n", "--lines", type=int, default=LINES, metavar="N", help="the last N (default 100)"
    )
    parser.add_argument("--kind", metavar="KIND", help="only these: unit.failed, machine.lost ...")
    parser.add_argument("--machine", metavar="MACHINE", help="only there; id, address or host")


def run(args: argparse.Namespace) -> int:
    client = Client.find(args.endpoint)
    machines = client.machines()
    show = Printer(naming.MachineNames(machines), terminal.style(args), as_json=args.json)
    machine = naming.machine_id(machines, args.machine) if args.machine else None
    name = naming.unit_name(args.name) if args.name else None
    if not args.follow:
        for event in client.events(unit=name, machine=machine, kind=args.kind, limit=args.lines):
            show(event)
        return exits.DONE
    with client.watch([name] if name else []) as stream:
        next(stream)
        # Read after the watch is ready: what happens between the two is told twice rather than never.
        seen = set()
        if args.lines > 0:
            past = client.events(unit=name, machine=machine, kind=args.kind, limit=args.lines)
            for event in past:
                seen.add(event["key"])
                show(event)
        sys.stdout.flush()
        for item in stream:
            if item.kind == "event" and item.data["key"] not in seen:
                if _is_wanted(item.data, name=name, machine=machine, kind=args.kind):
                    show(item.data)  # type: ignore[arg-type]
                sys.stdout.flush()
    return exits.DONE


def _is_wanted(
    event: dict[str, object], *, name: str | None, machine: str | None, kind: str | None
) -> bool:
    """The server has held the unit's name against the glob already; it also tells what belongs to no unit."""
    return (
        (name is None or bool(event["unit"]))
        and (machine is None or event["machine"] == machine)
        and (kind is None or event["kind"] == kind)
    )


class Printer:
    def __init__(self, machine_name: naming.MachineNames, style: Style, *, as_json: bool) -> None:
        self._machine_name = machine_name
        self._style = style
        self._as_json = as_json

    def __call__(self, event: EventView) -> None:
        sys.stdout.write((json.dumps(event) if self._as_json else self.text(event)) + "\n")

    def text(self, event: EventView) -> str:
        kind = printable(event["kind"])
        colour = _COLOURS.get(kind.rpartition(".")[2], "")
        parts = [
            self._style.dim(moments.local(event["at"])),
            self._style.paint(kind.ljust(15), colour),
            printable(event["unit"]),
            printable(event["message"]),
        ]
        if event["by"] not in _PARTS:
            parts.append(self._style.dim(f"by {printable(event['by'])}"))
        if event["machine"]:
            parts.append(self._style.dim(f"({self._machine_name(event['machine'])})"))
        return "  ".join(part for part in parts if part)
