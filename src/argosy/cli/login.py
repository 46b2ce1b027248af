"""Log in at a cluster: from then on every verb speaks to it from this account.

URL is any of its servers; an admin makes the token by argosy token create person. It is kept in a file that only you can
read, with the certificate of the cluster's authority, which is the only one that is believed.
"""

from __future__ import annotations

import argparse
import json

from argosy.cli import credentials, exits
from argosy.client import Client, Endpoint
from argosy.endpoint import Login, login_path
from argosy.errors import Invalid


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", help="a server of the cluster: https://HOST:7440")
    credentials.add_token(parser)


def run(args: argparse.Namespace) -> int:
    endpoint = Endpoint.parse(args.url)
    if not endpoint.is_tls:
        raise Invalid(f"nobody has to log in at {endpoint}", hint=f"argosy --endpoint {endpoint}")
    token = credentials.token(args, kind="person")
    client = Client(endpoint, token=token)
    client.status()  # refused here, not at the next command
    cluster = client.version()["cluster"]
    path = login_path()
    Login(endpoint=str(endpoint), token=token, ca=client.ca).write(path)
    if args.json:
        print(json.dumps({"endpoint": str(endpoint), "cluster": cluster, "file": str(path)}))
    else:
        print(f"logged in at {endpoint}, cluster {cluster}\n  -> argosy list-machines")
    return exits.DONE
