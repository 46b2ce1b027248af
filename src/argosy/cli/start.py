"""Start units, and wait until they run or have failed.

UNIT is a unit file, a directory of them with a slash (web/), or a unit of the cluster: a name or a glob in quotes. A local
file comes before the cluster's unit of the same name; for an instance (web@1) its template's file does, then the cluster's
template. A unit that has failed or ended is started anew; one that runs is left alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from argosy.cli import following, naming, sources, submitting
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
    templates = [name for name in named if naming.is_template(name)]
    if not meant.runnable:
        templates += meant.texts
    _refuse_templates(templates)
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


def _refuse_templates(templates: Sequence[str]) -> None:
    if templates:
        raise Invalid(
            f"{templates[0]} is a template: its instances run, not the template itself",
            hint=f"argosy start {templates[0].replace('@.', '@1.')}",
        )
