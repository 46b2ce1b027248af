"""Answers what servers ask this machine: output of units, its journal, commands, facts.

Each server has a stream of its own (`serve` one link each), each question a task of its own. An answer is sent in batches,
one after the other; the next waits until the server has room, and what produces it waits with it. An answer that nobody
wants any more ends at once, and with it whatever was started for it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import shlex
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from functools import partial
from typing import Protocol

from argosy.agent import execute, machine_journal
from argosy.agent.unit_output import Output
from argosy.agent.unit_output import read as read_output
from argosy.errors import ArgosyError, NotAllowed, NotFound, Temporary, Unsupported
from argosy.model.question import Answer, Facts, Input, Part, Problem, Question

log = logging.getLogger(__name__)

RETRY_SECONDS = 2.0
SIGN_OF_LIFE_SECONDS = 15.0
BATCH_BYTES = 512 * 1024
"""What is read ahead of the server, and sent at once, at most."""
PACE_SECONDS = 0.02
"""Shortest time between two batches of an answer: what comes meanwhile goes together."""
OPEN_AT_ONCE = 64
"""Questions of one server that are answered together; it asks no more."""


class QuestionLink(Protocol):
    """One server, as it asks this machine. In one process: `api.questions.Line`."""

    def questions(self) -> AbstractAsyncContextManager[AsyncIterator[Question]]:
        """Questions as they are asked. Raises Temporary, on entering or later, when the server is not there."""
        ...

    async def answer(self, question_id: str, answer: Answer) -> None:
        """Send a batch; returns when the server has room for another. Raises NotFound when nobody wants it any more."""
        ...

    def inputs(self, question_id: str) -> AbstractAsyncContextManager[AsyncIterator[Input]]:
        """What is sent to the question's command. Raises NotFound, Temporary."""
        ...


class Answerer:
    """Answers questions about one machine.

    gather_facts: looks at the machine; may block for a moment, so it runs in a thread.
    may_exec: whether this machine runs commands for people (agent.toml, `exec`).
    """

    def __init__(
        self, runtime: Output, *, gather_facts: Callable[[], Facts], may_exec: bool = True
    ) -> None:
        self._runtime = runtime
        self._gather_facts = gather_facts
        self._may_exec = may_exec

    async def serve(self, link: QuestionLink) -> None:
        """Answer what this server asks, until cancelled."""
        told = ""
        while True:
            try:
                async with link.questions() as questions:
                    await self._serve(link, questions)
            except ArgosyError as problem:
                if str(problem) != told:  # one line, however long the server is away
                    told = str(problem)
                    log.info("no questions: %s", told)
            await asyncio.sleep(RETRY_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - spreads, hides nothing

    async def _serve(self, link: QuestionLink, questions: AsyncIterator[Question]) -> None:
        under_way: dict[str, asyncio.Task[None]] = {}
        try:
            async for question in questions:
                if question.is_over:
                    if task := under_way.get(question.id):
                        task.cancel()
                elif len(under_way) < OPEN_AT_ONCE:
                    task = asyncio.create_task(
                        self._answer(link, question), name=f"answer {question.id}"
                    )
                    under_way[question.id] = task
                    task.add_done_callback(partial(_forget, under_way, question.id))
        finally:
            # The server is gone, and with it whoever asked.
            tasks = list(under_way.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, link: QuestionLink, question: Question) -> None:
        """Never raises: one question's trouble is no other's."""
        try:
            await _send(link, question.id, self._parts(link, question))
        except NotFound:
            log.debug("question %s: nobody wants the answer any more", question.id)
        except Temporary as problem:
            log.info("question %s: the answer cannot be sent: %s", question.id, problem)
        except Exception:
            log.exception("question %s", question.id)

    async def _parts(self, link: QuestionLink, question: Question) -> AsyncGenerator[Part, None]:
        """The answer; what is wrong is a part of it."""
        try:
            async with aclosing(self._found(link, question)) as found:
                async for part in found:
                    yield part
        except ArgosyError as problem:
            kind = type(problem).__name__
            yield Part(problem=Problem(kind=kind, message=problem.message, hint=problem.hint))
        except OSError as problem:
            message = f"the machine cannot do that: {problem.strerror}"
            yield Part(problem=Problem(kind="RuntimeRefused", message=message))

    def _found(self, link: QuestionLink, question: Question) -> AsyncGenerator[Part, None]:
        if question.logs is not None:
            return read_output(self._runtime, question.logs)
        if question.journal is not None:
            return _journal(question)
        if question.exec is not None:
            if not self._may_exec:
                raise NotAllowed(
                    "this machine runs no commands for people",
                    hint="set exec = true in its agent.toml",
                )
            log.info("%s runs: %s", question.by or "somebody", shlex.join(question.exec.argv))
            return execute.run(question.exec, link.inputs(question.id))
        if question.facts is not None:
            return self._facts()
        raise Unsupported(
            "the agent of this machine is too old to answer that", hint="upgrade the machine"
        )

    async def _facts(self) -> AsyncGenerator[Part, None]:
        yield Part(facts=await asyncio.to_thread(self._gather_facts))


def _forget(under_way: dict[str, asyncio.Task[None]], id_: str, _: object) -> None:
    under_way.pop(id_, None)


async def _journal(question: Question) -> AsyncGenerator[Part, None]:
    assert question.journal is not None
    async with aclosing(machine_journal.read(question.journal)) as lines:
        async for line in lines:
            yield Part(lines=(line,))


async def _send(link: QuestionLink, question_id: str, parts: AsyncGenerator[Part, None]) -> None:
    """Send the parts as they come, those that wait together, with signs of life in between.

    Raises NotFound when nobody wants them, Temporary when the server is gone.
    """
    loop = asyncio.get_running_loop()
    ahead = _Ahead()
    reader = asyncio.create_task(ahead.read(parts), name=f"read ahead for {question_id}")
    try:
        # The first word, without anything: the question is taken up.
        await link.answer(question_id, Answer(parts=(Part(),)))
        while True:
            batch, is_last = await ahead.take(SIGN_OF_LIFE_SECONDS)
            if is_last:
                await reader  # raises what went wrong with reading
            not_before = loop.time() + PACE_SECONDS
            await link.answer(question_id, Answer(parts=batch or (Part(),), is_last=is_last))
            if is_last:
                return
            await asyncio.sleep(not_before - loop.time())
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)


class _Ahead:
    """Parts that were produced and not sent yet, bounded in bytes."""

    def __init__(self) -> None:
        self._parts: deque[Part] = deque()
        self._bytes = 0
        self._has_room = asyncio.Event()
        self._has_some = asyncio.Event()
        self._is_over = False
        self._has_room.set()

    async def read(self, parts: AsyncGenerator[Part, None]) -> None:
        try:
            # Closed by the task that runs it, so that what it started ends where it began.
            async with aclosing(parts):
                async for part in parts:
                    await self._has_room.wait()
                    self._parts.append(part)
                    self._bytes += part.size
                    if self._bytes >= BATCH_BYTES:
                        self._has_room.clear()
                    self._has_some.set()
        finally:
            self._is_over = True
            self._has_some.set()

    async def take(self, patience: float) -> tuple[tuple[Part, ...], bool]:
        """Everything that waits, and whether that was the last; nothing after so many seconds."""
        try:
            async with asyncio.timeout(patience):
                await self._has_some.wait()
        except TimeoutError:
            return (), False
        batch = tuple(self._parts)
        self._parts.clear()
        self._bytes = 0
        self._has_room.set()
        if not self._is_over:
            self._has_some.clear()
        return batch, self._is_over
