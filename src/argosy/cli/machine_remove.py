"""Take a machine out of the cluster: its certificate is worth nothing from now on, and its units start elsewhere.

For machines that are gone for good, or in wrong hands. One that is still there goes on running what it has, since nobody
can tell it any more: drain it first. To come back it has to join again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence

from argosy.cli import consent, exits, labelling, naming, ordering
from argosy.client import Client, MachineView

NAMED_AT_MOST = 20


def configure(parser: argparse.ArgumentParser) -> None:
    labelling.add_machine(parser)
    consent.add_option(parser)


def run(args: argparse.Namespace) -> int:
    client = Client.find(args.endpoint)
    machines = client.machines()
    machine_id = naming.machine_id(machines, args.machine)
    [machine] = [one for one in machines if one["id"] == machine_id]
    units = [unit["name"] for unit in client.units() if machine_id in unit["machines"]]
    if not args.yes:
        would = f"remove the machine {ordering.shown(machine)}"
        consent.require_somebody(args, would=would)
        print("\n".join(_told(machine, units)))
        if not consent.is_given(args, would=would, question="Remove it?"):
            print("Nothing was removed.")
            return exits.DONE
    client.remove_machine(machine_id)
    if args.json:
        print(json.dumps({"removed": machine_id, "units": units}))
    else:
        print(f"removed {ordering.shown(machine)}")
    return exits.DONE


def _told(machine: MachineView, units: Sequence[str]) -> Iterator[str]:
    yield f"This removes {ordering.shown(machine)}, which is {machine['state']}."
    if not units:
        yield "No unit is on it."
        return
    yield "These start elsewhere at once, if they can:"
    yield from (f"  {name}" for name in units[:NAMED_AT_MOST])
    if len(units) > NAMED_AT_MOST:
        yield f"  and {len(units) - NAMED_AT_MOST} more"
    if machine["state"] not in naming.ABSENT:
        yield "It is there, and goes on running them: they would run twice."
        yield f"  -> argosy drain {machine['id'][: naming.SHORT_ID]} first"
