"""Show how units are: state, machine, why it is there, last output, and what to do about it.

Without NAME it tells about the cluster: how many units run, and which need attention. Exit code 3 when a unit has
failed, 2 when one has no machine.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from datetime import datetime

from argosy.cli import causes, exits, explanations, moments, naming, selection, terminal
from argosy.cli.progress import tail_lines
from argosy.cli.terminal import Style
from argosy.client import Client, LogLine, MachineView, StateView, UnitView, Why

LABEL = 9
OUTPUT_LINES = 10
NAMED_AT_MOST = 20
_DOT = {"active": "●", "reloading": "●", "failed": "×", "activating": "●", "deactivating": "●"}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="units of the cluster; globs in quotes"
    )
    parser.add_argument(
        "-n",
        "--lines",
        type=int,
        default=OUTPUT_LINES,
        metavar="N",
        help="how much output to show (default 10)",
    )
    parser.add_argument("-l", "--full", action="store_true", help="whole machine ids")


def run(args: argparse.Namespace) -> int:
    client = Client.find(args.endpoint)
    if not args.names:
        return _overview(client, args)
    units = selection.select(client, naming.unit_names(args.names))
    told = [client.why(unit["name"]) for unit in units]
    if args.json:
        print(json.dumps(told))
        return _code(told)
    style = terminal.style(args)
    machine_name = naming.MachineNames(client.machines(), full=args.full)
    for number, one in enumerate(told):
        output = _output(client, one, args.lines, style)
        lines = [*describe(one, machine_name, style), *output, *_next_step(one)]
        print(("\n" if number else "") + "\n".join(lines))
    return _code(told)


def describe(why: Why, machine_name: naming.MachineNames, style: Style) -> list[str]:
    """Everything about a unit but its output."""
    unit, now = why["unit"], moments.now()
    active = _summary(why["statuses"])
    dot = style.state(_DOT.get(active, "○"), active)
    title = terminal.printable(unit["description"])
    lines = [f"{dot} {style.bold(unit['name'])}" + (f" - {title}" if title else "")]
    wanted = unit["desired"] + (" on every machine that fits" if unit["global"] else "")
    if unit["app"]:
        wanted += f", as part of {unit['app']}"
    lines.append(_field("wanted", wanted))
    reasons = {place["machine"]: place["reason"] for place in why["placements"]}
    for machine in sorted({*reasons, *(row["machine"] for row in why["statuses"])}):
        row = next((row for row in why["statuses"] if row["machine"] == machine), None)
        shown = machine_name(machine)
        if row is None:
            lines.append(_field("state", f"on its way to {shown}"))
        else:
            lines += _state(row, shown, now, style)
        if trouble := machine_name.trouble(machine):
            lines.append(_field("machine", style.paint(terminal.printable(trouble), "red")))
        if reason := reasons.get(machine):
            lines.append(_field("place", terminal.printable(reason)))
    if why["explanation"]:
        text = terminal.printable(why["explanation"]["summary"])
        lines.append(_field("pending", style.paint(text, "yellow")))
        found = explanations.lines(why["explanation"], machine_name)
        lines += [_field("", terminal.printable(line)) for line in found]
    return lines


def _state(row: StateView, machine: str, now: datetime, style: Style) -> Iterator[str]:
    state = style.state(f"{row['active']} ({row['sub']})", row["active"])
    since = f" since {moments.local(row['since'])}; {moments.ago(row['since'], now)}"
    yield _field("state", f"{state} on {machine}" + (since if row["since"] else ""))
    if cause := causes.cause(row):
        colour = "red" if row["active"] == "failed" else "yellow"
        yield _field("cause", style.paint(terminal.printable(cause), colour))
    if row["main_pid"]:
        yield _field("main pid", str(row["main_pid"]))
    if row["restarts"]:
        yield _field("restarts", str(row["restarts"]))
    if row["text"]:
        yield _field("says", terminal.printable(row["text"]))


def _field(label: str, text: str) -> str:
    return f"  {label.rjust(LABEL)}{':' if label else ' '} {text}"


def _summary(rows: Sequence[StateView]) -> str:
    """The active state that a unit's dot shows: the worst of its rows."""
    states = {row["active"] for row in rows}
    for state in ("failed", "activating", "deactivating", "reloading", "active"):
        if state in states:
            return state
    return "inactive"


def _output(client: Client, why: Why, lines: int, style: Style) -> list[str]:
    if lines <= 0 or not why["statuses"]:
        return []
    with client.logs([why["unit"]["name"]], lines=lines) as stream:
        found = [f"  {style.dim(moments.clock(one['at']))} {_text(one, style)}" for one in stream]
    # The server may have no way to the machine's output; what it wrote before it failed came with the state.
    last = [line for row in why["statuses"] for line in row["last_lines"]]
    return found or tail_lines(last[-lines:], style)


def _text(line: LogLine, style: Style) -> str:
    text = terminal.output_line(line["text"], has_colour=style.has_colour)
    return style.dim(f"-- {text}") if line["stream"] == "argosy" else text


def _next_step(why: Why) -> list[str]:
    unit = why["unit"]
    name = unit["name"]
    if _has_failed(why):
        return [f"  -> argosy logs {name}; then argosy start {name}"]
    if why["explanation"]:
        return [f"  -> argosy why {name}"]
    if naming.is_template(name):
        return [f"  -> a template; start an instance: argosy start {name.replace('@.', '@1.')}"]
    if unit["desired"] != "launched":
        return [f"  -> argosy start {name}"]
    return []


def _has_failed(why: Why) -> bool:
    return any(row["active"] == "failed" or row["load"] != "loaded" for row in why["statuses"])


def _code(told: Sequence[Why]) -> int:
    if any(map(_has_failed, told)):
        return exits.UNHEALTHY
    return exits.CANNOT_PLACE if any(one["explanation"] for one in told) else exits.DONE


def _overview(client: Client, args: argparse.Namespace) -> int:
    units, states, machines = client.units(), client.states(), client.machines()
    failed = sorted({row["name"] for row in states if row["active"] == "failed"})
    pending = [unit["name"] for unit in units if unit["pending"]]
    absent = [machine for machine in machines if machine["state"] in naming.ABSENT]
    closed = [machine for machine in machines if machine["scheduling"] != "open"]
    if args.json:
        said = {
            "failed": failed,
            "pending": pending,
            "absent": [one["id"] for one in absent],
            "closed": [one["id"] for one in closed],
        }
        print(json.dumps({**client.status(), **said}))
    else:
        style = terminal.style(args)
        running = {row["name"] for row in states if row["active"] == "active"}
        templates = sum(naming.is_template(unit["name"]) for unit in units)
        counts = [_count(len(machines), "machine"), _count(len(units) - templates, "unit")]
        counts += [_count(templates, "template")] if templates else []
        print(f"{', '.join(counts)}; {len(running)} running")
        _name("failed", failed, "red", style)
        _name("without a machine", pending, "yellow", style)
        _name("absent machines", list(map(_state_of, absent)), "red", style)
        _name("machines without new units", list(map(_state_of, closed)), "yellow", style)
        print(_overview_step(units, failed, pending, [*absent, *closed]))
    if failed:
        return exits.UNHEALTHY
    return exits.CANNOT_PLACE if pending else exits.DONE


def _state_of(machine: MachineView) -> str:
    name = terminal.printable(machine["hostname"]) or machine["id"][: naming.SHORT_ID]
    return f"{name} ({machine['state']})"


def _name(label: str, names: Sequence[str], colour: str, style: Style) -> None:
    if names:
        more = f" and {len(names) - NAMED_AT_MOST} more" if len(names) > NAMED_AT_MOST else ""
        print(f"  {style.paint(label, colour)}: {', '.join(names[:NAMED_AT_MOST])}{more}")


def _overview_step(
    units: Sequence[UnitView],
    failed: Sequence[str],
    pending: Sequence[str],
    machines: Sequence[MachineView],
) -> str:
    """What to type next. machines: those that are not as usual."""
    if failed:
        return f"  -> argosy status {failed[0]}"
    if pending:
        return f"  -> argosy why {pending[0]}"
    if machines:
        return "  -> argosy machines"
    return "  -> argosy list-units" if units else "  -> argosy up DIR, or argosy start FILE"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")
