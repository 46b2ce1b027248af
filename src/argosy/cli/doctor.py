"""Look at this installation from all sides and say what is wrong, each finding with what to do about it.

Exit code 1 when something is broken; a warning is not.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

from argosy.cli import exits, terminal
from argosy.cli.findings import Finding, Level
from argosy.cli.host import look_at_host
from argosy.cli.server_health import look_at_server
from argosy.cli.terminal import Style
from argosy.client import Client, state_dir

_SIGNS = {Level.GOOD: ("ok", "green"), Level.WARNING: ("warn", "yellow"), Level.BAD: ("bad", "red")}


def configure(parser: argparse.ArgumentParser) -> None:
    pass


def run(args: argparse.Namespace) -> int:
    found = []
    style = terminal.style(args)
    # Printed one by one: a check that hangs shows which it is.
    for finding in _all(Client.find(args.endpoint)):
        found.append(finding)
        if not args.json:
            print("\n".join(_shown(finding, style)), flush=True)
    bad = sum(one.level is Level.BAD for one in found)
    warnings = sum(one.level is Level.WARNING for one in found)
    if args.json:
        print(json.dumps([one.as_json() for one in found]))
    elif bad or warnings:
        print(f"\n{len(found)} checks: {bad} bad, {warnings} to look at")
    else:
        print(f"\n{len(found)} checks: all good")
    return exits.FAILED if bad else exits.DONE


def _all(client: Client) -> Iterator[Finding]:
    yield from look_at_server(client)
    yield from look_at_host(state_dir())


def _shown(finding: Finding, style: Style) -> list[str]:
    sign, colour = _SIGNS[finding.level]
    text = terminal.printable(finding.text)
    lines = [f"{style.paint(sign.ljust(4), colour)}  {finding.subject.ljust(10)}  {text}"]
    if finding.next_step:
        lines.append(f"{' ' * 18}-> {finding.next_step}")
    return lines
