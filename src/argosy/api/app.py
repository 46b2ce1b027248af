"""The ASGI application: the route table, and every error in the one shape of `problems.py`."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager

import msgspec
from starlette import routing as starlette_routing
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from argosy.api import openapi, problems
from argosy.api.access import (
    HOLDER,
    STRANGER,
    Access,
    Peer,
    Principal,
    check_loaded,
    identify,
    require,
)
from argosy.api.routes import (
    about,
    agents,
    asking,
    backup,
    events,
    health,
    joining,
    logs,
    machines,
    metrics,
    questions,
    states,
    tokens,
    units,
    verify,
    watch,
    why,
)
from argosy.api.routing import Route
from argosy.api.services import Api
from argosy.api.streams import Stream
from argosy.errors import ArgosyError, StoreUnavailable, Unauthenticated

log = logging.getLogger(__name__)
Endpoint = Callable[[Request], Awaitable[Response]]

ROUTES: tuple[Route, ...] = (
    *about.ROUTES,
    *units.ROUTES,
    *states.ROUTES,
    *machines.ROUTES,
    *why.ROUTES,
    *events.ROUTES,
    *watch.ROUTES,
    *logs.ROUTES,
    *verify.ROUTES,
    *joining.ROUTES,
    *tokens.ROUTES,
    *asking.ROUTES,
    *agents.ROUTES,
    *questions.ROUTES,
    *backup.ROUTES,
    *health.ROUTES,
    *metrics.ROUTES,
)


def build_app(api: Api) -> ASGIApp:
    """The application for one server. Whoever serves it runs the api's feed too."""
    by_path: dict[str, dict[str, Route]] = {}
    for route in ROUTES:
        by_path.setdefault(route.path, {})[route.method] = route
    document = msgspec.json.encode(openapi.document(ROUTES))

    async def describe(request: Request) -> Response:
        return Response(document, media_type="application/json")

    app = Starlette(
        routes=[
            *(_only(path, _endpoint(api, routes), [*routes]) for path, routes in by_path.items()),
            _only("/openapi.json", describe, ["GET"]),
        ],
        exception_handlers={HTTPException: _refuse},
    )
    app.router.redirect_slashes = False
    fixed = {
        (method, path): _endpoint(api, routes)
        for path, routes in by_path.items()
        if "{" not in path
        for method in routes
    }
    return LoopbackNames(FixedPaths(app, fixed))


def _endpoint(api: Api, routes: Mapping[str, Route]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        route = routes[request.method]
        began = time.monotonic()
        answer = await answered(route, request)
        if counted := api.services.metrics:
            seconds = time.monotonic() - began
            counted.request(route.method, route.path, answer.status_code, seconds)
        return answer

    async def answered(route: Route, request: Request) -> Response:
        try:
            principal = await admit(api, route, request)
            answer = await route.serve(api.on_behalf_of(principal), request)
            if isinstance(answer, Stream) and principal is not None:
                answer.is_for(lambda: _opened(api, principal))
            return answer
        except ArgosyError as problem:
            return problems.answer(problem)
        except Exception:
            log.exception("%s %s", request.method, request.url.path)
            return problems.answer(problems.mistake())

    return endpoint


def _opened(api: Api, principal: Principal) -> AbstractContextManager[asyncio.Event]:
    return api.streams.opened(principal, api.feed.picture, api.services.clock())


async def admit(api: Api, route: Route, request: Request) -> Principal | None:
    """Who makes the request, if it matters and they may. Raises Unauthenticated, NotAllowed, StoreUnavailable, Refused."""
    if route.needs is Access.ANYONE:
        return None
    peer: Peer = request.scope.get("extensions", {}).get("argosy", {}).get("peer", STRANGER)
    authorization = request.headers.get("authorization")
    holder = request.headers.get(HOLDER, "")
    now = api.services.clock()
    try:
        check_loaded(api.feed.picture)
        principal = identify(peer, authorization, api.feed.picture, now, holder=holder)
    except (Unauthenticated, StoreUnavailable) as problem:
        is_guess = isinstance(problem, Unauthenticated) and authorization is not None
        if is_guess and not api.doubts.has():
            raise
        # Nobody is refused because this server has not heard yet of what another one wrote.
        principal = identify(peer, authorization, await api.feed.catch_up(), now, holder=holder)
    require(principal, route.needs)
    if principal is not None and principal.machine is not None and api.agents is not None:
        size = 0 if request.method == "GET" else _announced(request, route.max_body_bytes)
        api.agents.door(principal.machine).count(is_bulk=route.is_bulk, size=size)
    return principal


def _announced(request: Request, most: int) -> int:
    """How many bytes of body will be read at most: a request that does not say is taken for as large as it may become."""
    announced = request.headers.get("content-length", "")
    return min(int(announced), most) if announced.isdecimal() else most


def _only(path: str, endpoint: Endpoint, methods: list[str]) -> starlette_routing.Route:
    route = starlette_routing.Route(path, endpoint, methods=methods)
    # Starlette adds HEAD to GET; here it would begin streams whose bytes nobody gets.
    route.methods = set(methods)
    return route


async def _refuse(request: Request, problem: Exception) -> Response:
    """404 and 405 of the router."""
    assert isinstance(problem, HTTPException)
    words = {
        404: f"there is nothing at {request.url.path}",
        405: f"{request.method} is not possible at {request.url.path}",
    }
    message = words.get(problem.status_code, problem.detail)
    refused = problems.Refused(problem.status_code, message, hint="see /openapi.json")
    answer = problems.answer(refused)
    answer.headers.update(problem.headers or {})
    return answer


class FixedPaths:
    """Goes straight to the endpoint of a path without parameters: a thousand machines ask for one of them every three
    seconds each, and trying the patterns of all routes would be a tenth of the work.
    """

    def __init__(self, app: ASGIApp, fixed: Mapping[tuple[str, str], Endpoint]) -> None:
        self._app = app
        self._fixed = fixed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._fixed.get((scope["method"], scope["path"]))
        if endpoint is None:
            await self._app(scope, receive, send)
        else:
            response = await endpoint(Request(scope, receive))
            await response(scope, receive, send)


class LoopbackNames:
    """Refuses requests over TCP that were meant for another host.

    The port is open to every program of this host, a browser among them: a page whose name is made to resolve to
    127.0.0.1 (DNS rebinding) would speak to us with its own name in the Host header.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_tcp = bool(scope.get("server")) and scope["server"][1] is not None
        is_tcp &= scope.get("scheme") != "https"
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        if is_tcp and not names_loopback(host):
            refused = problems.Refused(
                421,
                f"this server answers to the names of this host's loopback only, not to {host!r}",
                hint="use http://127.0.0.1:PORT or http://localhost:PORT",
            )
            await problems.answer(refused)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def names_loopback(host: str) -> bool:
    """Whether a Host header's value (`localhost:8080`, `127.0.0.1`, `[::1]:80`) names loopback."""
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdecimal():
        name = host
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
