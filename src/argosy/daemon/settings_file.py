"""Settings files: TOML in, the frozen records of `settings.py` out, and every mistake named with its line.

A key is a field and a table is a group: `[engine.presence]` with `lost_after = "20s"`. All mistakes of a file are told
at once. tomllib does not say where a key stood, so the line is looked for in the text; it is found wherever keys and
table headings are written one a line, as everybody does.

What surprises: a file that others than its owner can write is refused, since it decides what runs and who is asked; and a
file that holds a secret (a key, a password) is refused when others can read it.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import json
import os
import re
import stat
import tomllib
import types
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from argosy.errors import Invalid
from argosy.pki import files
from argosy.units.values import BadValue, duration

T = TypeVar("T")

MAX_BYTES = 1024 * 1024
SECRETS = frozenset({"key_file", "password_file"})
"""Fields that name a file with a secret."""
_TABLE = re.compile(r"^\s*\[\s*([\w.\-\"' ]+?)\s*\]")
_KEY = re.compile(r"^\s*([\w\-]+|\"[^\"]*\"|'[^']*')\s*(?:\.[^=]*)?=")


class _Wrong(Exception):
    """A value that is not what its field takes."""


def read(path: Path, kind: type[T]) -> T:
    """The settings in a file.

    Raises Invalid with one line for each mistake, or when the file is not there or may be written by others.
    """
    text = _trusted_text(path)
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise Invalid(f"{path}: {problem}", hint=f"edit {path}") from None
    problems: list[str] = []
    places = dict(_places(text))
    settings = _record(table, kind, partial(_place, path, places), (), problems)
    if problems:
        raise Invalid(
            f"{path} has {len(problems)} mistakes" if len(problems) > 1 else problems[0],
            problems=tuple(problems),
            hint=f"edit {path}",
        )
    assert settings is not None
    return settings


def parsed(table: Mapping[str, Any], kind: type[T], where: str) -> T:
    """The settings in a table that came from elsewhere. Raises Invalid, naming `where`."""
    problems: list[str] = []
    settings = _record(table, kind, partial(_place, Path(where), {}), (), problems)
    if settings is None:
        raise Invalid(problems[0], problems=tuple(problems))
    return settings


def write(path: Path, settings: Any, *, comment: str) -> None:
    """Replace the file by one that says what differs from the defaults; everybody may read it. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_public(path, written(settings, comment=comment).encode())


def written(settings: Any, *, comment: str) -> str:
    """A file with those settings that differ from the defaults, below the comment."""
    lines = [*(f"# {line}".rstrip() for line in comment.splitlines()), ""]
    lines += _table_lines(settings, ())
    return "\n".join(lines).rstrip("\n") + "\n"


def require_secret(path: Path) -> None:
    """Raises Invalid when others could read the secret in this file, or when it cannot be read."""
    try:
        found = path.stat()
    except OSError as problem:
        raise Invalid(f"{path}: {problem.strerror}") from None
    if found.st_mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
        raise Invalid(
            f"{path} holds a secret and can be read or written by others", hint=f"chmod o= {path}"
        )


# --- reading --------------------------------------------------------------------------------------------------------


def _trusted_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            data = file.read(MAX_BYTES + 1)
    except OSError as problem:
        raise Invalid(f"{path}: {problem.strerror}", hint=f"ls -l {path}") from None
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Invalid(
            f"{path} can be written by others, who could decide what runs here",
            hint=f"chown root {path} && chmod go-w {path}",
        )
    if len(data) > MAX_BYTES:
        raise Invalid(f"{path} is larger than {MAX_BYTES // 1024} KiB")
    try:
        return data.decode()
    except UnicodeDecodeError as problem:
        line = data.count(b"\n", 0, problem.start) + 1
        raise Invalid(f"{path}:{line}: this is not UTF-8", hint=f"edit {path}") from None


def _places(text: str) -> Iterator[tuple[tuple[str, ...], int]]:
    """Each table and key, as a path of names, with its line."""
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if match := _TABLE.match(line):
            table = tuple(part.strip().strip("\"'") for part in match[1].split("."))
            yield table, number
        elif match := _KEY.match(line):
            yield (*table, match[1].strip("\"'")), number


def _place(path: Path, places: Mapping[tuple[str, ...], int], names: tuple[str, ...]) -> str:
    """`/etc/argosy/server.toml:12`, or the file alone when the key is written in an unusual way."""
    line = places.get(names)
    return f"{path}:{line}" if line is not None else str(path)


def _record(
    table: Mapping[str, Any],
    kind: type[T],
    place: partial[str],
    names: tuple[str, ...],
    problems: list[str],
) -> T | None:
    """The record; None when it has problems, which are added to the list."""
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    before = len(problems)
    for key, value in table.items():
        here = (*names, key)
        if key not in hints:
            problems.append(f"{place(here)}: error: {_unknown(key, hints, names)}")
        elif dataclasses.is_dataclass(hints[key]):
            if not isinstance(value, dict):
                told = f"'{key}' is a table: write [{'.'.join(here)}]"
                problems.append(f"{place(here)}: error: {told}")
                continue
            values[key] = _record(value, hints[key], place, here, problems)
        else:
            try:
                values[key] = _value(value, hints[key])
                if key in SECRETS and values[key] is not None:
                    require_secret(values[key])
            except (_Wrong, Invalid) as wrong:
                problems.append(f"{place(here)}: error: '{key}' {wrong}")
    return kind(**values) if len(problems) == before else None


def _unknown(key: str, known: Mapping[str, Any], names: tuple[str, ...]) -> str:
    where = f" in [{'.'.join(names)}]" if names else ""
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"
    return f"there is no '{key}'{where} ({hint})"


def _value(value: Any, kind: Any) -> Any:
    """The value as its field wants it. Raises _Wrong with the end of a sentence that begins with the key."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        [inner] = [one for one in arguments if one is not types.NoneType]
        return _value(value, inner)
    if origin is tuple:
        return tuple(_value(one, str) for one in _expected(value, list, "a list of texts"))
    if origin is dict:
        table = _expected(value, dict, "a table of texts")
        return {key: _value(one, str) for key, one in table.items()}
    if kind is timedelta:
        return _duration(value)
    if kind is Path:
        path = Path(_expected(value, str, "a path"))
        if not path.is_absolute():
            raise _Wrong(f"is a path that begins with /, not {str(path)!r}")
        return path
    if isinstance(kind, type) and issubclass(kind, enum.StrEnum):
        words = [str(one) for one in kind]
        if value not in words:
            raise _Wrong(f"is one of {', '.join(words)}, not {value!r}")
        return kind(value)
    if kind is bool:
        return _expected(value, bool, "true or false")
    if isinstance(value, bool):
        raise _Wrong("is not true or false")
    if kind is float:
        return float(_expected(value, (int, float), "a number"))
    if kind is int:
        number = _expected(value, int, "a whole number")
        if number < 0:
            raise _Wrong(f"is 0 or more, not {number}")
        return number
    return _expected(value, str, "a text in quotes")


def _expected(value: Any, kind: type | tuple[type, ...], what: str) -> Any:
    if not isinstance(value, kind):
        raise _Wrong(f"is {what}, not {value!r}")
    return value


def _duration(value: Any) -> timedelta:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _Wrong(f'is a duration such as "20s", not {value!r}')
    try:
        found = duration(value) if isinstance(value, str) else timedelta(seconds=value)
    except (BadValue, OverflowError, ValueError):
        raise _Wrong(f'is a duration such as "20s", not {value!r}') from None
    if not timedelta(0) < found < timedelta(days=36500):
        raise _Wrong(f"is a duration longer than nothing, not {value!r}")
    return found


# --- writing --------------------------------------------------------------------------------------------------------


def _table_lines(settings: Any, names: Sequence[str]) -> list[str]:
    lines: list[str] = []
    tables: list[str] = []
    default = type(settings)()
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if value == getattr(default, field.name):
            continue
        if dataclasses.is_dataclass(value):
            here = (*names, field.name)
            tables += ["", f"[{'.'.join(here)}]", *_table_lines(value, here)]
        else:
            lines.append(f"{field.name} = {_written(value)}")
    return [*lines, *tables]


def _written(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case timedelta():
            seconds = f"{value.total_seconds():f}".rstrip("0").rstrip(".")
            return f'"{seconds}s"'
        case tuple():
            return f"[{', '.join(map(_written, value))}]"
        case dict():
            pairs = (f"{_written(key)} = {_written(one)}" for key, one in value.items())
            return f"{{ {', '.join(pairs)} }}"
        case _:
            # A JSON string is a TOML basic string, but for DEL and surrogates, which are no names of anything here.
            return json.dumps(str(value), ensure_ascii=False)
