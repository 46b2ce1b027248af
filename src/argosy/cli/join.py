"""Make this host a machine of a cluster.

URL is any of the cluster's servers; the token is made by argosy token create machine. The token says which authority to
believe: nothing is sent to a server that does not have it.

  argosy join https://10.0.0.1:7440 --token argosy_m_... --install
"""

from __future__ import annotations

import argparse
import dataclasses
import json

from argosy.cli import credentials, exits, installing, patience, places
from argosy.client import Client, Endpoint
from argosy.daemon import founding, host, settings_file
from argosy.daemon.agent import settings_at
from argosy.errors import Invalid
from argosy.settings import MachineSettings, RuntimeKind

COMMENT = """The settings of this machine's Argosy agent; see docs/reference/settings.md.
Whatever is not here is as by default. Restart the agent after a change (no unit stops): systemctl restart argosy-agent"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", help="a server of the cluster: https://HOST:7440")
    credentials.add_token(parser)
    parser.add_argument(
        "--metadata",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="what units ask for with MachineMetadata=; may be repeated",
    )
    parser.add_argument("--address", default="", help="where other machines reach this one")
    parser.add_argument(
        "--runtime",
        choices=[str(kind) for kind in RuntimeKind],
        default=str(RuntimeKind.AUTO),
        help="what runs the units (default auto: systemd where it runs this host)",
    )
    parser.add_argument(
        "--directory",
        type=places.path,
        metavar="DIR",
        help=f"where the agent keeps its things (default {MachineSettings().directory})",
    )
    parser.add_argument(
        "--machine-id",
        default="",
        metavar="ID",
        help="32 hex digits (default the host's, of /etc/machine-id)",
    )
    places.add_agent_settings(parser)
    parser.add_argument(
        "--again", action="store_true", help="also if this is a machine of a cluster already"
    )
    parser.add_argument(
        "--install", action="store_true", help="make a systemd service of it, and start that"
    )


def run(args: argparse.Namespace) -> int:
    if args.install:
        installing.require()
    endpoint = Endpoint.parse(args.url)
    if not endpoint.is_tls:
        raise Invalid("machines join over TLS only", hint="use https://HOST:7440")
    settings = _settings_of(args, str(endpoint))
    client = Client(endpoint, token=credentials.token(args, kind="machine"))
    with patience.told(args, f"joining at {endpoint}"):
        cluster = founding.join(settings, client, again=args.again)
    if not args.settings.exists():
        settings_file.write(args.settings, settings, comment=COMMENT)
    if args.install:
        with patience.told(args, "starting argosy-agent.service"):
            installing.install("argosy-agent")
    machine = host.machine_id(settings)
    if args.json:
        said = {"cluster": cluster, "machine": machine, "settings": str(args.settings)}
        print(json.dumps({**said, "running": args.install}))
        return exits.DONE
    print(f"joined the cluster {cluster} as machine {machine}")
    if not args.install:
        start = "" if args.settings == places.AGENT_SETTINGS else f" --settings {args.settings}"
        print(f"  -> argosy agent{start}")
    return exits.DONE


def _settings_of(args: argparse.Namespace, url: str) -> MachineSettings:
    """What the options say. Where there is a settings file already, that counts, and options are refused."""
    default = MachineSettings()
    said = MachineSettings(
        directory=args.directory or default.directory,
        runtime=RuntimeKind(args.runtime),
        machine_id=args.machine_id,
        address=args.address,
        metadata=_metadata(args.metadata),
    )
    if not args.settings.exists():
        return dataclasses.replace(said, servers=(url,))
    if said != default:
        raise Invalid(
            f"{args.settings} is there already: it says how this machine is, not options",
            hint=f"edit {args.settings}, then this command without options",
        )
    return settings_at(args.settings)


def _metadata(words: list[str]) -> dict[str, str]:
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not key or not equals:
            raise Invalid(f"{word!r} is no KEY=VALUE", hint="--metadata zone=a")
        found[key] = value
    return found
