"""cordon, uncordon, drain, undrain: saying what machines are for, and how that is told."""

from __future__ import annotations

import argparse
import json
from typing import Literal

from argosy.cli import exits, following, moments, naming, terminal
from argosy.client import Client, MachineView
from argosy.errors import Invalid


def add_machines(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "machines", nargs="+", metavar="MACHINE", help="beginning of an id, address or host name"
    )


def add_reasons(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--for",
        dest="lasts",
        type=following.duration,
        metavar="TIME",
        help="open it again after so long: 90s, 30min, 2h; else it stays so until somebody opens it",
    )
    parser.add_argument(
        "--reason", default="", metavar="TEXT", help="why, shown with the machine's state"
    )


def seconds(args: argparse.Namespace) -> int | None:
    """What `--for` says. Raises Invalid for less than a second."""
    if args.lasts is None:
        return None
    if args.lasts < 1:
        raise Invalid("--for is a second at least", hint="for example --for 30min")
    return int(args.lasts)


def order(args: argparse.Namespace, scheduling: Literal["open", "cordoned"]) -> int:
    """Carry out a verb that orders the machines that were named. Nothing is changed when one of them is not there."""
    client = Client.find(args.endpoint)
    known = client.machines()
    ids = list(dict.fromkeys(naming.machine_id(known, word) for word in args.machines))
    lasts = None if scheduling == "open" else seconds(args)
    reason = "" if scheduling == "open" else args.reason
    after = [
        client.order_machine(one, scheduling=scheduling, for_seconds=lasts, reason=reason)
        for one in ids
    ]
    if args.json:
        print(json.dumps(after))
    else:
        for machine in after:
            print(sentence(machine))
    return exits.DONE


_MEANS = {
    "open": "takes units again",
    "cordoned": "gets no more units; those that it has stay",
    "drained": "gets no more units, and those that it has move away",
}


def sentence(machine: MachineView) -> str:
    """`one (113f16a7...) gets no more units ... until 2026-11-25 04:10:03`."""
    until = f", until {moments.local(machine['until'])}" if machine["until"] else ""
    return f"{shown(machine)} {_MEANS[machine['scheduling']]}{until}"


def shown(machine: MachineView) -> str:
    """A machine in a sentence: `one (113f16a7...)`."""
    short = f"{machine['id'][: naming.SHORT_ID]}..."
    name = terminal.printable(machine["hostname"])
    return f"{name} ({short})" if name else short
