"""The OpenAPI 3.1 document, generated from the route table and the schemas that decode and encode what travels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from argosy import __version__
from argosy.api import schemas, streams
from argosy.api.access import Access
from argosy.api.routing import Route

Json = dict[str, Any]
REF = "#/components/schemas/{name}"
ALWAYS = (400, 414, 422, 500, 503)
"""What any request can meet."""
WITH_BODY = (413, 415)
WITH_ACCESS = (401, 403)
SCHEMES: Json = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "A person's token, `argosy_p_...`, as `argosy token create` shows it. The unix socket needs none: "
        "who can connect to it is an admin.",
    },
    "machine": {
        "type": "mutualTLS",
        "description": "The certificate that a machine got when it joined.",
    },
}
MEANINGS: Mapping[int, str] = {
    400: "The request is not HTTP or not JSON.",
    401: "Nobody is known by the token or certificate, or there is none.",
    403: "Whoever makes the request may not.",
    404: "A thing that is named is not there.",
    409: "Somebody else was first; read again.",
    413: "The body is too large.",
    414: "The query string is too long.",
    415: "The body is not application/json.",
    422: "The request is understood, and wrong; `problems` says where.",
    429: "Too many requests of one machine.",
    500: "The server cannot do it.",
    501: "This server has no such function.",
    503: "Try again later.",
    507: "The store is full; reading and destroying still work.",
}
STREAMED = (
    schemas.Ready,
    schemas.StateView,
    schemas.MachineView,
    schemas.EventView,
    schemas.LogLineView,
    schemas.Gone,
    schemas.End,
)


def document(routes: Iterable[Route]) -> Json:
    """Deterministic: the same for equal routes."""
    routes = tuple(routes)
    components = _components(routes)
    paths: Json = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, components)
    paths["/openapi.json"] = {"get": _describe_itself()}
    queries = {route.query.__name__ for route in routes if route.query}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Argosy",
            "version": __version__,
            "description": "Units over a fleet of machines. Served on a unix socket, and over TLS to other machines.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "securitySchemes": SCHEMES,
            "schemas": {
                name: schema for name, schema in sorted(components.items()) if name not in queries
            },
        },
    }


def _components(routes: Iterable[Route]) -> Json:
    types: list[Any] = [schemas.Error, *STREAMED]
    for route in routes:
        types += [one for one in (route.query, route.body, route.answer) if _is_struct(one)]
    _, components = msgspec.json.schema_components(types, ref_template=REF)
    return components


def _is_struct(one: Any) -> bool:
    return isinstance(one, type) and issubclass(one, msgspec.Struct)


def _operation(route: Route, components: Json) -> Json:
    operation: Json = {
        "operationId": route.handler.__name__,
        "summary": route.summary,
        "parameters": [*_path_parameters(route), *_query_parameters(route, components)],
        "responses": {str(route.status): _answer(route)},
        "security": _security(route.needs),
        "x-argosy-access": route.needs.value,
    }
    if details := route.details:
        operation["description"] = details
    if route.body:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _ref(route.body)}},
        }
    met = {*ALWAYS, *route.errors}
    met |= {*WITH_BODY} if route.body else set()
    met |= {*WITH_ACCESS} if route.needs is not Access.ANYONE else set()
    met |= {429} if route.needs is Access.MACHINE else set()
    for code in sorted(met):
        operation["responses"][str(code)] = {
            "description": MEANINGS[code],
            "content": {"application/json": {"schema": _ref(schemas.Error)}},
        }
    return operation


def _security(access: Access) -> list[Json]:
    if access is Access.ANYONE:
        return []
    if access is Access.MACHINE:
        return [{"machine": []}]
    return [{"token": []}, {}]


def _path_parameters(route: Route) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in route.path_parameters
    ]


def _query_parameters(route: Route, components: Json) -> list[Json]:
    if route.query is None:
        return []
    schema = components[route.query.__name__]
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema["required"],
            "schema": _without_null(given),
        }
        for name, given in schema["properties"].items()
    ]


def _without_null(schema: Json) -> Json:
    """A parameter that is not given is absent: there is no null in a query string."""
    schema = {key: value for key, value in schema.items() if key != "default"} | (
        {"default": schema["default"]} if schema.get("default") not in (None, []) else {}
    )
    choices = [one for one in schema.pop("anyOf", []) if one != {"type": "null"}]
    return schema | choices[0] if choices else schema


def _answer(route: Route) -> Json:
    answer = route.answer
    if issubclass(answer, msgspec.Struct):
        return {
            "description": "Done.",
            "content": {"application/json": {"schema": _ref(answer)}},
        }
    if issubclass(answer, type(None)):
        return {"description": "Done."}
    if issubclass(answer, bytes):
        return {
            "description": "Exact bytes.",
            "content": {route.media_type: {"schema": {"type": "string"}}},
        }
    described = {
        streams.ServerSentEvents: "Server-sent events `ready`, `unit`, `state`, `machine`, `event`, `end`, "
        "whose data are Ready, UnitView or Gone, StateView or Gone, MachineView or Gone, EventView, End.",
        streams.JsonLines: "One JSON object a line; an empty line is a sign of life.",
    }
    return {
        "description": described[answer],
        "content": {str(answer.media_type): {"schema": {"type": "string"}}},
    }


def _ref(schema: type[msgspec.Struct]) -> Json:
    return {"$ref": REF.format(name=schema.__name__)}


def _describe_itself() -> Json:
    return {
        "operationId": "openapi",
        "summary": "This document.",
        "responses": {
            "200": {
                "description": "Done.",
                "content": {"application/json": {"schema": {"type": "object"}}},
            }
        },
    }
