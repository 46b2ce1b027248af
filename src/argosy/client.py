"""The HTTP API as Python calls: what the CLI speaks to a server with.

Synchronous, on `http.client` and the standard library alone, because every CLI verb pays for this module's import.
Answers are plain dicts with the names of `docs/reference/api.md` (the TypedDicts below say which); instants are ISO 8601
strings. Errors come back as the classes of `errors.py` that the server raised.

What surprises: each call has a connection of its own, so a client may be shared between threads and outlives a restart of
the server; and a write whose answer got lost is `Indeterminate`, never sent again.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Generic, Literal, NamedTuple, NotRequired, Self, TypedDict, TypeVar
from urllib.parse import quote, urlencode

from argosy import errors
from argosy.endpoint import SYSTEM_SOCKET, Login, login_path
from argosy.endpoint import Endpoint as Endpoint
from argosy.endpoint import state_dir as state_dir

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 60.0
SILENCE_SECONDS = 50.0
"""How long a stream may say nothing before it counts as broken: three of the server's signs of life, one each 15 s."""
CA_DIGITS = 32
"""Hex digits at the end of a token: the beginning of the digest of the authority's certificate (`pki/tokens.py`)."""
PAGE = 5000
SUN_PATH_BYTES = 107
"""Longest path that connect(2) takes for a unix socket: sun_path has 108 bytes with its NUL (unix(7))."""

Desired = Literal["inactive", "loaded", "launched"]


# --- what answers look like -----------------------------------------------------------------------------------------


class Refusal(TypedDict):
    rule: str
    detail: str
    machines: list[str]
    count: int


class Explanation(TypedDict):
    unit: str
    refusals: list[Refusal]
    summary: str
    remedy: str
    since: str | None


UnitView = TypedDict(
    "UnitView",
    {
        "name": str,
        "digest": str,
        "desired": Desired,
        "current": Desired,
        "generation": int,
        "app": str | None,
        "submitted_at": str | None,
        "description": str,
        "global": bool,
        "machines": list[str],
        "pending": Explanation | None,
    },
)


class UnitDetail(UnitView):
    variables: dict[str, str]
    text: str
    """Bytes that are not UTF-8 are shown as backslash escapes; `unit_text` gives the exact ones."""
    text_base64: NotRequired[str]


class StateView(TypedDict):
    """One unit on one machine, as its runtime saw it last."""

    machine: str
    name: str
    digest: str | None
    load: str
    active: str
    sub: str
    result: str
    exit_code: int | None
    exit_signal: str | None
    failed_command: str
    main_pid: int | None
    since: str | None
    restarts: int
    has_run: bool
    altered: str
    cut_off: bool
    released: int
    text: str
    last_lines: list[str]


class Capacity(TypedDict):
    memory_bytes: int
    cpu_millis: int


class MachineView(TypedDict):
    id: str
    hostname: str
    address: str
    metadata: dict[str, str]
    capacity: Capacity
    version: str
    registered_at: str | None
    state: Literal["ready", "suspect", "lost", "held", "cordoned", "draining", "drained"]
    why: str
    since: str | None
    scheduling: Literal["open", "cordoned", "drained"]
    until: str | None
    units: int


class EventView(TypedDict):
    key: str
    at: str
    kind: str
    unit: str
    machine: str
    message: str
    by: str


class PlacementView(TypedDict):
    machine: str
    reason: str
    placed_at: str | None


class Why(TypedDict):
    unit: UnitView
    placements: list[PlacementView]
    explanation: Explanation | None
    statuses: list[StateView]
    events: list[EventView]


class Change(TypedDict):
    name: str
    change: Literal["created", "changed", "unchanged", "destroyed", "desired"]
    diff: str | None


class Submitted(TypedDict):
    revision: int
    changes: list[Change]
    warnings: list[str]


class Touched(TypedDict):
    """The units that a change or a destruction was about, in order of name."""

    revision: int
    units: list[str]


class Diagnostic(TypedDict):
    file: str
    line: int
    column: int
    severity: Literal["error", "warning"]
    message: str
    hint: str


class Version(TypedDict):
    version: str
    cluster: str
    epoch: int
    revision: int
    api: int


class EngineStatus(TypedDict):
    name: str
    is_leading: bool
    sentence: str


class StoreStatus(TypedDict):
    revision: int
    compacted_revision: int
    keys: int
    bytes_used: int


class Status(TypedDict):
    leader: str | None
    engine: EngineStatus | None
    store: StoreStatus
    machines: int
    units: int


class LogLine(TypedDict):
    at: str
    unit: str
    machine: str
    stream: str
    text: str
    cursor: str


class Move(TypedDict):
    unit: str
    before: str
    after: str | None
    reason: str


class Staying(TypedDict):
    unit: str
    reason: str


class DrainPlan(TypedDict):
    revision: int
    moves: list[Move]
    staying: list[Staying]


class JournalLine(TypedDict):
    at: str
    unit: str
    priority: str
    text: str
    cursor: str


class Disk(TypedDict):
    path: str
    total_bytes: int
    free_bytes: int
    free_inodes_share: float


class Facts(TypedDict):
    machine: str
    at: str
    clock_ahead_seconds: float
    version: str
    runtime: str
    kernel: str
    booted_at: str | None
    load: list[float]
    memory_total_bytes: int
    memory_available_bytes: int
    disks: list[Disk]
    certificate_expires: str | None
    exec: bool


class TokenView(TypedDict):
    id: str
    kind: Literal["machine", "server", "person"]
    role: Literal["viewer", "deployer", "admin"] | None
    name: str
    created_at: str
    expires_at: str | None
    uses_left: int | None
    by: str


class CreatedToken(TypedDict):
    text: str
    token: TokenView


class Joined(TypedDict):
    certificate: str
    ca: str
    cluster: str
    servers: list[str]


class ServerJoined(TypedDict):
    ca: str
    ca_key: str
    cluster: str
    store: dict[str, Any]


class WatchItem(NamedTuple):
    """One thing that changed.

    kind: `ready` (first; nothing after its revision is missed), `unit`, `state`, `machine`, `event`.
    data: a UnitView, StateView, MachineView or EventView; or the name of what is gone, with `"deleted": true`.
    """

    kind: str
    revision: int
    data: dict[str, Any]


# --- what is sent ---------------------------------------------------------------------------------------------------


class Submission(NamedTuple):
    """A unit to submit.

    desired: None keeps what people want of it; a new unit is inactive then.
    variables: environment that goes with the text; other variables are another version of the unit.
    """

    name: str
    text: bytes
    desired: Desired | None = None
    variables: Mapping[str, str] = MappingProxyType({})


def unit_text(unit: UnitDetail) -> bytes:
    """The unit's exact text."""
    if "text_base64" in unit:
        return base64.b64decode(unit["text_base64"])
    return unit["text"].encode()


# --- calls ----------------------------------------------------------------------------------------------------------

T = TypeVar("T", covariant=True)
Query = list[tuple[str, str]]


class Stream(Generic[T]):
    """Items as the server sends them, until it or `close` ends the stream. Close it, or use it as a context.

    Iterating raises ServerUnreachable when the connection breaks or stays silent, and ends quietly after the
    `timeout_seconds` that were asked for.
    """

    def __init__(
        self,
        sock: socket.socket,
        response: http.client.HTTPResponse,
        parse: Callable[[Iterator[bytes]], Iterator[T]],
        timeout_seconds: float | None,
    ) -> None:
        self._socket = sock
        self._response = response
        self._deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        self._closed = False
        self._reading = threading.Lock()
        """Held while bytes are waited for: http.client does not bear to have its file closed under its hands."""
        self._items = parse(self._lines())

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        return next(self._items)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the stream; also from another thread, whose iteration then ends."""
        self._closed = True
        # Wakes a thread that waits in recv; close alone would leave it there.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with self._reading:
            self._response.close()
            self._socket.close()

    def _lines(self) -> Iterator[bytes]:
        rest = b""
        while True:
            try:
                data = self._read()
            except (OSError, ValueError, http.client.HTTPException) as problem:
                if self._closed or self._is_over():
                    return
                raise errors.ServerUnreachable(
                    f"the server's stream broke off: {_reason(problem)}", hint="try again"
                ) from problem
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            yield from lines

    def _read(self) -> bytes:
        wait = SILENCE_SECONDS
        if self._deadline is not None:
            wait = min(wait, max(self._deadline - time.monotonic(), 0.001))
        with self._reading:
            if self._closed:
                return b""
            self._socket.settimeout(wait)
            return self._response.read1(65536)

    def _is_over(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline


class Client:
    """Calls to one server. Every method raises the server's own errors, and ServerUnreachable when none answers."""

    def __init__(self, endpoint: Endpoint, *, token: str = "", ca: str = "") -> None:
        """ca: the certificate (PEM) of the authority to believe, where there is TLS. Without it the server is asked for
        its own, which is believed only if the token vouches for it.
        """
        self.endpoint = endpoint
        self._token = token
        self._ca = ca
        self._tls: ssl.SSLContext | None = None

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
    def ca(self) -> str:
        """Certificate (PEM) of the cluster's authority; asks the server for it if need be.

        Raises Unauthenticated when nothing vouches for the one that the server has.
        """
        if not self._ca:
            self._ca = self._introduced()
        return self._ca

    def is_there(self) -> bool:
        """Whether a server answers."""
        try:
            self.version()
        except errors.ServerUnreachable:
            return False
        return True

    def version(self) -> Version:
        answer: Version = self._call("GET", "/v1/version")
        return answer

    def status(self) -> Status:
        answer: Status = self._call("GET", "/v1/status")
        return answer

    def openapi(self) -> dict[str, Any]:
        answer: dict[str, Any] = self._call("GET", "/openapi.json")
        return answer

    def units(self, names: Iterable[str] = (), *, app: str | None = None) -> list[UnitView]:
        """All units, or those that match one of the globs, in order of name, as they were at one revision."""
        found: list[UnitView] = []
        query = [*_names(names), *_given(app=app), ("limit", str(PAGE))]
        after: str | None = None
        while True:
            page = self._call("GET", "/v1/units", query=[*query, *_given(after=after)])
            found += page["units"]
            after = page["after"]
            if after is None:
                return found

    def unit(self, name: str) -> UnitDetail:
        """One unit with its text. Raises NotFound."""
        answer: UnitDetail = self._call("GET", f"/v1/units/{quote(name, safe='')}")
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
        answer: Submitted = self._call("POST", "/v1/units", body=body)
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
        answer: Touched = self._call("PATCH", "/v1/units", body=body)
        return answer

    def destroy(self, names: Iterable[str]) -> Touched:
        """Take units out of the cluster, named or matched by globs: all or none. Raises NotFound as `change` does."""
        answer: Touched = self._call("DELETE", "/v1/units", body={"names": list(names)})
        return answer

    def states(self, names: Iterable[str] = (), *, machine: str | None = None) -> list[StateView]:
        """What runtimes report: one row per unit and machine, in order of name, then machine."""
        query = [*_names(names), *_given(machine=machine)]
        rows: list[StateView] = self._call("GET", "/v1/states", query=query)["states"]
        return rows

    def machines(self) -> list[MachineView]:
        rows: list[MachineView] = self._call("GET", "/v1/machines")["machines"]
        return rows

    def why(self, name: str) -> Why:
        """Where a unit is and for which reasons, or why it is nowhere. Raises NotFound."""
        answer: Why = self._call("GET", f"/v1/why/{quote(name, safe='')}")
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
        rows: list[EventView] = self._call("GET", "/v1/events", query=query)["events"]
        return rows

    def verify(self, units: Sequence[tuple[str, bytes]]) -> list[Diagnostic]:
        """Check units, given as name and text, together and against the cluster. Changes nothing."""
        body = {"units": [{"name": name, **_text_fields(text)} for name, text in units]}
        found: list[Diagnostic] = self._call("POST", "/v1/verify", body=body)["diagnostics"]
        return found

    def stop_cluster(self) -> None:
        """Ask an `argosy up` to stop everything and exit. Raises Unsupported where the server is not of that kind."""
        self._call("POST", "/v1/stop-cluster", body={})

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
        return self._stream("/v1/watch", query, _server_sent_events, timeout_seconds)

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
        return self._stream("/v1/logs", query, _json_lines, timeout_seconds)

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
        answer: MachineView = self._call("PATCH", _machine(machine), body=body)["machine"]
        return answer

    def remove_machine(self, machine: str) -> None:
        """Take it out of the cluster; its units move at once. Raises NotFound."""
        self._call("DELETE", _machine(machine))

    def plan_drain(self, machine: str) -> DrainPlan:
        answer: DrainPlan = self._call("GET", _machine(machine, "drain-plan"))
        return answer

    def plan_rebalance(self, *, budget: int) -> list[Move]:
        query = _given(budget=str(budget))
        moves: list[Move] = self._call("GET", "/v1/rebalance-plan", query=query)["moves"]
        return moves

    def ask_moves(self, moves: Iterable[tuple[str, str, str]]) -> None:
        """Ask for units to go to machines: unit, machine, reason each. Raises NotFound for what there is not."""
        body = {
            "moves": [
                {"unit": unit, "to": machine, "reason": reason} for unit, machine, reason in moves
            ]
        }
        self._call("POST", "/v1/moves", body=body)

    def facts(self, machine: str) -> Facts:
        """How the machine is, as its agent says now. Raises Temporary when it does not answer."""
        answer: Facts = self._call("GET", _machine(machine, "facts"))
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
        return self._stream(_machine(machine, "journal"), query, _told_lines, None)

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
        lines: Stream[dict[str, Any]] = self._stream(
            _machine(machine, "exec"), [], _told_lines, None, method="POST", body=body
        )
        return Execution(self, machine, lines)

    # --- of clusters --------------------------------------------------------------------------------------------

    def tokens(self) -> list[TokenView]:
        rows: list[TokenView] = self._call("GET", "/v1/tokens")["tokens"]
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
        answer: CreatedToken = self._call("POST", "/v1/tokens", body=body)
        return answer

    def revoke_token(self, token_id: str) -> TokenView:
        """Raises NotFound."""
        answer: TokenView = self._call("DELETE", f"/v1/tokens/{quote(token_id, safe='')}")
        return answer

    def join(self, *, machine: str, hostname: str, csr: str) -> Joined:
        """Join the cluster as a machine, with this client's token."""
        body = {"token": self._token, "machine": machine, "hostname": hostname, "csr": csr}
        answer: Joined = self._call("POST", "/v1/join", body=body)
        return answer

    def join_server(self, *, name: str, addresses: Sequence[str]) -> ServerJoined:
        """Join the cluster as a server, with this client's token: gives the key of the cluster's authority."""
        body = {"token": self._token, "name": name, "addresses": list(addresses)}
        answer: ServerJoined = self._call("POST", "/v1/join-server", body=body)
        return answer

    def backup(self) -> bytes:
        """All records of the cluster, as `store/backup.py` has them in a file."""
        response, answer = self._exchange("GET", "/v1/backup", [], None)
        if response.status != http.HTTPStatus.OK:
            self._decode(response, answer)
        return answer

    # --- how a call is made -------------------------------------------------------------------------------------

    def _call(self, method: str, path: str, *, query: Query | None = None, body: Any = None) -> Any:
        return self._decode(*self._exchange(method, path, query or [], body))

    def _exchange(
        self, method: str, path: str, query: Query, body: Any
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = self._connect()
        with contextlib.closing(connection):
            response = self._send(connection, method, path, query, body)
            try:
                return response, response.read()
            except (OSError, http.client.HTTPException) as problem:
                raise self._no_answer(method, problem) from problem

    def _stream(
        self,
        path: str,
        query: Query,
        parse: Callable[[Iterator[bytes]], Iterator[T]],
        timeout_seconds: float | None,
        *,
        method: str = "GET",
        body: Any = None,
    ) -> Stream[T]:
        connection = self._connect()
        # The connection forgets its socket once it knows that the answer is the last; the stream still needs it.
        sock: socket.socket = connection.sock
        try:
            response = self._send(connection, method, path, query, body)
            if response.status != http.HTTPStatus.OK:
                self._decode(response, response.read())
        except BaseException:
            connection.close()
            raise
        return Stream(sock, response, parse, timeout_seconds)

    def _send_again(self, connection: http.client.HTTPConnection, path: str, body: Any) -> None:
        """POST on a connection that stays open."""
        response = self._send(connection, "POST", path, [], body, is_last=False)
        try:
            answer = response.read()
        except (OSError, http.client.HTTPException) as problem:
            raise self._no_answer("POST", problem) from problem
        if response.status != http.HTTPStatus.NO_CONTENT:
            self._decode(response, answer)

    def _connect(self) -> http.client.HTTPConnection:
        at = self.endpoint
        if at.is_tls:
            if self._tls is None:
                self._tls = _trusting(self.ca)
            return self._connect_tls(self._tls)
        connection = http.client.HTTPConnection(at.host, at.port or None, timeout=CONNECT_SECONDS)
        try:
            if at.path:
                connection.sock = _connect_unix(at.path)
            else:
                connection.connect()
        except OSError as problem:
            hint = "start one: argosy up"
            if isinstance(problem, PermissionError):
                hint = f"use the account that the server runs under: ls -l {at.path}"
            elif at.path == str(SYSTEM_SOCKET):
                hint = "systemctl status argosy-server"
            raise errors.ServerUnreachable(
                f"no server answers at {at}: {_reason(problem)}", hint=hint
            ) from problem
        connection.sock.settimeout(ANSWER_SECONDS)
        return connection

    def _connect_tls(self, context: ssl.SSLContext) -> http.client.HTTPSConnection:
        at = self.endpoint
        connection = http.client.HTTPSConnection(
            at.host, at.port, timeout=CONNECT_SECONDS, context=context
        )
        try:
            connection.connect()
        except ssl.SSLCertVerificationError as problem:
            raise errors.ServerUnreachable(
                f"what answers at {at} does not prove that it is that server: {problem.verify_message}",
                hint=f"if the cluster was made anew: argosy login {at}",
            ) from problem
        except OSError as problem:
            raise errors.ServerUnreachable(
                f"no server answers at {at}: {_reason(problem)}",
                hint="is it the right address and port, and does the server run?",
            ) from problem
        connection.sock.settimeout(ANSWER_SECONDS)
        return connection

    def _introduced(self) -> str:
        """The certificate of the server's authority, fetched from whoever answers and believed for the token's sake."""
        _, _, digest = self._token.rpartition("_")
        if not self._token:
            raise errors.Unauthenticated(
                f"nothing says who you are at {self.endpoint}, nor whether that is the right server",
                hint=f"argosy login {self.endpoint}",
            )
        unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unverified.minimum_version = ssl.TLSVersion.TLSv1_3
        unverified.check_hostname = False
        unverified.verify_mode = ssl.CERT_NONE
        connection = self._connect_tls(unverified)
        with contextlib.closing(connection):
            try:
                # The token is not sent: nobody is believed yet.
                connection.request("GET", "/v1/ca", headers={"Connection": "close"})
                response = connection.getresponse()
                answer = self._decode(response, response.read())
            except (OSError, http.client.HTTPException) as problem:
                raise self._no_answer("GET", problem) from problem
        found = str(answer["certificate"])
        try:
            own = hashlib.sha256(ssl.PEM_cert_to_DER_cert(found)).hexdigest()
        except ValueError:
            own = ""
        is_whole = len(digest) == CA_DIGITS and bool(own)
        if not is_whole or not hmac.compare_digest(own[:CA_DIGITS].encode(), digest.encode()):
            raise errors.Unauthenticated(
                f"the server at {self.endpoint} is not of the cluster that the token is for",
                hint="check the URL, and that the token was copied whole; nothing was sent",
            )
        return found

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        query: Query,
        body: Any,
        *,
        is_last: bool = True,
    ) -> http.client.HTTPResponse:
        target = path + ("?" + urlencode(query) if query else "")
        headers = {"Accept": "*/*"}
        if is_last:
            headers["Connection"] = "close"
        if self.endpoint.is_tls and self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        try:
            # A server that refuses a request while it is still being sent has answered all the same.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, target, data, headers)
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as problem:
            raise self._no_answer(method, problem) from problem

    def _no_answer(self, method: str, problem: Exception) -> errors.Temporary:
        told = (
            f"the server at {self.endpoint} took the request but gave no answer: {_reason(problem)}"
        )
        if method == "GET":
            return errors.ServerUnreachable(told, hint="try again")
        return errors.Indeterminate(
            f"{told}; it may have been carried out", hint="look first: argosy list-unit-files"
        )

    def _decode(self, response: http.client.HTTPResponse, answer: bytes) -> Any:
        try:
            decoded = json.loads(answer)
            if response.status < http.HTTPStatus.BAD_REQUEST:
                return decoded
            error = decoded["error"]
            raise _error(response.status, error)
        except (ValueError, KeyError, TypeError):
            raise errors.ServerUnreachable(
                f"what answers at {self.endpoint} is not an Argosy server (status {response.status})",
                hint="check $ARGOSY_ENDPOINT",
            ) from None


class Output(NamedTuple):
    """What a command wrote, or how it ended: then `exit_code` is not None."""

    out: bytes = b""
    err: bytes = b""
    exit_code: int | None = None
    signal: str = ""


class Execution:
    """A command that runs on a machine. Iterate over its output; close it, or use it as a context, to end the command.

    Input is sent on a connection that stays open, since each key that is pressed is a request.
    """

    def __init__(self, client: Client, machine: str, lines: Stream[dict[str, Any]]) -> None:
        self._client = client
        self._lines = lines
        self._connection: http.client.HTTPConnection | None = None
        try:
            self._path = _machine(machine, f"exec/{next(lines)['id']}/input")
        except BaseException:
            lines.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Output]:
        """Raises what the machine says is wrong, and ServerUnreachable when the stream breaks."""
        for line in self._lines:
            yield Output(
                base64.b64decode(line.get("out", "")),
                base64.b64decode(line.get("err", "")),
                line.get("exit_code"),
                line.get("signal", ""),
            )

    def send(self, data: bytes = b"", *, is_end: bool = False) -> None:
        """Send input; waits while the command does not read. Raises NotFound when it has ended. One thread at a time."""
        self._send({"data": base64.b64encode(data).decode(), "end": is_end})

    def resize(self, rows: int, columns: int) -> None:
        self._send({"rows": rows, "columns": columns})

    def close(self) -> None:
        """End the command if it still runs; also from another thread."""
        self._lines.close()
        if self._connection is not None:
            self._connection.close()

    def _send(self, body: Any) -> None:
        if self._connection is None:
            self._connection = self._client._connect()  # noqa: SLF001 - of one module
            self._connection.sock.settimeout(None)  # a command may take its time to read
        self._client._send_again(self._connection, self._path, body)  # noqa: SLF001


def _trusting(ca: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(cadata=ca)
    except (ssl.SSLError, ValueError):
        raise errors.Invalid(
            "the certificate of the cluster's authority cannot be read", hint="argosy login URL"
        ) from None
    return context


def _connect_unix(path: str) -> socket.socket:
    """Raises OSError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(CONNECT_SECONDS)
        if len(os.fsencode(path)) <= SUN_PATH_BYTES:
            sock.connect(path)
            return sock
        directory = os.open(os.path.dirname(path), os.O_PATH | os.O_CLOEXEC)  # noqa: PTH120
        try:
            sock.connect(f"/proc/self/fd/{directory}/{os.path.basename(path)}")  # noqa: PTH119
        finally:
            os.close(directory)
        return sock
    except BaseException:
        sock.close()
        raise


def _error(status: int, error: Mapping[str, Any]) -> errors.ArgosyError:
    """The class that the server raised; for one that this client does not know, the nearest for the status."""
    return errors.named(
        str(error["kind"]),
        str(error["message"]),
        hint=str(error.get("hint") or ""),
        problems=tuple(str(problem) for problem in error.get("problems") or ()),
        otherwise=_BY_STATUS.get(status, errors.Invalid if status < 500 else errors.Permanent),
    )


_BY_STATUS: Mapping[int, type[errors.ArgosyError]] = {
    404: errors.NotFound,
    409: errors.Conflict,
    503: errors.Temporary,
}


def _reason(problem: Exception) -> str:
    if isinstance(problem, TimeoutError):
        return "no answer in time"
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    if isinstance(problem, http.client.RemoteDisconnected | http.client.IncompleteRead):
        return "the connection was closed"
    return str(problem) or type(problem).__name__


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


def _told_lines(lines: Iterator[bytes]) -> Iterator[Any]:
    """Lines of JSON; one that has a problem is raised."""
    for line in lines:
        if not line:
            continue
        item = json.loads(line)
        if problem := item.get("problem"):
            raise _error(0, problem)
        yield item


def _json_lines(lines: Iterator[bytes]) -> Iterator[LogLine]:
    return (json.loads(line) for line in lines if line)


def _server_sent_events(lines: Iterator[bytes]) -> Iterator[WatchItem]:
    """Source: the HTML standard, 9.2.6; of it what our server sends: one `data` line, `id`, `event`, comments."""
    fields: dict[bytes, bytes] = {}
    for line in lines:
        name, _, value = line.partition(b": ")
        if name:
            fields[name] = value
            continue
        if b"data" in fields:
            data = json.loads(fields[b"data"])
            kind = fields[b"event"].decode()
            if kind == "end":
                raise errors.ServerUnreachable(
                    f"the server ended the stream: {data['reason']}", hint="try again"
                )
            yield WatchItem(kind, int(fields.get(b"id", b"0")), data)
        fields = {}
