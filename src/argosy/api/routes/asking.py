"""People ask a machine something through this server: to run a command, for its journal, how it is.

A journal and a command's output may hold anything, so both are for admins. Who ran which program is an event; its
arguments, in which people put passwords, are in the machine's own log only.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from argosy.api.access import Access
from argosy.api.question_schemas import (
    DiskView,
    ExecLine,
    ExecRequest,
    FactsView,
    InputRequest,
    JournalLine,
    JournalQuery,
    ProblemView,
)
from argosy.api.routing import Route
from argosy.api.services import Api
from argosy.api.streams import JsonLines, in_time
from argosy.errors import ArgosyError, NotFound, Temporary
from argosy.model.event import Event
from argosy.model.ids import MachineId
from argosy.model.question import AskFacts, Exec, Facts, Input, Question, ReadJournal


async def _known(api: Api, machine: str) -> MachineId:
    """Raises NotFound for a machine that never registered."""
    picture = await api.feed.catch_up()
    if MachineId(machine) not in picture.machines:
        raise NotFound("there is no such machine", hint="argosy list-machines")
    return MachineId(machine)


async def run_command(api: Api, machine: str, body: ExecRequest) -> JsonLines:
    """Run a command on the machine as its agent's user; a stream of its output, then how it ended.

    When the client goes away, the command and what it started in its process group are ended. There is no shell in between.
    """
    asked = await _known(api, machine)
    told = Event(
        at=api.services.clock(),
        kind="machine.exec",
        machine=asked,
        message=f"runs {body.argv[0][:200]}",
        by=api.by,
    )
    await api.services.store.txn([], [api.journal.put(told)])
    command = Exec(
        argv=body.argv,
        has_terminal=body.terminal,
        rows=body.rows or 24,
        columns=body.columns or 80,
        term=body.term,
    )
    question = Question(id=secrets.token_hex(16), by=api.by, exec=command)

    async def lines() -> AsyncGenerator[bytes, None]:
        is_first = True
        try:
            async with aclosing(api.services.questions.ask(asked, question)) as parts:
                async for part in parts:
                    line = ExecLine(
                        id=question.id if is_first else "",
                        out=part.out,
                        err=part.err,
                        exit_code=part.exit_code,
                        signal=part.signal,
                    )
                    is_first = False
                    yield _line(line)
        except ArgosyError as problem:
            if is_first:
                raise
            yield _line(ExecLine(problem=_problem(problem)))

    stream = in_time(lines(), api.closing)
    return JsonLines(stream, first=await anext(stream))


async def send_input(api: Api, machine: str, id: str, body: InputRequest) -> None:  # noqa: A002
    """Send input to a command that runs, or the new size of its terminal. Waits while the command does not read."""
    given = Input(data=body.data, is_end=body.end, rows=body.rows, columns=body.columns)
    await api.services.questions.tell(MachineId(machine), id, given)


async def read_journal(api: Api, machine: str, query: JournalQuery) -> JsonLines:
    """The machine's own journal: the last `lines`, or all behind the cursor `after`; with `follow` it goes on."""
    asked = await _known(api, machine)
    wanted = ReadJournal(
        unit=query.unit,
        lines=query.lines,
        follow=query.follow,
        after=query.after,
        since=query.since,
        priority=query.priority,
    )
    question = Question(id="", by=api.by, journal=wanted)

    async def lines() -> AsyncGenerator[bytes, None]:
        has_begun = False
        try:
            async with aclosing(api.services.questions.ask(asked, question)) as parts:
                async for part in parts:
                    has_begun = True
                    entries = [
                        JournalLine(
                            at=one.at,
                            unit=one.unit,
                            priority=one.stream,
                            text=one.text,
                            cursor=one.cursor,
                        )
                        for one in part.lines
                    ]
                    yield b"".join(map(_line, entries)) or b"\n"
        except ArgosyError as problem:
            if not has_begun:
                raise
            yield _line(JournalLine(problem=_problem(problem)))

    stream = in_time(lines(), api.closing)
    return JsonLines(stream, first=await anext(stream))


async def ask_facts(api: Api, machine: str) -> FactsView:
    """How the machine is, as its agent says now: clock, load, memory, disks, certificate."""
    asked = await _known(api, machine)
    question = Question(id="", by=api.by, facts=AskFacts())
    found: Facts | None = None
    async with aclosing(api.services.questions.ask(asked, question)) as parts:
        async for part in parts:
            found = part.facts or found
    if found is None:
        raise Temporary(f"machine {machine} did not say how it is", hint="try again")
    return FactsView(
        machine=machine,
        at=found.at,
        clock_ahead_seconds=(found.at - api.services.clock()).total_seconds(),
        version=found.version,
        runtime=found.runtime,
        kernel=found.kernel,
        booted_at=found.booted_at,
        load=found.load,
        memory_total_bytes=found.memory_total_bytes,
        memory_available_bytes=found.memory_available_bytes,
        disks=tuple(
            DiskView(
                path=one.path,
                total_bytes=one.total_bytes,
                free_bytes=one.free_bytes,
                free_inodes_share=one.free_inodes_share,
            )
            for one in found.disks
        ),
        certificate_expires=found.certificate_expires,
        is_exec_allowed=found.is_exec_allowed,
    )


def _line(view: msgspec.Struct) -> bytes:
    return msgspec.json.encode(view) + b"\n"


def _problem(problem: ArgosyError) -> ProblemView:
    return ProblemView(kind=type(problem).__name__, message=problem.message, hint=problem.hint)


ROUTES = (
    Route(
        method="POST",
        path="/v1/machines/{machine}/exec",
        handler=run_command,
        access=Access.ADMIN,
        errors=(404, 409, 507),
    ),
    Route(
        method="POST",
        path="/v1/machines/{machine}/exec/{id}/input",
        handler=send_input,
        access=Access.ADMIN,
        status=204,
        errors=(404,),
    ),
    Route(
        method="GET",
        path="/v1/machines/{machine}/journal",
        handler=read_journal,
        access=Access.ADMIN,
        errors=(404, 409, 501),
    ),
    Route(
        method="GET",
        path="/v1/machines/{machine}/facts",
        handler=ask_facts,
        errors=(404, 409, 501),
    ),
)
