"""The agent's link over HTTPS: several servers, of which it speaks to one until that one does not answer.

Reports are the heartbeat: they share a connection that stays open. The stream of assignments has its own, to the same
server, and is cut when the agent moves on. Questions come from every server (`questions_of`), because a person's request
may reach any of them.

A report counts only for the registration that it names (`Report.session`): after moving on, or when a registration got no
answer, every report fails until the machine has registered anew.
"""

from __future__ import annotations

import hashlib
import ssl
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from typing import TypeVar

import msgspec

from argosy.agent.http_client import HttpClient, decoded
from argosy.agent.servers import Servers
from argosy.errors import NotFound, ServerUnreachable, Temporary
from argosy.model.ids import Digest
from argosy.model.link import Delivery, Registered, Report, ServerList
from argosy.model.machine import Machine
from argosy.model.question import Answer, Input, Question

T = TypeVar("T")

PROTOCOL = 1
CALL_SECONDS = 3.0
"""How long a server may take for a heartbeat or a text: three of them are less than a machine may be silent."""
WRITE_SECONDS = 8.0
"""... for a registration, and for a report that makes it write."""
ANSWER_SECONDS = 60.0
"""... for a batch of an answer, which waits for whoever reads it."""
REPORT_BYTES = 3 * 1024 * 1024
"""A larger report is sent in several; a server takes 4 MiB at once."""
NO_SESSION = "none"
HOLDER = "argosy-holder"
"""Header that tells the servers this machine from a copy of it."""


class HttpsLink:
    """`agent.link.ServerLink`, and with `questions_of` also `agent.questions.QuestionLink`.

    holder: tells this machine, in this boot, from another with its id.
    context: TLS with the machine's certificate; `use` replaces it.
    """

    def __init__(self, servers: Servers, context: ssl.SSLContext, *, holder: str) -> None:
        self._servers = servers
        self._client = HttpClient(context, headers=[(HOLDER, holder)])
        self._holder = holder
        self._session = NO_SESSION
        self._registered_at = ""

    def use(self, context: ssl.SSLContext) -> None:
        """Show another certificate from now on. Streams go on until the server ends them."""
        self._client.use(context)

    def close(self) -> None:
        """Let go of all connections."""
        self._client.close()

    # --- ServerLink ---------------------------------------------------------------------------------------------

    async def register(self, machine: Machine) -> Registered:
        """Tries each server once."""
        # One that gives no answer may have been taken all the same: nothing before it counts any more.
        self._session = NO_SESSION
        asked = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        body = msgspec.json.encode(
            {"machine": machine, "holder": self._holder, "asked": asked, "protocol": PROTOCOL}
        )
        for attempt in range(1, len(self._servers.all) + 1):
            url = self._servers.current
            try:
                answer = await self._client.call(
                    url, "PUT", "/v1/agent/machine", body, seconds=WRITE_SECONDS
                )
                registered = decoded(answer, Registered, url)
            except Temporary:
                self._move_on(url)
                if attempt == len(self._servers.all):
                    raise
            else:
                self._session, self._registered_at = registered.session, url
                self._servers.learn(registered.servers)
                return registered
        raise ServerUnreachable("this agent knows no server")

    @asynccontextmanager
    async def assignments(self) -> AsyncIterator[AsyncIterator[Delivery]]:
        url = self._servers.current
        async with AsyncExitStack() as stack:
            with self._moving_on(url):
                stream = self._client.stream(url, "/v1/agent/assignment", Delivery)
                deliveries = await stack.enter_async_context(stream)
            yield deliveries

    async def text(self, digest: Digest) -> bytes:
        url = self._servers.current
        with self._moving_on(url):
            text = await self._client.call(
                url, "GET", f"/v1/agent/texts/{digest}", seconds=CALL_SECONDS
            )
        if hashlib.sha256(text).hexdigest() != digest:
            raise Temporary(f"{url} sent another text than the one with the digest {digest[:12]}")
        return text

    async def report(self, report: Report) -> None:
        url = self._servers.current
        if self._session == NO_SESSION or self._registered_at != url:
            raise ServerUnreachable(f"the machine has to register with {url}")
        is_heartbeat = not (report.changed or report.gone or report.events or report.full)
        seconds = CALL_SECONDS if is_heartbeat else WRITE_SECONDS
        for part in _parts(msgspec.structs.replace(report, session=self._session)):
            with self._moving_on(url):
                await self._client.call(url, "POST", "/v1/agent/report", part, seconds=seconds)

    async def learn_servers(self) -> None:
        """Ask where servers are by now, and remember it. Raises Temporary."""
        url = self._servers.current
        with self._moving_on(url):
            answer = await self._client.call(url, "GET", "/v1/agent/servers", seconds=CALL_SECONDS)
        self._servers.learn(decoded(answer, ServerList, url).servers)

    # --- certificates and questions -----------------------------------------------------------------------------

    async def new_certificate(self, request: bytes) -> tuple[bytes, bytes]:
        """A certificate (PEM) for the key of the signing request, and the authority's."""
        url = self._servers.current
        body = msgspec.json.encode({"csr": request.decode()})
        with self._moving_on(url):
            answer = await self._client.call(
                url, "POST", "/v1/agent/certificate", body, seconds=WRITE_SECONDS
            )
        found = decoded(answer, _Certificate, url)
        return found.certificate.encode(), found.ca.encode()

    def questions_of(self, url: str) -> ServerQuestions:
        """What the server at that URL asks."""
        return ServerQuestions(self._client, url)

    @contextmanager
    def _moving_on(self, url: str) -> Iterator[None]:
        """Go on with another server after this one gave no answer, or one that is no answer."""
        try:
            yield
        except Temporary:
            self._move_on(url)
            raise

    def _move_on(self, url: str) -> None:
        self._servers.move_on(url)
        if self._servers.current != url:
            self._client.cut(url, "/v1/agent/assignment")


class _Certificate(msgspec.Struct, frozen=True):
    certificate: str
    ca: str


class ServerQuestions:
    """One server, as it asks this machine: implements `agent.questions.QuestionLink`."""

    def __init__(self, client: HttpClient, url: str) -> None:
        self._client = client
        self._url = url

    def questions(self) -> AbstractAsyncContextManager[AsyncIterator[Question]]:
        return self._client.stream(self._url, "/v1/agent/questions", Question)

    async def answer(self, question_id: str, answer: Answer) -> None:
        target = f"/v1/agent/answers/{_checked(question_id)}"
        body = msgspec.json.encode(answer)
        await self._client.call(self._url, "POST", target, body, seconds=ANSWER_SECONDS)

    def inputs(self, question_id: str) -> AbstractAsyncContextManager[AsyncIterator[Input]]:
        target = f"/v1/agent/inputs/{_checked(question_id)}"
        return self._client.stream(self._url, target, Input)


def _checked(question_id: str) -> str:
    """An id as it may stand in a path. Raises NotFound for one that no question has."""
    if not (question_id.isascii() and question_id.isalnum()):
        raise NotFound("no question has such an id")
    return question_id


def _parts(report: Report) -> Iterable[bytes]:
    """The report as one body, or as several where it is too large for one.

    Of a full report only the first part says so: what the servers have beyond that part is taken away, and comes again
    with the next.
    """
    whole = msgspec.json.encode(report)
    if len(whole) <= REPORT_BYTES:
        yield whole
        return
    yield from _portions(report)


def _portions(report: Report) -> Iterator[bytes]:
    empty = Report(session=report.session)
    first = msgspec.structs.replace(empty, full=report.full, gone=report.gone)
    changed = _split(report.changed)
    events = _split(report.events)
    yield msgspec.json.encode(msgspec.structs.replace(first, changed=next(changed, ())))
    for some in changed:
        yield msgspec.json.encode(msgspec.structs.replace(empty, changed=some))
    for told in events:
        yield msgspec.json.encode(msgspec.structs.replace(empty, events=told))


def _split(items: tuple[T, ...]) -> Iterator[tuple[T, ...]]:
    """Portions of which each fits into a report."""
    portion: list[T] = []
    size = 0
    for item in items:
        weight = len(msgspec.json.encode(item)) + 1
        if portion and size + weight > REPORT_BYTES // 2:
            yield tuple(portion)
            portion, size = [], 0
        portion.append(item)
        size += weight
    if portion:
        yield tuple(portion)
