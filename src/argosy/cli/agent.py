"""Run this machine's agent: it runs the units that the cluster gives to this machine, and reports how they are.

It stays in the foreground, for a service manager; argosy join --install makes a systemd unit of it. Units outlive it, by
whatever way it ends.
"""

from __future__ import annotations

import argparse
from functools import partial

from argosy.cli import exits, places
from argosy.daemon import process
from argosy.daemon.agent import run_agent, settings_at


def configure(parser: argparse.ArgumentParser) -> None:
    places.add_agent_settings(parser)


def run(args: argparse.Namespace) -> int:
    process.run(partial(run_agent, settings_at(args.settings)))
    return exits.DONE
