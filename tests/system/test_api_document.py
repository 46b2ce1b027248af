"""The OpenAPI document against the server that serves it: requests made up from the document, right and wrong ones, and
every answer held against what the document says of it.
"""

from __future__ import annotations

import asyncio
import http
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, CheckContext, GenerationMode, Response
from schemathesis.checks import (
    allow_header_conformance,
    content_type_conformance,
    negative_data_rejection,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
)

from argosy.api.app import ROUTES
from argosy.api.routing import Route
from argosy.api.streams import Stream
from argosy.client import Client, Submission
from unit.api.serving import Running, running

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    allow_header_conformance,
]
EXAMPLES = 25
WEB = b"[Service]\nExecStart=/bin/sleep 1\n"


def wrong_data_is_refused(
    context: CheckContext, response: Response, case: Case[Any]
) -> bool | None:
    """schemathesis' own check, which does not know that data may also be wrong by being too much (413)."""
    if response.status_code == http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return None
    is_refused: bool | None = negative_data_rejection(context, response, case)
    return is_refused


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as server:
        names = ("web.service", "web@1.service", "db.service")
        await server.call(lambda client: client.submit([Submission(name, WEB) for name in names]))
        yield server


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize(
    "route",
    [route for route in ROUTES if not issubclass(route.answer, Stream)],
    ids=lambda route: f"{route.method} {route.path}",
)
async def test_answers_are_as_the_document_says(
    server: Running, route: Route, mode: GenerationMode
) -> None:
    takes_anything = not (route.query or route.body)
    if mode is GenerationMode.NEGATIVE and takes_anything:
        return  # nothing about such a request can be wrong
    document = await asyncio.to_thread(server.tcp.openapi)
    url = str(server.tcp.endpoint)
    operation = schemathesis.openapi.from_dict(document)[route.path][route.method]
    checks = CHECKS + ([wrong_data_is_refused] if mode is GenerationMode.NEGATIVE else [])

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def run(case: Case[Any]) -> None:
        case.call_and_validate(base_url=url, checks=checks)

    await asyncio.to_thread(run)


async def test_the_document_is_valid_openapi(server: Running) -> None:
    def validate(client: Client) -> None:
        schemathesis.openapi.from_dict(client.openapi()).validate()

    await server.call(validate)
