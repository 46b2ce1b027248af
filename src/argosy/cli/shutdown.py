"""Stopping a whole local cluster, with what it waits for shown."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import suppress

from argosy.cli import terminal
from argosy.cli.local import Foreground
from argosy.client import Client
from argosy.errors import ArgosyError

TELL_AFTER_SECONDS = 2.0
TICK_SECONDS = 0.1
SHOWN = 3
"""How many units a message names."""


def stop_own(daemon: Foreground, here: Client, args: argparse.Namespace) -> None:
    """Stop the daemon in this process and everything that it runs.

    Another Ctrl-C does not make it leave something behind; it says what it waits for.
    """
    if not args.json:
        print(terminal.style(args).dim("\nStopping everything ..."), flush=True)
    daemon.request_stop()
    began = time.monotonic()
    told: list[str] = []
    while True:
        try:
            if daemon.wait(TICK_SECONDS):
                return
            if time.monotonic() - began > TELL_AFTER_SECONDS:
                told = _tell(here, told)
        except KeyboardInterrupt:
            print("argosy: units are still stopping; nothing is left behind", file=sys.stderr)
            told = _tell(here, [])


def wait_until_gone(here: Client) -> None:
    """Wait until the server that was asked to stop answers no more."""
    began = time.monotonic()
    told: list[str] = []
    while here.is_there():
        time.sleep(TICK_SECONDS)
        if time.monotonic() - began > TELL_AFTER_SECONDS:
            told = _tell(here, told)


def _tell(here: Client, told: list[str]) -> list[str]:
    """Say which units still run, when that is something new."""
    with suppress(ArgosyError):
        left = sorted(
            f"{row['name']} ({row['active']})"
            for row in here.states()
            if row["active"] not in ("inactive", "failed")
        )
        if left and left != told:
            more = f" and {len(left) - SHOWN} more" if len(left) > SHOWN else ""
            print(f"argosy: waiting for {', '.join(left[:SHOWN])}{more}", file=sys.stderr)
            return left
    return told
