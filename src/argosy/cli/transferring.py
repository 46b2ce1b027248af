"""What restore and `store migrate` have in common: a server that is stopped, stores that are moved aside, progress."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from argosy.client import Client, Endpoint
from argosy.daemon.stores import sqlite_path
from argosy.errors import Conflict
from argosy.settings import ServerSettings, StoreKind, StoreSettings
from argosy.store.transfer import Progress

START = "systemctl start argosy-server"
COMPANIONS = ("", "-wal", "-shm")
"""Ends of the names of the files of one SQLite database."""


def require_stopped(settings: ServerSettings) -> None:
    """Raises Conflict while this host's server answers: it must not write meanwhile."""
    if Client(Endpoint(path=str(settings.socket))).is_there():
        raise Conflict(
            "this host's server runs, and would write meanwhile",
            hint="systemctl stop argosy-server; machines and their units go on without it",
        )


@dataclass(frozen=True, slots=True)
class Aside:
    """Files that were moved out of the way: where they were and where they are."""

    moved: tuple[tuple[Path, Path], ...] = ()

    @property
    def told(self) -> str:
        """The database's new place; empty when nothing was there."""
        return str(self.moved[0][1]) if self.moved else ""


def set_aside(settings: StoreSettings, directory: Path) -> Aside:
    """Give the SQLite store that the settings name another name, if there is one."""
    if settings.kind is not StoreKind.SQLITE:
        return Aside()
    path = sqlite_path(settings, directory)
    suffix = f".{datetime.now(UTC):%Y%m%dT%H%M%S}"
    moved = []
    for end in COMPANIONS:
        here = path.with_name(path.name + end)
        if here.exists():
            there = path.with_name(path.name + suffix + end)
            here.rename(there)
            moved.append((here, there))
    return Aside(tuple(moved))


def put_back(aside: Aside) -> None:
    for here, there in aside.moved:
        there.replace(here)


def progress(args: argparse.Namespace) -> Progress:
    """Says every second how far it is."""
    next_at = time.monotonic() + 1

    def say(done: int, total: int) -> None:
        nonlocal next_at
        if time.monotonic() >= next_at and not args.json:
            next_at = time.monotonic() + 1
            print(f"{done} of {total} records", file=sys.stderr)

    return say
