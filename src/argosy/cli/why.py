"""Explain why a unit is on its machine, or on none: the reason of the decision, each refusal, what would help, and what
happened to it lately."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

from argosy.cli import causes, exits, explanations, moments, naming, terminal
from argosy.cli.terminal import Style, printable
from argosy.client import Client, Why


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a unit of the cluster")
    parser.add_argument("-l", "--full", action="store_true", help="whole machine ids")


def run(args: argparse.Namespace) -> int:
    client = Client.find(args.endpoint)
    why = client.why(naming.unit_name(args.name))
    if args.json:
        print(json.dumps(why))
    else:
        machine_name = naming.MachineNames(client.machines(), full=args.full)
        print("\n".join(explain(why, machine_name, terminal.style(args))))
    return exits.CANNOT_PLACE if why["explanation"] else exits.DONE


def explain(why: Why, machine_name: naming.MachineNames, style: Style) -> list[str]:
    return [
        *_places(why, machine_name, style),
        *_states(why, machine_name),
        *_history(why, machine_name, style),
    ]


def _places(why: Why, machine_name: naming.MachineNames, style: Style) -> Iterator[str]:
    name, now = why["unit"]["name"], moments.now()
    for place in why["placements"]:
        when = moments.ago(place["placed_at"], now)
        yield f"{style.bold(name)} is on {machine_name(place['machine'])}" + (
            f", placed {when}" if when else ""
        )
        if place["reason"]:
            yield f"  because: {printable(place['reason'])}"
    if why["explanation"]:
        since = moments.elapsed(why["explanation"]["since"], now)
        waiting = f", for {since} now" if since else ""
        yield f"{style.bold(name)} is wanted {why['unit']['desired']} but has no machine{waiting}"
        yield "  " + style.paint(printable(why["explanation"]["summary"]), "yellow")
        for line in explanations.lines(why["explanation"], machine_name):
            yield f"  {printable(line)}"
    elif not why["placements"]:
        yield f"{style.bold(name)} is on no machine"
        yield f"  because: {_nowhere(why)}"


def _nowhere(why: Why) -> str:
    unit = why["unit"]
    if naming.is_template(unit["name"]):
        return "it is a template; only its instances run"
    if unit["desired"] == "inactive":
        return f"it is wanted inactive; to start it: argosy start {unit['name']}"
    if unit["global"]:
        return "it goes to every machine that fits, and none does"
    return "no decision was made yet; ask again, and if it stays so: argosy doctor"


def _states(why: Why, machine_name: naming.MachineNames) -> Iterator[str]:
    for row in why["statuses"]:
        since = moments.elapsed(row["since"], moments.now())
        cause = causes.cause(row)
        yield (
            f"  on {machine_name(row['machine'])} it is {row['active']} ({row['sub']})"
            + (f" for {since}" if since else "")
            + (f": {printable(cause)}" if cause else "")
        )


def _history(why: Why, machine_name: naming.MachineNames, style: Style) -> Iterator[str]:
    if why["events"]:
        yield "lately:"
    for event in why["events"]:
        what = event["kind"].removeprefix("unit.")
        where = f" ({machine_name(event['machine'])})" if event["machine"] else ""
        when = style.dim(moments.local(event["at"]))
        yield f"  {when}  {what.ljust(10)} {printable(event['message'])}{where}"
