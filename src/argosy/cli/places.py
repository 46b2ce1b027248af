"""Options that say where a daemon's settings are, and which store a server has."""

from __future__ import annotations

import argparse
from pathlib import Path

from argosy.errors import Invalid
from argosy.settings import EtcdSettings, StoreKind, StoreSettings

SERVER_SETTINGS = Path("/etc/argosy/server.toml")
AGENT_SETTINGS = Path("/etc/argosy/agent.toml")


def add_server_settings(parser: argparse.ArgumentParser) -> None:
    _add(parser, SERVER_SETTINGS)


def add_agent_settings(parser: argparse.ArgumentParser) -> None:
    _add(parser, AGENT_SETTINGS)


def _add(parser: argparse.ArgumentParser, default: Path) -> None:
    parser.add_argument(
        "--settings",
        type=path,
        default=default,
        metavar="FILE",
        help=f"the settings file (default {default})",
    )


def path(text: str) -> Path:
    return Path(text).absolute()


def add_etcd(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where the records are")
    group.add_argument(
        "--etcd",
        action="append",
        default=[],
        metavar="URL",
        help="client URL of a member of etcd, https://HOST:2379; once for each member",
    )
    group.add_argument("--etcd-prefix", metavar="KEY", help="what every key in etcd begins with")
    group.add_argument(
        "--etcd-ca", type=path, metavar="FILE", help="certificates that sign those of the members"
    )
    group.add_argument("--etcd-cert", type=path, metavar="FILE", help="certificate shown to etcd")
    group.add_argument("--etcd-key", type=path, metavar="FILE", help="its key")
    group.add_argument("--etcd-user", metavar="NAME", help="user, for password authentication")
    group.add_argument(
        "--etcd-password-file", type=path, metavar="FILE", help="file with the user's password"
    )


def etcd_of(args: argparse.Namespace) -> EtcdSettings:
    """What the options of `add_etcd` say."""
    return EtcdSettings(
        endpoints=tuple(args.etcd),
        prefix=args.etcd_prefix or EtcdSettings().prefix,
        ca_file=args.etcd_ca,
        cert_file=args.etcd_cert,
        key_file=args.etcd_key,
        username=args.etcd_user,
        password_file=args.etcd_password_file,
    )


def store_of(args: argparse.Namespace) -> StoreSettings:
    """The store that the options name: SQLite if they name no etcd. Raises Invalid when they are half said."""
    etcd = etcd_of(args)
    if etcd.endpoints:
        return StoreSettings(kind=StoreKind.ETCD, etcd=etcd)
    if etcd != EtcdSettings():
        raise Invalid("options for etcd are given, but not where it is", hint="add --etcd URL")
    return StoreSettings()
