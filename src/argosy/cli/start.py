"""Start units, and wait until they run or have failed.

UNIT is a unit file, a directory of them with a slash (web/), or a unit of the cluster: a name or a glob in quotes. A local
file comes before the cluster's unit of the same name; for an instance (web@1) its template's file does, then the cluster's
template. A unit that has failed or ended is started anew; one that runs is left alone.
"""

from __future__ import annotations

import argparse

from argosy.cli import following, sources, submitting
from argosy.cli.judging import Goal
from argosy.cli.waiting import NAMED_AT_MOST
from argosy.client import Client
from argosy.errors import Invalid


def configure(parser: argparse.ArgumentParser) -> None:
    submitting.add_arguments(parser)
    following.add_options(parser)


def run(args: argparse.Namespace) -> int:
    client = Client.find(args.endpoint)
    meant = sources.find(args.names, client)
    named = [unit["name"] for unit in submitting.named(client, meant)]
    if meant.texts and not meant.runnable:
        template = min(meant.texts)
        raise Invalid(
            f"{template} is a template: its instances run, not the template itself",
            hint=f"argosy start {template.replace('@.', '@1.')}",
        )
    names = sorted({*named, *meant.runnable})
    before = client.states(names if len(names) <= NAMED_AT_MOST else ())
    submitted = submitting.submit(client, meant, args, desired="launched", verb="start")
    # What has just been created or given another text starts by itself.
    fresh = {
        change["name"]
        for change in submitted["changes"]
        if change["change"] in ("created", "changed")
    }
    if others := [name for name in names if name not in fresh]:
        client.change(others, start=True)
    wishes = following.wishes(Goal.RUNNING, names, before, changes=submitted["changes"])
    return following.follow(client, wishes, args, changes=submitted["changes"])
