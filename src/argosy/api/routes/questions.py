"""The end of questions that agents open: what people ask their machine, and the answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import msgspec

from argosy.api.access import Access
from argosy.api.questions import Line
from argosy.api.routing import Route
from argosy.api.services import Api
from argosy.api.streams import JsonLines, in_time
from argosy.model.question import Answer

MAX_ANSWER_BYTES = 2 * 1024 * 1024


def _line(api: Api) -> Line:
    assert api.principal is not None
    assert api.principal.machine is not None
    return api.services.questions.line(api.principal.machine)


async def follow_questions(api: Api) -> JsonLines:
    """What people ask this machine, as they ask it. The newest such stream of a machine counts; an older one ends."""

    async def lines() -> AsyncGenerator[bytes, None]:
        async with _line(api).questions() as questions:
            async for question in questions:
                yield msgspec.json.encode(question) + b"\n"

    return JsonLines(in_time(lines(), api.closing))


async def give_answer(api: Api, id: str, body: Answer) -> None:  # noqa: A002
    """The next batch of an answer. The reply waits until there is room for another; 404: nobody wants it any more."""
    await _line(api).answer(id, body)


async def follow_inputs(api: Api, id: str) -> JsonLines:  # noqa: A002
    """What is sent to the command of a question, until it is over."""

    async def lines() -> AsyncGenerator[bytes, None]:
        yield b""
        async with _line(api).inputs(id) as inputs:
            async for given in inputs:
                yield msgspec.json.encode(given) + b"\n"

    # A question that is not there is an error, not an empty stream.
    async with _line(api).inputs(id):
        return JsonLines(in_time(lines(), api.closing))


ROUTES = (
    Route(
        method="GET",
        path="/v1/agent/questions",
        handler=follow_questions,
        access=Access.MACHINE,
    ),
    Route(
        method="POST",
        path="/v1/agent/answers/{id}",
        handler=give_answer,
        access=Access.MACHINE,
        is_bulk=True,
        status=204,
        errors=(404,),
        max_body_bytes=MAX_ANSWER_BYTES,
    ),
    Route(
        method="GET",
        path="/v1/agent/inputs/{id}",
        handler=follow_inputs,
        access=Access.MACHINE,
        errors=(404,),
    ),
)
