"""Show how a machine is: what people want of it, what its agent says of it now, and its units."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from datetime import datetime

from argosy.cli import exits, labelling, moments, naming, terminal
from argosy.cli.terminal import Style, printable
from argosy.client import Client, Facts, MachineView, StateView
from argosy.errors import ArgosyError

LABEL = 11
NAMED_AT_MOST = 20
_GIB = 2**30


def configure(parser: argparse.ArgumentParser) -> None:
    labelling.add_machine(parser)


def run(args: argparse.Namespace) -> int:
    client = Client.find(args.endpoint)
    machines = client.machines()
    machine_id = naming.machine_id(machines, args.machine)
    [machine] = [one for one in machines if one["id"] == machine_id]
    states = client.states(machine=machine_id)
    facts, problem = _facts(client, machine)
    if args.json:
        print(json.dumps({"machine": machine, "facts": facts, "states": states}))
        return exits.DONE
    style = terminal.style(args)
    lines = [*_told(machine, style, moments.now())]
    lines += _told_facts(facts, moments.now()) if facts else [_field("agent", problem)]
    lines += _told_units(states, style)
    print("\n".join(lines))
    return exits.DONE


def _facts(client: Client, machine: MachineView) -> tuple[Facts | None, str]:
    """What the agent says, or why it says nothing. One that no server hears of is not waited for."""
    if machine["state"] in naming.ABSENT:
        return None, "no server hears of it"
    try:
        return client.facts(machine["id"]), ""
    except ArgosyError as problem:
        return None, printable(problem.message)


def _told(machine: MachineView, style: Style, now: datetime) -> Iterator[str]:
    name = printable(machine["hostname"])
    yield f"{style.bold(machine['id'])}" + (f" - {name}" if name else "")
    since = f" since {moments.local(machine['since'])}; {moments.ago(machine['since'], now)}"
    state = style.paint(machine["state"], naming.state_colour(machine))
    yield _field("state", state + (since if machine["since"] else ""))
    if machine["why"]:
        yield _field("why", printable(machine["why"]))
    if machine["until"]:
        yield _field("until", moments.local(machine["until"]))
    yield _field("address", printable(machine["address"]) or "-")
    yield _field("metadata", labelling.metadata_of(machine) or "-")
    capacity = machine["capacity"]
    memory = f"{capacity['memory_bytes'] / _GIB:.1f} GiB"
    yield _field("capacity", f"{memory}, {capacity['cpu_millis'] / 1000:g} CPUs")


def _told_facts(facts: Facts, now: datetime) -> Iterator[str]:
    runtime, kernel = printable(facts["runtime"]), printable(facts["kernel"])
    yield _field("agent", f"{printable(facts['version'])}, {runtime}, Linux {kernel}")
    if facts["booted_at"]:
        yield _field("booted", moments.ago(facts["booted_at"], now))
    yield _field("load", " ".join(f"{one:.2f}" for one in facts["load"]))
    free, total = facts["memory_available_bytes"], facts["memory_total_bytes"]
    yield _field("memory", f"{free / _GIB:.1f} of {total / _GIB:.1f} GiB free")
    for disk in facts["disks"]:
        free, total = disk["free_bytes"], disk["total_bytes"]
        text = f"{free / _GIB:.1f} of {total / _GIB:.1f} GiB free at {printable(disk['path'])}"
        yield _field("disk", text)
    if facts["certificate_expires"]:
        yield _field("certificate", f"good until {moments.local(facts['certificate_expires'])}")
    ahead = round(facts["clock_ahead_seconds"], 1) + 0.0  # never -0.0
    yield _field("clock", f"{ahead:+.1f} s against the server's")
    if not facts["exec"]:
        yield _field("exec", "runs no commands for people")


def _told_units(states: Sequence[StateView], style: Style) -> Iterator[str]:
    active = sum(row["active"] == "active" for row in states)
    yield _field("units", f"{len(states)}, {active} active" if states else "none")
    others = [row for row in states if row["active"] != "active"]
    for row in others[:NAMED_AT_MOST]:
        yield _field("", f"{row['name']} {style.state(row['active'], row['active'])}")
    if len(others) > NAMED_AT_MOST:
        yield _field("", f"and {len(others) - NAMED_AT_MOST} more")


def _field(label: str, text: str) -> str:
    return f"  {label.rjust(LABEL)}{':' if label else ' '} {text}"
