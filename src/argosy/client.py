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
import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, Literal, NamedTuple, NotRequired, Self, TypedDict, TypeVar
from urllib.parse import quote, unquote, urlencode, urlsplit

from argosy import errors

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 60.0
SILENCE_SECONDS = 50.0
"""How long a stream may say nothing before it counts as broken: three of the server's signs of life, one each 15 s."""
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
    state: Literal["ready", "absent"]
    since: str | None
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


# --- where the server is --------------------------------------------------------------------------------------------


def state_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Where one user's server keeps its store and its socket: $ARGOSY_STATE_DIR, else `argosy` in the XDG state directory.

    Source: XDG Base Directory Specification 0.8; a relative $XDG_STATE_HOME is ignored, as it says.
    """
    if own := environ.get("ARGOSY_STATE_DIR"):
        return Path(own).absolute()
    base = environ.get("XDG_STATE_HOME", "")
    if base.startswith("/"):
        return Path(base) / "argosy"
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    return home / ".local/state/argosy"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A unix socket (`path`) or a TCP address (`host` and `port`)."""

    path: str = ""
    host: str = "localhost"
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """From `unix:///path/of/socket` or `http://127.0.0.1:port`. Raises Invalid."""
        wrong = errors.Invalid(
            f"{text!r} is not an endpoint",
            hint="use unix:///path/of/socket or http://127.0.0.1:PORT",
        )
        try:
            url = urlsplit(text)
            port = url.port
        except ValueError:
            raise wrong from None
        if url.scheme == "unix" and not url.netloc and url.path.startswith("/"):
            return cls(path=unquote(url.path))
        has_more = url.path not in ("", "/") or url.query or url.fragment or "@" in url.netloc
        if url.scheme == "http" and url.hostname and port and not has_more:
            return cls(host=url.hostname, port=port)
        raise wrong

    def __str__(self) -> str:
        if self.path:
            return "unix://" + quote(self.path)
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


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

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    @classmethod
    def find(cls, endpoint: str | None = None, environ: Mapping[str, str] = os.environ) -> Client:
        """The server named by `endpoint`, else by $ARGOSY_ENDPOINT, else the user's own socket. Connects to nothing yet.

        Raises Invalid for an endpoint that is none.
        """
        named = endpoint or environ.get("ARGOSY_ENDPOINT")
        if named:
            return cls(Endpoint.parse(named))
        return cls(Endpoint(path=str(state_dir(environ) / "argosy.sock")))

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

    # --- how a call is made -------------------------------------------------------------------------------------

    def _call(self, method: str, path: str, *, query: Query | None = None, body: Any = None) -> Any:
        connection = self._connect()
        with contextlib.closing(connection):
            response = self._send(connection, method, path, query or [], body)
            try:
                answer = response.read()
            except (OSError, http.client.HTTPException) as problem:
                raise self._no_answer(method, problem) from problem
        return self._decode(response, answer)

    def _stream(
        self,
        path: str,
        query: Query,
        parse: Callable[[Iterator[bytes]], Iterator[T]],
        timeout_seconds: float | None,
    ) -> Stream[T]:
        connection = self._connect()
        # The connection forgets its socket once it knows that the answer is the last; the stream still needs it.
        sock: socket.socket = connection.sock
        try:
            response = self._send(connection, "GET", path, query, None)
            if response.status != http.HTTPStatus.OK:
                self._decode(response, response.read())
        except BaseException:
            connection.close()
            raise
        return Stream(sock, response, parse, timeout_seconds)

    def _connect(self) -> http.client.HTTPConnection:
        at = self.endpoint
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
            raise errors.ServerUnreachable(
                f"no server answers at {at}: {_reason(problem)}", hint=hint
            ) from problem
        connection.sock.settimeout(ANSWER_SECONDS)
        return connection

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        query: Query,
        body: Any,
    ) -> http.client.HTTPResponse:
        target = path + ("?" + urlencode(query) if query else "")
        headers = {"Accept": "*/*", "Connection": "close"}
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
