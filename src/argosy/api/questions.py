"""Questions to machines: handed to the stream that a machine's agent keeps open, answered in bounded parts.

The agent of a machine connects here (`Line`, over HTTP `routes/questions.py`); people's requests ask here (`ask`). A
machine whose agent speaks to other servers only cannot be asked here, which the error says after a short wait.

Memory is bounded: an answer waits at most `BUFFERED_BYTES` ahead of the person that reads it, and the agent's next batch
waits until there is room, which in turn holds up the command that writes. When a person goes away the machine is told at
once; when the machine goes away, its open questions end with an error.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress

import msgspec

from argosy import errors
from argosy.errors import ArgosyError, Conflict, NotFound, Temporary
from argosy.model.ids import MachineId
from argosy.model.question import Answer, Input, Part, Question

CONNECT_SECONDS = 3.0
"""How long a machine that is not connected is waited for: agents come back within seconds of losing a server."""
BEGIN_SECONDS = 10.0
"""How long a connected machine may take to take a question up."""
SILENCE_SECONDS = 50.0
"""How long an answer may be silent: three of the agent's signs of life, one each 15 s."""
ROOM_SECONDS = 40.0
"""How long a batch waits for room: longer than a person's connection may stall before it is cut."""
BUFFERED_BYTES = 1024 * 1024
INPUT_BYTES = 256 * 1024
OPEN_AT_ONCE = 64
"""Questions to one machine that may be open together."""


class NobodyAsks(NotFound):
    """The question is over: whoever asked has gone."""


class Questions:
    """Who is connected, and what is being asked. One per server."""

    def __init__(self) -> None:
        self._connected: dict[MachineId, _Connection] = {}
        self._asked: dict[str, _Asked] = {}
        self._changes = _Changes()

    def is_connected(self, machine: MachineId) -> bool:
        return machine in self._connected

    @property
    def connected(self) -> int:
        """How many machines are."""
        return len(self._connected)

    def line(self, machine: MachineId) -> Line:
        """The machine's end. Whoever opens it knows that it is this machine."""
        return Line(self, machine)

    async def ask(self, machine: MachineId, question: Question) -> AsyncGenerator[Part, None]:
        """Ask, and give the parts of the answer as they come. A question without an id is given one.

        Closing the generator tells the machine that nobody wants the rest. Raises Temporary when the machine is not
        connected to this server, does not take the question up, or goes away; Conflict when too much is asked of it;
        and what the machine itself says is wrong.
        """
        connection = await self._connection(machine)
        if sum(one.machine == machine for one in self._asked.values()) >= OPEN_AT_ONCE:
            raise Conflict(
                f"machine {machine} is being asked {OPEN_AT_ONCE} things already",
                hint="end some of them: logs -f and exec are open as long as they run",
            )
        asked = _Asked(machine, question.id or secrets.token_hex(16))
        self._asked[asked.id] = asked
        connection.send(msgspec.structs.replace(question, id=asked.id))
        try:
            patience = BEGIN_SECONDS
            while True:
                part = await asked.next(patience)
                if part is None:
                    return
                if part.problem is not None:
                    raise _raised(part)
                patience = SILENCE_SECONDS
                yield part
        finally:
            del self._asked[asked.id]
            asked.end()
            if not asked.is_complete and self._connected.get(machine) is connection:
                connection.send(Question(id=asked.id, is_over=True))

    async def tell(self, machine: MachineId, question_id: str, given: Input) -> None:
        """Send input to a command that runs; waits for room. Raises NotFound when it does not run any more."""
        await self._find(machine, question_id).put_input(given)

    async def _connection(self, machine: MachineId) -> _Connection:
        with suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._changes.until(lambda: machine in self._connected)
        connection = self._connected.get(machine)
        if connection is None:
            raise Temporary(
                f"machine {machine} is not connected to this server",
                hint="look whether it is there: argosy list-machines",
            )
        return connection

    def _find(self, machine: MachineId, question_id: str) -> _Asked:
        """Of this machine only: an id of another's question is as good as none."""
        asked = self._asked.get(question_id)
        if asked is None or asked.machine != machine:
            raise NobodyAsks("nobody asks that any more")
        return asked

    def _connect(self, machine: MachineId) -> _Connection:
        before = self._connected.get(machine)
        if before is not None:
            self._disconnect(machine, before)
        connection = self._connected[machine] = _Connection()
        self._changes.notify()
        return connection

    def _disconnect(self, machine: MachineId, connection: _Connection) -> None:
        connection.end()
        if self._connected.get(machine) is not connection:
            return
        del self._connected[machine]
        for asked in self._asked.values():
            if asked.machine == machine:
                asked.fail(Temporary(f"machine {machine} went away", hint="argosy list-machines"))


class Line:
    """One machine's end of the questions: implements `agent.questions.QuestionLink`."""

    def __init__(self, questions: Questions, machine: MachineId) -> None:
        self._questions = questions
        self._machine = machine

    @asynccontextmanager
    async def questions(self) -> AsyncIterator[AsyncIterator[Question]]:
        """Questions as they are asked. A machine's newest stream counts; an older one ends."""
        connection = self._questions._connect(self._machine)  # noqa: SLF001 - two ends of one thing
        try:
            yield connection.received()
        finally:
            self._questions._disconnect(self._machine, connection)  # noqa: SLF001

    async def answer(self, question_id: str, answer: Answer) -> None:
        """Take a batch in; waits until there is room. Raises NotFound when nobody wants it any more."""
        await self._questions._find(self._machine, question_id).put(answer)  # noqa: SLF001

    @asynccontextmanager
    async def inputs(self, question_id: str) -> AsyncIterator[AsyncIterator[Input]]:
        """What is sent to the command of the question, until it is over. Raises NotFound."""
        yield self._questions._find(self._machine, question_id).inputs()  # noqa: SLF001


class _Changes:
    """A condition within one event loop: told without waiting for anything."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def notify(self) -> None:
        """Have all that wait look again."""
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def until(self, holds: Callable[[], object]) -> None:
        while not holds():
            await self._event.wait()


class _Connection:
    """A machine's stream of questions."""

    def __init__(self) -> None:
        self._waiting: deque[Question] = deque()
        self._changes = _Changes()
        self._is_over = False

    def send(self, question: Question) -> None:
        # Bounded by OPEN_AT_ONCE: each question is sent once, and ended once.
        self._waiting.append(question)
        self._changes.notify()

    def end(self) -> None:
        self._is_over = True
        self._changes.notify()

    async def received(self) -> AsyncIterator[Question]:
        while True:
            await self._changes.until(lambda: self._waiting or self._is_over)
            if self._is_over:
                return
            yield self._waiting.popleft()


class _Asked:
    """A question that is open, with what waits in both directions."""

    def __init__(self, machine: MachineId, id_: str) -> None:
        self.id = id_
        self.machine = machine
        self.is_complete = False
        """The machine has said all, or is not there to say more."""
        self._parts: deque[Part] = deque()
        self._parts_bytes = 0
        self._inputs: deque[Input] = deque()
        self._problem: ArgosyError | None = None
        self._is_over = False
        self._changes = _Changes()

    async def next(self, patience: float) -> Part | None:
        """The next part; None at the end. Raises Temporary after so many seconds without one."""
        try:
            async with asyncio.timeout(patience):
                await self._changes.until(lambda: self._parts or self.is_complete)
        except TimeoutError:
            raise Temporary(
                f"machine {self.machine} does not answer", hint="argosy list-machines"
            ) from None
        if self._parts:
            part = self._parts.popleft()
            self._parts_bytes -= part.size
            self._changes.notify()
            return part
        if self._problem is not None:
            raise self._problem
        return None

    async def put(self, answer: Answer) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(ROOM_SECONDS):
                await self._changes.until(lambda: self._is_over or self._has_room())
        if self._is_over or not self._has_room():
            raise NobodyAsks("nobody reads that answer any more")
        self._parts.extend(answer.parts)
        self._parts_bytes += sum(part.size for part in answer.parts)
        self.is_complete = self.is_complete or answer.is_last
        self._changes.notify()

    async def put_input(self, given: Input) -> None:
        def has_room() -> bool:
            return sum(len(one.data) for one in self._inputs) < INPUT_BYTES

        await self._changes.until(lambda: self._is_over or self.is_complete or has_room())
        if self._is_over or self.is_complete:
            raise NobodyAsks("the command has ended")
        self._inputs.append(given)
        self._changes.notify()

    async def inputs(self) -> AsyncIterator[Input]:
        while True:
            await self._changes.until(lambda: self._inputs or self._is_over)
            if not self._inputs:
                return
            given = self._inputs.popleft()
            self._changes.notify()
            yield given

    def end(self) -> None:
        """Whoever asked has gone, or has everything."""
        self._is_over = True
        self._parts.clear()
        self._inputs.clear()
        self._changes.notify()

    def fail(self, problem: ArgosyError) -> None:
        if not self.is_complete:
            self._problem = problem
            self.is_complete = True
            self._changes.notify()

    def _has_room(self) -> bool:
        return self._parts_bytes < BUFFERED_BYTES


_TOLD: Mapping[str, type[ArgosyError]] = {
    kind.__name__: kind
    for kind in (
        errors.Invalid,
        errors.NotFound,
        errors.NotAllowed,
        errors.RuntimeBusy,
        errors.RuntimeRefused,
        errors.Temporary,
        errors.Unsupported,
    )
}


def _raised(part: Part) -> ArgosyError:
    """What the machine says is wrong, as the class that it names if it is one that a machine may raise here."""
    assert part.problem is not None
    kind = _TOLD.get(part.problem.kind, errors.Permanent)
    return kind(part.problem.message, hint=part.problem.hint)
