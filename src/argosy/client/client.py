"""A method for each route."""

from __future__ import annotations

import base64
import http.client
import os
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import quote

from argosy import errors
from argosy.client.calls import Calls, Query
from argosy.client.connecting import Connector
from argosy.client.execution import Execution
from argosy.client.problems import decode
from argosy.client.shapes import (
    CreatedToken,
    Desired,
    Diagnostic,
    DrainPlan,
    EventView,
    Facts,
    Health,
    Joined,
    JournalLine,
    LogLine,
    MachineView,
    Move,
    ServerJoined,
    StateView,
    Status,
    Submission,
    Submitted,
    TokenView,
    Touched,
    UnitDetail,
    UnitView,
    Version,
    WatchItem,
    Why,
)
from argosy.client.streams import Stream, json_lines, server_sent_events, told_lines
from argosy.endpoint import SYSTEM_SOCKET, Endpoint, Login, login_path, state_dir

PAGE = 5000


class Client:
    """Calls to one server. Every method raises the server's own errors, and ServerUnreachable when none answers."""

    def __init__(self, endpoint: Endpoint, *, token: str = "", ca: str = "") -> None:
        """ca: the certificate (PEM) of the authority to believe, where there is TLS. Without it the server is asked for
        its own, which is believed only if the token vouches for it.
        """
        self._token = token
        self._calls = Calls(Connector(endpoint, token=token, ca=ca))

    @classmethod
    def find(cls, endpoint: str | None = None, environ: Mapping[str, str] = os.environ) -> Client:
        """The server named by `endpoint`, else by $ARGOSY_ENDPOINT, else the one that the person is logged in at, else
        their own `argosy up`, else the server of this host. Connects to nothing yet.

        Raises Invalid for an endpoint that is none, and for a damaged login.
        """
        if named := endpoint or environ.get("ARGOSY_ENDPOINT"):
            return cls._at(Endpoint.parse(named), environ)
        login = Login.read(login_path(environ))
        if login is not None:
            return cls(Endpoint.parse(login.endpoint), token=login.token, ca=login.ca)
        own = state_dir(environ) / "argosy.sock"
        if not own.exists() and SYSTEM_SOCKET.exists():
            return cls(Endpoint(path=str(SYSTEM_SOCKET)))
        return cls(Endpoint(path=str(own)))

    @classmethod
    def of_this_user(
        cls, endpoint: str | None = None, environ: Mapping[str, str] = os.environ
    ) -> Client:
        """As `find`, but nothing else than the user's own `argosy up` where no endpoint is named."""
        if named := endpoint or environ.get("ARGOSY_ENDPOINT"):
            return cls._at(Endpoint.parse(named), environ)
        return cls(Endpoint(path=str(state_dir(environ) / "argosy.sock")))

    @classmethod
    def _at(cls, endpoint: Endpoint, environ: Mapping[str, str]) -> Client:
        if not endpoint.is_tls:
            return cls(endpoint)
        login = Login.read(login_path(environ))
        if login is None or login.endpoint != str(endpoint):
            return cls(endpoint, token=environ.get("ARGOSY_TOKEN", ""))
        return cls(endpoint, token=environ.get("ARGOSY_TOKEN") or login.token, ca=login.ca)

    @property
    def endpoint(self) -> Endpoint:
        return self._calls.endpoint

    @property
    def ca(self) -> str:
        """Certificate (PEM) of the cluster's authority; asks the server for it if need be.

        Raises Unauthenticated when nothing vouches for the one that the server has.
        """
        return self._calls.connector.ca

    def is_there(self) -> bool:
        """Whether a server answers."""
        try:
            self.version()
        except errors.ServerUnreachable:
            return False
        return True

    def version(self) -> Version:
        answer: Version = self._calls.call("GET", "/v1/version")
        return answer

    def status(self) -> Status:
        answer: Status = self._calls.call("GET", "/v1/status")
        return answer

    def health(self) -> Health:
        """How the server, its store and its certificates are at this moment. Raises NotFound from an older server."""
        answer: Health = self._calls.call("GET", "/v1/health")
        return answer

    def openapi(self) -> dict[str, Any]:
        answer: dict[str, Any] = self._calls.call("GET", "/openapi.json")
        return answer

    def units(self, names: Iterable[str] = (), *, app: str | None = None) -> list[UnitView]:
        """All units, or those that match one of the globs, in order of name, as they were at one revision."""
        found: list[UnitView] = []
        query = [*_names(names), *_given(app=app), ("limit", str(PAGE))]
        after: str | None = None
        while True:
            page = self._calls.call("GET", "/v1/units", query=[*query, *_given(after=after)])
            found += page["units"]
            after = page["after"]
            if after is None:
                return found

    def unit(self, name: str) -> UnitDetail:
        """One unit with its text. Raises NotFound."""
        answer: UnitDetail = self._calls.call("GET", f"/v1/units/{quote(name, safe='')}")
        return answer

    def submit(
        self,
        units: Sequence[Submission],
        *,
        app: str | None = None,
        prune: bool = False,
        replace: bool = False,
        dry_run: bool = False,
        expect_revision: int | None = None,
    ) -> Submitted:
        """Create or change units, all of them or none.

        app: the directory they belong to; with prune the app's units that are not among them are destroyed.
        replace: else a unit that exists with another text raises AlreadyExists.
        dry_run: check everything, say what would change, change nothing.
        expect_revision: raises StaleRevision when the units or texts have changed since that revision.
        Raises Invalid with `problems`, one line per diagnostic.
        """
        body = {
            "units": [
                {
                    "name": unit.name,
                    **_text_fields(unit.text),
                    "desired": unit.desired,
                    "variables": dict(unit.variables),
                }
                for unit in units
            ],
            "app": app,
            "prune": prune,
            "replace": replace,
            "dry_run": dry_run,
            "expect_revision": expect_revision,
        }
        answer: Submitted = self._calls.call("POST", "/v1/units", body=body)
        return answer

    def change(
        self,
        names: Iterable[str],
        *,
        desired: Desired | None = None,
        start: bool = False,
        restart: bool = False,
    ) -> Touched:
        """Change what is wanted of units, named or matched by globs: all of them or none.

        start: launched, and started anew where it is not running. restart: started anew in any case; a unit that is not
        wanted launched stays as it is and is not in the answer.
        Raises NotFound when a name or glob matches nothing.
        """
        body = {"names": list(names), "desired": desired, "start": start, "restart": restart}
        answer: Touched = self._calls.call("PATCH", "/v1/units", body=body)
        return answer

    def destroy(self, names: Iterable[str]) -> Touched:
        """Take units out of the cluster, named or matched by globs: all or none. Raises NotFound as `change` does."""
        answer: Touched = self._calls.call("DELETE", "/v1/units", body={"names": list(names)})
        return answer

    def states(self, names: Iterable[str] = (), *, machine: str | None = None) -> list[StateView]:
        """What runtimes report: one row per unit and machine, in order of name, then machine."""
        query = [*_names(names), *_given(machine=machine)]
        rows: list[StateView] = self._calls.call("GET", "/v1/states", query=query)["states"]
        return rows

    def machines(self) -> list[MachineView]:
        rows: list[MachineView] = self._calls.call("GET", "/v1/machines")["machines"]
        return rows

    def why(self, name: str) -> Why:
        """Where a unit is and for which reasons, or why it is nowhere. Raises NotFound."""
        answer: Why = self._calls.call("GET", f"/v1/why/{quote(name, safe='')}")
        return answer

    def events(
        self,
        *,
        unit: str | None = None,
        machine: str | None = None,
        kind: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> list[EventView]:
        """The newest `limit` events, oldest first; with `after` (an event's key) the first `limit` events behind it."""
        query = _given(unit=unit, machine=machine, kind=kind, limit=str(limit), after=after)
        rows: list[EventView] = self._calls.call("GET", "/v1/events", query=query)["events"]
        return rows

    def verify(self, units: Sequence[tuple[str, bytes]]) -> list[Diagnostic]:
        """Check units, given as name and text, together and against the cluster. Changes nothing."""
        body = {"units": [{"name": name, **_text_fields(text)} for name, text in units]}
        found: list[Diagnostic] = self._calls.call("POST", "/v1/verify", body=body)["diagnostics"]
        return found

    def stop_cluster(self) -> None:
        """Ask an `argosy up` to stop everything and exit. Raises Unsupported where the server is not of that kind."""
        self._calls.call("POST", "/v1/stop-cluster", body={})

    def watch(
        self,
        names: Iterable[str] = (),
        *,
        since: int | None = None,
        timeout_seconds: float | None = None,
    ) -> Stream[WatchItem]:
        """Changes as they happen; the first item is `ready`, and nothing after its revision is missed.

        names: globs of the units to hear of; machines and their events are always told.
        since: tell also what changed after that revision; raises Conflict when that is too long ago.
        timeout_seconds: end quietly after so long.
        """
        query = [*_names(names), *_given(since=None if since is None else str(since))]
        return self._calls.stream("/v1/watch", query, server_sent_events, timeout_seconds)

    def logs(
        self,
        names: Iterable[str] = (),
        *,
        lines: int = 100,
        follow: bool = False,
        after: str | None = None,
        machine: str | None = None,
        timeout_seconds: float | None = None,
    ) -> Stream[LogLine]:
        """Lines of the units that match, merged by time: the last `lines`, or all behind the cursor `after`; with
        `follow` it goes on with new lines until either side ends it. Raises NotFound when a name matches no unit.
        """
        query = [
            *_names(names),
            *_given(lines=str(lines), follow="1" if follow else "0", after=after, machine=machine),
        ]
        return self._calls.stream("/v1/logs", query, json_lines, timeout_seconds)

    # --- machines -----------------------------------------------------------------------------------------------

    def order_machine(
        self,
        machine: str,
        *,
        scheduling: Literal["open", "cordoned", "drained"] | None = None,
        for_seconds: int | None = None,
        reason: str = "",
        metadata: Mapping[str, str] = MappingProxyType({}),
        without: Iterable[str] = (),
        forget: Iterable[str] = (),
    ) -> MachineView:
        """Change what a machine is for, and its metadata; what is not given stays. Raises NotFound.

        for_seconds: open again after so long. metadata, without: win over what the machine's agent says; forget: have
        again what it says.
        """
        body = {
            "scheduling": scheduling,
            "for_seconds": for_seconds,
            "reason": reason,
            "metadata": dict(metadata),
            "without": list(without),
            "forget": list(forget),
        }
        answer: MachineView = self._calls.call("PATCH", _machine(machine), body=body)["machine"]
        return answer

    def remove_machine(self, machine: str) -> None:
        """Take it out of the cluster; its units move at once. Raises NotFound."""
        self._calls.call("DELETE", _machine(machine))

    def plan_drain(self, machine: str) -> DrainPlan:
        answer: DrainPlan = self._calls.call("GET", _machine(machine, "drain-plan"))
        return answer

    def plan_rebalance(self, *, budget: int) -> list[Move]:
        query = _given(budget=str(budget))
        moves: list[Move] = self._calls.call("GET", "/v1/rebalance-plan", query=query)["moves"]
        return moves

    def ask_moves(self, moves: Iterable[tuple[str, str, str]]) -> None:
        """Ask for units to go to machines: unit, machine, reason each. Raises NotFound for what there is not."""
        body = {
            "moves": [
                {"unit": unit, "to": machine, "reason": reason} for unit, machine, reason in moves
            ]
        }
        self._calls.call("POST", "/v1/moves", body=body)

    def facts(self, machine: str) -> Facts:
        """How the machine is, as its agent says now. Raises Temporary when it does not answer."""
        answer: Facts = self._calls.call("GET", _machine(machine, "facts"))
        return answer

    def journal(
        self,
        machine: str,
        *,
        unit: str = "",
        lines: int = 100,
        follow: bool = False,
        after: str = "",
        since: str | None = None,
        priority: str = "",
    ) -> Stream[JournalLine]:
        """The machine's own journal: the last `lines`, or all behind the cursor `after`. The stream raises what the machine
        says is wrong.
        """
        query = _given(
            unit=unit or None,
            lines=str(lines),
            follow="1" if follow else "0",
            after=after or None,
            since=since,
            priority=priority or None,
        )
        return self._calls.stream(_machine(machine, "journal"), query, told_lines, None)

    def exec(
        self,
        machine: str,
        argv: Sequence[str],
        *,
        terminal: bool = False,
        rows: int = 24,
        columns: int = 80,
        term: str = "",
    ) -> Execution:
        """Run a command on a machine, as its agent's user."""
        body = {
            "argv": list(argv),
            "terminal": terminal,
            "rows": rows,
            "columns": columns,
            "term": term,
        }
        path = _machine(machine, "exec")
        lines: Stream[dict[str, Any]] = self._calls.stream(
            path, [], told_lines, None, method="POST", body=body
        )
        return Execution(self._calls, path, lines)

    # --- of clusters --------------------------------------------------------------------------------------------

    def tokens(self) -> list[TokenView]:
        rows: list[TokenView] = self._calls.call("GET", "/v1/tokens")["tokens"]
        return rows

    def create_token(
        self,
        kind: str,
        *,
        role: str | None = None,
        name: str = "",
        uses: int | None = None,
        expires_in_seconds: int | None = None,
        never_expires: bool = False,
    ) -> CreatedToken:
        """Make a token; its secret is in this answer only. What is not given is as the server has it by default."""
        body: dict[str, Any] = {"kind": kind, "name": name}
        if role is not None:
            body["role"] = role
        if uses is not None:
            body["uses"] = uses
        if expires_in_seconds is not None or never_expires:
            body["expires_in_seconds"] = expires_in_seconds
        answer: CreatedToken = self._calls.call("POST", "/v1/tokens", body=body)
        return answer

    def revoke_token(self, token_id: str) -> TokenView:
        """Raises NotFound."""
        answer: TokenView = self._calls.call("DELETE", f"/v1/tokens/{quote(token_id, safe='')}")
        return answer

    def join(self, *, machine: str, hostname: str, csr: str) -> Joined:
        """Join the cluster as a machine, with this client's token."""
        body = {"token": self._token, "machine": machine, "hostname": hostname, "csr": csr}
        answer: Joined = self._calls.call("POST", "/v1/join", body=body)
        return answer

    def join_server(self, *, name: str, addresses: Sequence[str]) -> ServerJoined:
        """Join the cluster as a server, with this client's token: gives the key of the cluster's authority."""
        body = {"token": self._token, "name": name, "addresses": list(addresses)}
        answer: ServerJoined = self._calls.call("POST", "/v1/join-server", body=body)
        return answer

    def backup(self) -> bytes:
        """All records of the cluster, as `store/backup.py` has them in a file."""
        response, answer = self._calls.exchange("GET", "/v1/backup", [], None)
        if response.status != http.HTTPStatus.OK:
            decode(self.endpoint, response, answer)
        return answer


def _names(names: Iterable[str]) -> Query:
    return [("name", name) for name in names]


def _given(**parameters: str | None) -> Query:
    return [(name, value) for name, value in parameters.items() if value is not None]


def _text_fields(text: bytes) -> dict[str, str]:
    try:
        return {"text": text.decode()}
    except UnicodeDecodeError:
        return {"text_base64": base64.b64encode(text).decode()}


def _machine(machine: str, what: str = "") -> str:
    return f"/v1/machines/{quote(machine, safe='')}" + (f"/{what}" if what else "")
