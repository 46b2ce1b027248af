"""Errors to HTTP: the one table of status codes, and the one shape in which every error leaves the server."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from argosy import errors
from argosy.api.schemas import Error, ErrorDetail

CODES: tuple[tuple[type[errors.ArgosyError], int], ...] = (
    (errors.Invalid, 422),
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.Temporary, 503),
    (errors.StoreFull, 507),
    (errors.Unsupported, 501),
    (errors.Unauthenticated, 401),
    (errors.NotAllowed, 403),
    (errors.ArgosyError, 500),
)
"""The first class that fits decides."""

KINDS: dict[int, type[errors.ArgosyError]] = {
    404: errors.NotFound,
    429: errors.Temporary,
    503: errors.Temporary,
}
"""As what a status that belongs to HTTP itself is raised at the client; Invalid if not here."""


class Refused(errors.Invalid):
    """The request is wrong as HTTP, before anybody looks at what it asks for."""

    def __init__(self, code: int, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code


def code_of(problem: errors.ArgosyError) -> int:
    if isinstance(problem, Refused):
        return problem.code
    return next(code for kind, code in CODES if isinstance(problem, kind))


def body_of(problem: errors.ArgosyError) -> Error:
    code = code_of(problem)
    kind = _public_kind(problem)
    if isinstance(problem, Refused):
        kind = KINDS.get(code, errors.Invalid)
    return Error(
        error=ErrorDetail(
            code=code,
            kind=kind.__name__,
            message=problem.message,
            problems=problem.problems if isinstance(problem, errors.Invalid) else (),
            hint=problem.hint,
        )
    )


def _public_kind(problem: errors.ArgosyError) -> type[errors.ArgosyError]:
    """The nearest class that clients know: a finer one is the server's own affair."""
    return next(kind for kind in type(problem).__mro__ if kind.__module__ == errors.__name__)


def answer(problem: errors.ArgosyError) -> Response:
    headers = {}
    code = code_of(problem)
    if code in (429, 503):
        headers["retry-after"] = "1"
    if code == 401:
        headers["www-authenticate"] = "Bearer"
    if code in (400, 408, 413):
        # The rest of the request may still be under way, and nobody wants to read it.
        headers["connection"] = "close"
    return Response(
        msgspec.json.encode(body_of(problem)),
        status_code=code,
        media_type="application/json",
        headers=headers,
    )


def mistake() -> errors.Permanent:
    """For an exception that nobody foresaw: it is in the server's log, not in the answer."""
    return errors.Permanent("the server made a mistake; its log says which", hint="argosy doctor")
