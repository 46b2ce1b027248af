"""Where a server is, and how to be let in there: endpoints as people write them, and what `argosy login` keeps.

A person's login is one file that only they can read: the server's URL, their token, and the certificate of the cluster's
authority, which is the only one that is believed. The standard library alone, because every CLI verb pays for the import.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import quote, unquote, urlsplit

from argosy import errors

SYSTEM_SOCKET = Path("/run/argosy/argosy.sock")
"""Of the server of this host."""
MAX_LOGIN_BYTES = 64 * 1024


def state_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Where one user's server keeps its store and its socket: $ARGOSY_STATE_DIR, else `argosy` in the XDG state directory.

    Source: XDG Base Directory Specification 0.8; a relative $XDG_STATE_HOME is ignored, as it says.
    """
    if own := environ.get("ARGOSY_STATE_DIR"):
        return Path(own).absolute()
    base = environ.get("XDG_STATE_HOME", "")
    if base.startswith("/"):
        return Path(base) / "argosy"
    return _home(environ) / ".local/state/argosy"


def login_path(environ: Mapping[str, str] = os.environ) -> Path:
    base = environ.get("XDG_CONFIG_HOME", "")
    config = Path(base) if base.startswith("/") else _home(environ) / ".config"
    return config / "argosy/login.json"


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ["HOME"]) if environ.get("HOME") else Path.home()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A unix socket (`path`), or a TCP address (`host` and `port`) with TLS or on loopback without."""

    path: str = ""
    host: str = "localhost"
    port: int = 0
    is_tls: bool = False

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """From `unix:///path/of/socket`, `https://HOST:PORT` or `http://127.0.0.1:PORT`. Raises Invalid."""
        wrong = errors.Invalid(
            f"{text!r} is not an endpoint",
            hint="use https://HOST:7440, unix:///path/of/socket or http://127.0.0.1:PORT",
        )
        try:
            url = urlsplit(text)
            port = url.port
        except ValueError:
            raise wrong from None
        if url.scheme == "unix" and not url.netloc and url.path.startswith("/"):
            return cls(path=unquote(url.path))
        has_more = url.path not in ("", "/") or url.query or url.fragment or "@" in url.netloc
        if url.scheme in ("http", "https") and url.hostname and port and not has_more:
            return cls(host=url.hostname, port=port, is_tls=url.scheme == "https")
        raise wrong

    def __str__(self) -> str:
        if self.path:
            return "unix://" + quote(self.path)
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.is_tls else 'http'}://{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """How a person is let in."""

    endpoint: str
    token: str = field(repr=False)
    ca: str
    """PEM."""

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """None when nobody is logged in. Raises Invalid when the file is damaged, or others can read it."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise errors.Invalid(f"{path}: {problem.strerror}", hint=f"ls -l {path}") from None
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor is no path
            found = os.fstat(file.fileno())
            data = file.read(MAX_LOGIN_BYTES)
        if found.st_mode & 0o077 or found.st_uid != os.geteuid():
            raise errors.Invalid(
                f"{path} has your token and can be read by others", hint=f"chmod 600 {path}"
            )
        try:
            values = json.loads(data)
            own = cls(
                endpoint=str(values["endpoint"]), token=str(values["token"]), ca=str(values["ca"])
            )
            Endpoint.parse(own.endpoint)
        except (ValueError, KeyError, TypeError, errors.Invalid):
            raise errors.Invalid(
                f"{path} is damaged", hint="log in again: argosy login URL"
            ) from None
        return own

    def write(self, path: Path) -> None:
        """Replace the file, for its owner alone. Raises OSError."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, made = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
        try:
            with open(descriptor, "w") as file:  # noqa: PTH123 - a descriptor is no path
                json.dump({"endpoint": self.endpoint, "token": self.token, "ca": self.ca}, file)
            Path(made).replace(path)
        except BaseException:
            Path(made).unlink(missing_ok=True)
            raise
