"""Stop what `argosy up` started: every unit, the agent and the server. The units' texts and their output stay.

Also cleans up after an `up` that was killed and whose units still run.
"""

from __future__ import annotations

import argparse
import json

from argosy import client
from argosy.cli import exits, shutdown
from argosy.cli.local import Foreground
from argosy.client import Client
from argosy.daemon.local import SOCKET, LocalSettings
from argosy.errors import Invalid


def configure(parser: argparse.ArgumentParser) -> None:
    pass


def run(args: argparse.Namespace) -> int:
    here = Client.of_this_user(args.endpoint)
    if here.is_there():
        ran = sorted({row["name"] for row in here.states() if row["active"] == "active"})
        here.stop_cluster()
        shutdown.wait_until_gone(here)
        return _say(ran, args)
    if args.endpoint:
        raise Invalid("no server answers there", hint="argosy down, without --endpoint")
    state = client.state_dir()
    if not (state / "store.db").exists():
        return _say([], args)
    # Nobody answers, but units of a daemon that was killed may run: find them, then stop them the ordinary way.
    daemon = Foreground(LocalSettings(directory=state))
    daemon.start()
    own = Client.find(f"unix://{state / SOCKET}")
    ran = sorted({row["name"] for row in own.states() if row["active"] == "active"})
    shutdown.stop_own(daemon, own, args)
    return _say(ran, args)


def _say(ran: list[str], args: argparse.Namespace) -> int:
    if args.json:
        print(json.dumps({"stopped": ran}))
    elif ran:
        print(f"Stopped {len(ran)} units: {', '.join(ran)}")
    else:
        print("Nothing runs.")
    return exits.DONE
