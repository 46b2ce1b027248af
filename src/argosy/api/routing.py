"""A route as data: the handler's own signature says what it takes and gives.

A handler is `async def list_units(api: Api, query: UnitsQuery) -> UnitsPage`. Of its parameters, `query` is decoded from
the query string, `body` from a JSON body, and every other from the path. `app.py` serves these routes, `openapi.py`
describes them; both read the same signature, so they cannot disagree.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_type_hints

import msgspec
from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from argosy.api.access import Access
from argosy.api.problems import Refused
from argosy.api.services import Api
from argosy.api.streams import Stream
from argosy.errors import Invalid

MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_QUERY_BYTES = 64 * 1024

Answered = msgspec.Struct | Stream | bytes | None
Handler = Callable[..., Awaitable[Answered]]


@dataclass(frozen=True, kw_only=True)
class Route:
    """One method on one path.

    access: whom it is for; of a GET viewers, of all else deployers, if not said.
    media_type: of an answer that is bytes.
    is_bulk: whether it carries what somebody asked of a machine, which counts apart from what agents ask on their own.
    errors: status codes beyond those that any request can meet, for the document.
    """

    method: str
    path: str
    handler: Handler
    errors: tuple[int, ...] = ()
    status: int = 200
    max_body_bytes: int = MAX_BODY_BYTES
    access: Access | None = None
    is_bulk: bool = False
    media_type: str = "application/octet-stream"
    hints: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hints", get_type_hints(self.handler, include_extras=True))

    @property
    def needs(self) -> Access:
        return self.access or (Access.VIEWER if self.method == "GET" else Access.DEPLOYER)

    @property
    def query(self) -> type[msgspec.Struct] | None:
        return self.hints.get("query")

    @property
    def body(self) -> type[msgspec.Struct] | None:
        return self.hints.get("body")

    @property
    def answer(self) -> type[msgspec.Struct] | type[Stream] | type[bytes] | type[None]:
        answer: type[msgspec.Struct] | type[Stream] | type[bytes] | type[None]
        answer = self.hints["return"]
        return answer

    @property
    def path_parameters(self) -> tuple[str, ...]:
        return tuple(n for n in self.hints if n not in ("api", "query", "body", "return"))

    @property
    def summary(self) -> str:
        return self._description()[0]

    @property
    def details(self) -> str:
        return self._description()[1]

    def _description(self) -> tuple[str, str]:
        first, _, rest = (inspect.getdoc(self.handler) or "").partition("\n\n")
        return " ".join(first.split()), " ".join(rest.split())

    async def serve(self, api: Api, request: Request) -> Response:
        """Raises ArgosyError for whatever is wrong with the request."""
        arguments: dict[str, Any] = dict(request.path_params)
        if len(request.scope["query_string"]) > MAX_QUERY_BYTES:
            raise Refused(414, f"the query string is longer than {MAX_QUERY_BYTES} bytes")
        if self.query:
            arguments["query"] = decode_query(request.query_params, self.query)
        elif request.query_params:
            raise Invalid("this path takes no query parameters")
        if self.body:
            arguments["body"] = await self._read_body(request, self.body)
        answer = await self.handler(api, **arguments)
        if isinstance(answer, Stream):
            return answer
        if answer is None:
            return Response(status_code=self.status)
        if isinstance(answer, bytes):
            return Response(answer, media_type=self.media_type)
        return Response(
            msgspec.json.encode(answer), status_code=self.status, media_type="application/json"
        )

    async def _read_body(self, request: Request, schema: type[msgspec.Struct]) -> msgspec.Struct:
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise Refused(
                415,
                f"the body must be application/json, not {media_type or 'of an unnamed type'}",
                hint="send the header Content-Type: application/json",
            )
        data = await read_at_most(request, self.max_body_bytes)
        try:
            return msgspec.json.decode(data, type=schema)
        except msgspec.ValidationError as problem:
            raise Invalid(
                "the body is not what this path takes", problems=(_where(problem),)
            ) from None
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as problem:
            raise Refused(400, f"the body is not JSON: {problem}") from None


async def read_at_most(request: Request, limit: int) -> bytes:
    """The body. Raises Refused as soon as it is known to be larger than `limit`, having kept no more than that."""
    size = f"{limit >> 20} MiB" if limit >> 20 else f"{limit >> 10} KiB"
    too_large = Refused(413, f"the body is larger than {size}")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise too_large
    data = bytearray()
    try:
        async for chunk in request.stream():
            data += chunk
            if len(data) > limit:
                raise too_large
    except ClientDisconnect:
        raise Refused(400, "the request ended in the middle") from None
    return bytes(data)


def decode_query(parameters: QueryParams, schema: type[msgspec.Struct]) -> msgspec.Struct:
    """Raises Invalid, one problem per parameter that is unknown or given too often, or for the first wrong value."""
    fields = {field.name: field for field in msgspec.structs.fields(schema)}
    problems = [f"{name}: there is no such parameter" for name in parameters if name not in fields]
    values: dict[str, Any] = {}
    for name in parameters.keys() & fields.keys():
        given = parameters.getlist(name)
        if fields[name].default == ():
            values[name] = given
        elif len(given) > 1:
            problems.append(f"{name}: given {len(given)} times")
        else:
            values[name] = given[0]
    if not problems:
        try:
            return msgspec.convert(values, schema, strict=False)
        except msgspec.ValidationError as problem:
            problems.append(_where(problem))
    raise Invalid("the query is not what this path takes", problems=tuple(sorted(problems)))


def _where(problem: msgspec.ValidationError) -> str:
    """`units[0].name: Expected `str`, got `int`` of msgspec's `Expected `str`, got `int` - at `$.units[0].name``."""
    text, _, place = str(problem).rpartition(" - at `$")
    return f"{place.strip('`.')}: {text}" if text else str(problem)
