"""Exit codes, and the error messages that go with them.

One table for all verbs. 1 is a failure that has no code of its own, `plan` and `diff` use it for "changes planned", and
`verify` for "errors found"; the others can be told apart by a script without reading text.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TypeVar

from argosy import errors

DONE = 0
"""Done, or nothing to do."""
FAILED = 1
CANNOT_PLACE = 2
"""No machine fits. What is wanted stays wanted."""
UNHEALTHY = 3
"""It failed, or was not up in time."""
PRECONDITION = 4
"""Somebody was first, or a thing exists already: nothing was changed."""
REFUSED = 5
"""A signature, a policy or a missing right forbids it."""
NOT_FOUND = 6
UNREACHABLE = 7
"""No server, or its store, answers."""
USAGE = 64
"""The request itself is wrong: an option, a name, a unit file."""
INTERRUPTED = 130
"""Ctrl-C, as shells have it: 128 + SIGINT."""
BROKEN_PIPE = 141
"""The reader of the output went away: 128 + SIGPIPE."""

_BY_ERROR: Mapping[type[errors.ArgosyError], int] = {
    errors.Invalid: USAGE,
    errors.NotFound: NOT_FOUND,
    errors.Conflict: PRECONDITION,
    errors.Temporary: UNREACHABLE,
    errors.Unauthenticated: REFUSED,
    errors.NotAllowed: REFUSED,
    errors.Permanent: FAILED,
}

_NEXT: Mapping[type[errors.ArgosyError], str] = {
    errors.NotFound: "argosy list-unit-files",
    errors.Conflict: "look at what is there now: argosy status",
    errors.Temporary: "argosy doctor",
    errors.Permanent: "argosy doctor",
}

_MOST_PROBLEMS = 4
"""An error is at most six lines: what is wrong, so many problems, what to do."""


class Failed(errors.Permanent):
    """A verb that could not do what was asked, with an exit code of its own."""

    def __init__(self, message: str, *, code: int, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.code = code


def code_of(error: errors.ArgosyError) -> int:
    if isinstance(error, Failed):
        return error.code
    return _nearest(_BY_ERROR, error, FAILED)


def report(error: errors.ArgosyError, *, verb: str = "", as_json: bool = False) -> int:
    """Say on stderr what is wrong and what to do next, in at most six lines. Returns the exit code."""
    help_command = f"argosy {verb} --help" if verb else "argosy --help"
    hint = error.hint or _nearest(_NEXT, error, help_command)
    problems = list(error.problems) if isinstance(error, errors.Invalid) else []
    if as_json:
        said = {
            "kind": type(error).__name__,
            "message": error.message,
            "problems": problems,
            "hint": hint,
        }
        print(json.dumps({"error": said}), file=sys.stderr)
        return code_of(error)
    message = error.message
    if problems and message.startswith(problems[0]):
        # A summary that begins with the first problem is told as that.
        message, *problems = problems
    lines = [f"argosy: {_one_line(message)}"]
    shown = problems if len(problems) <= _MOST_PROBLEMS else problems[: _MOST_PROBLEMS - 1]
    lines += [f"  {_one_line(problem)}" for problem in shown]
    if len(shown) < len(problems):
        lines.append(f"  ... and {len(problems) - len(shown)} more")
    lines.append(f"  -> {_one_line(hint)}")
    print("\n".join(lines), file=sys.stderr)
    return code_of(error)


def _one_line(text: str) -> str:
    """Messages may quote what somebody sent; nothing of it may move the cursor of a terminal."""
    return "".join(sign if sign.isprintable() else "?" for sign in " ".join(text.splitlines()))


T = TypeVar("T")


def _nearest(table: Mapping[type[errors.ArgosyError], T], error: errors.ArgosyError, other: T) -> T:
    return next((table[kind] for kind in type(error).__mro__ if kind in table), other)
