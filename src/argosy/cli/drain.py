"""Empty a machine: no new units, and those that it has move to others, a few at a time, each when its place is there.

Shows first what would go where and what has no other place, then asks. `argosy undrain` ends it.

  argosy drain db1 --for 1h --reason "new kernel"
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from argosy.cli import consent, exits, following, labelling, moving, naming, ordering
from argosy.client import Client, DrainPlan, MachineView, Staying


def configure(parser: argparse.ArgumentParser) -> None:
    labelling.add_machine(parser)
    ordering.add_reasons(parser)
    consent.add_option(parser)
    moving.add_options(parser)


def run(args: argparse.Namespace) -> int:
    client = Client.find(args.endpoint)
    machines = client.machines()
    machine_id = naming.machine_id(machines, args.machine)
    lasts = ordering.seconds(args)
    [machine] = [one for one in machines if one["id"] == machine_id]
    would = f"drain {ordering.shown(machine)}"
    if not args.dry_run:
        consent.require_somebody(args, would=would)
    plan = client.plan_drain(machine_id)
    if not args.json:
        _show(machine, plan, naming.MachineNames(machines))
    if args.dry_run:
        if args.json:
            print(json.dumps({"plan": plan}))
        return exits.DONE
    if not consent.is_given(args, would=would, question="Drain it?"):
        print("Nothing was changed.")
        return exits.DONE
    after = client.order_machine(
        machine_id, scheduling="drained", for_seconds=lasts, reason=args.reason
    )
    if not args.json:
        print(ordering.sentence(after))
    return _follow(client, after, plan, args)


def _show(machine: MachineView, plan: DrainPlan, machine_name: naming.MachineNames) -> None:
    moves, staying = plan["moves"], plan["staying"]
    if machine["state"] in naming.ABSENT:
        print(f"{ordering.shown(machine)} is {machine['state']}: {machine['why']}")
    if not moves and not staying:
        print(f"{ordering.shown(machine)} has no units.")
        return
    stays = f"; {len(staying)} would stay" if staying else ""
    print(f"{moving.count(moves)} would leave {ordering.shown(machine)}{stays}:")
    print("\n".join(moving.plan_lines(moves, staying, machine_name, has_origin=False)))


def _follow(client: Client, machine: MachineView, plan: DrainPlan, args: argparse.Namespace) -> int:
    said: dict[str, Any] = {"machine": machine, "plan": plan}
    code = exits.DONE
    if plan["moves"] and not args.no_block:
        verdicts, in_time = moving.wait(client, plan["moves"], args)
        said["units"] = following.as_json(verdicts)
        code = following.code(verdicts)
        if not args.json:
            following.say_the_end(verdicts, in_time=in_time, timeout_seconds=args.timeout)
    if args.json:
        print(json.dumps(said))
    elif plan["staying"]:
        print("\n".join(_left(machine, plan["staying"])))
    elif code == exits.DONE and not args.no_block:
        print(f"{ordering.shown(machine)} is drained  -> argosy undrain {_short(machine)}")
    if code == exits.DONE and plan["staying"]:
        return exits.CANNOT_PLACE
    return code


def _left(machine: MachineView, staying: Sequence[Staying]) -> list[str]:
    first = staying[0]["unit"]
    return [
        f"{ordering.shown(machine)} keeps {len(staying)}: they move as soon as another machine can have them",
        f"  -> argosy why {first}, or argosy unload {first}",
    ]


def _short(machine: MachineView) -> str:
    return machine["id"][: naming.SHORT_ID]
