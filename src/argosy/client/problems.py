"""What goes wrong between a client and its server, as the classes of `errors.py`."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any

from argosy import errors
from argosy.endpoint import Endpoint


def no_answer(endpoint: Endpoint, method: str, problem: Exception) -> errors.Temporary:
    """The error of a request whose answer got lost: only reading may be done again without looking."""
    told = f"the server at {endpoint} took the request but gave no answer: {reason(problem)}"
    if method == "GET":
        return errors.ServerUnreachable(told, hint="try again")
    return errors.Indeterminate(
        f"{told}; it may have been carried out", hint="look first: argosy list-unit-files"
    )


def decode(endpoint: Endpoint, response: http.client.HTTPResponse, answer: bytes) -> Any:
    """The answer, or the error in it, raised."""
    try:
        decoded = json.loads(answer)
        if response.status < http.HTTPStatus.BAD_REQUEST:
            return decoded
        error = decoded["error"]
        raise error_of(response.status, error)
    except (ValueError, KeyError, TypeError):
        raise errors.ServerUnreachable(
            f"what answers at {endpoint} is not an Argosy server (status {response.status})",
            hint="check $ARGOSY_ENDPOINT",
        ) from None


def error_of(status: int, error: Mapping[str, Any]) -> errors.ArgosyError:
    """The class that the server raised; for one that this client does not know, the nearest for the status."""
    return errors.named(
        str(error["kind"]),
        str(error["message"]),
        hint=str(error.get("hint") or ""),
        problems=tuple(str(problem) for problem in error.get("problems") or ()),
        otherwise=_BY_STATUS.get(status, errors.Invalid if status < 500 else errors.Permanent),
    )


_BY_STATUS: Mapping[int, type[errors.ArgosyError]] = {
    404: errors.NotFound,
    409: errors.Conflict,
    503: errors.Temporary,
}


def reason(problem: Exception) -> str:
    if isinstance(problem, TimeoutError):
        return "no answer in time"
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    if isinstance(problem, http.client.RemoteDisconnected | http.client.IncompleteRead):
        return "the connection was closed"
    return str(problem) or type(problem).__name__
