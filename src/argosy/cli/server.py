"""Run this host's server: it has the cluster's records, decides where units run, and answers people and machines.

It stays in the foreground, for a service manager; argosy server init --install makes a systemd unit of it. SIGTERM ends it;
no unit stops anywhere because of that.
"""

from __future__ import annotations

import argparse
from functools import partial

from argosy.cli import exits, places
from argosy.daemon import process
from argosy.daemon.server import run_server, settings_at


def configure(parser: argparse.ArgumentParser) -> None:
    places.add_server_settings(parser)


def run(args: argparse.Namespace) -> int:
    process.run(partial(run_server, settings_at(args.settings)), is_busy=True)
    return exits.DONE
