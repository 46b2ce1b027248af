"""What start, stop and their like do after the server has accepted a change: wait, show, and say how it ended."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from argosy.cli import exits, naming, terminal
from argosy.cli.judging import Goal, Outcome, Verdict, Wish
from argosy.cli.progress import Progress
from argosy.cli.waiting import Wait, unfinished
from argosy.client import Change, Client, StateView
from argosy.errors import Invalid

TIMEOUT_SECONDS = 60.0
_SCALE = {"ms": 0.001, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def add_options(
    parser: argparse.ArgumentParser, *, timeout_seconds: float = TIMEOUT_SECONDS
) -> None:
    """--wait, --no-block and --timeout."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--wait",
        action="store_true",
        help="wait until it is done or has failed (the default)",
    )
    group.add_argument(
        "--no-block", action="store_true", help="return as soon as the cluster has taken it"
    )
    parser.add_argument(
        "--timeout",
        type=duration,
        default=timeout_seconds,
        metavar="TIME",
        help=f"wait at most so long: 90, 90s, 5min (default {timeout_seconds:g}s)",
    )


def wishes(
    goal: Goal,
    names: Sequence[str],
    before: Sequence[StateView],
    *,
    is_restart: bool = False,
    changes: Sequence[Change] = (),
) -> dict[str, Wish]:
    """What to wait for after a request.

    before: the units' states, read before the request. changes: what the submission said, if there was one.
    """
    rows: dict[str, dict[str, StateView]] = {name: {} for name in names}
    for row in before:
        if row["name"] in rows:
            rows[row["name"]][row["machine"]] = row
    changed = {change["name"] for change in changes if change["change"] == "changed"}
    return {
        name: Wish(
            goal,
            before=had,
            is_new_run=is_restart or not all(map(_is_running, had.values())),
            is_new_version=name in changed,
        )
        for name, had in rows.items()
    }


def _is_running(row: StateView) -> bool:
    return row["active"] in ("active", "activating", "reloading")


def follow(
    client: Client,
    wanted: Mapping[str, Wish],
    args: argparse.Namespace,
    *,
    changes: Sequence[Change] = (),
) -> int:
    """Wait as the options say and return the exit code. Prints how each unit stands, or all of it as JSON at the end."""
    if args.no_block or not wanted:
        if args.json:
            _print_json(sorted(wanted), {}, changes)
        else:
            for name in sorted(wanted):
                print(f"{name}: asked for")
        return exits.DONE
    verdicts, in_time = wait(client, wanted, args)
    if args.json:
        _print_json(sorted(wanted), verdicts, changes)
    else:
        say_the_end(verdicts, in_time=in_time, timeout_seconds=args.timeout)
    return code(verdicts)


def wait(
    client: Client,
    wanted: Mapping[str, Wish],
    args: argparse.Namespace,
    *,
    is_over: Callable[[], bool] = lambda: False,
) -> tuple[Mapping[str, Verdict], bool]:
    """Wait for the wishes, showing how each unit stands unless JSON was asked for. args: json, no_color, timeout.

    is_over: whether a server that is away is known not to come back.
    Returns how they stand, and whether that was within the time.
    """
    machine_name = naming.MachineNames(client.machines())
    if args.json:
        quiet = Wait(client, wanted, machine_name=machine_name, is_over=is_over)
        return quiet.verdicts, quiet.run(args.timeout)
    style = terminal.style(args)
    progress = Progress(sorted(wanted), style=style, machine_name=machine_name)
    shown = Wait(
        client,
        wanted,
        machine_name=machine_name,
        observe=progress.observe,
        tick=progress.tick,
        is_over=is_over,
    )
    try:
        try:
            return shown.verdicts, shown.run(args.timeout)
        finally:
            progress.finish()
    except KeyboardInterrupt:
        # Below the display, which rewrites its lines by counting them.
        print("argosy: no longer waiting; what was asked for goes on", file=sys.stderr)
        raise


def code(verdicts: Mapping[str, Verdict]) -> int:
    """The exit code for how units stand."""
    outcomes = {verdict.outcome for verdict in verdicts.values()}
    if outcomes & {Outcome.FAILED, Outcome.WAITING}:
        return exits.UNHEALTHY
    return exits.CANNOT_PLACE if Outcome.PENDING in outcomes else exits.DONE


def say_the_end(verdicts: Mapping[str, Verdict], *, in_time: bool, timeout_seconds: float) -> None:
    """What to do next about the first unit that is not as wanted; nothing when there is none."""
    left = unfinished(verdicts)
    if not left:
        return
    said = []
    if not in_time:
        said.append(
            f"argosy: not done within {timeout_seconds:g} s; it goes on, only the waiting ended"
        )
    first = verdicts[left[0]]
    if first.outcome is Outcome.FAILED:
        said.append(f"  -> argosy status {left[0]}")
    elif first.outcome is Outcome.PENDING:
        said.append("argosy: it stays wanted, and starts as soon as a machine fits")
        said.append(f"  -> argosy why {left[0]}")
    else:
        said.append(f"  -> argosy status {left[0]}, or wait longer: --timeout 5min")
    print("\n".join(said), file=sys.stderr)


def _print_json(
    names: Sequence[str], verdicts: Mapping[str, Verdict], changes: Sequence[Change]
) -> None:
    asked: list[dict[str, Any]] = [
        {"name": name, "outcome": "asked"} for name in names if name not in verdicts
    ]
    said: dict[str, Any] = {"units": [*asked, *as_json(verdicts)]}
    if changes:
        said["changes"] = list(changes)
    print(json.dumps(said))


def as_json(verdicts: Mapping[str, Verdict]) -> list[dict[str, Any]]:
    """How units stand, in order of name."""
    return [
        {
            "name": name,
            "outcome": verdict.outcome.value,
            "text": verdict.text,
            "state": verdict.row,
            "explanation": verdict.explanation,
        }
        for name, verdict in sorted(verdicts.items())
    ]


def duration(text: str) -> float:
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    scale = _SCALE.get(text[len(number) :] or "s")
    try:
        seconds = float(number) * (scale or 0)
    except ValueError:
        seconds = -1
    if scale is None or not 0 <= seconds < 1e9:
        raise Invalid(f"{text!r} is no time", hint="write 90, 90s, 5min, 1h or 2d")
    return seconds
