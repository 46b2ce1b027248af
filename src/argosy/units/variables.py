"""`environments/NAME.env`: the variables of one environment, such as staging or production.

Lines of `KEY=VALUE`; blank lines and those that begin with `#` or `;` say nothing. A value may stand in single or double
quotes. This is the part of systemd's EnvironmentFile= format on which every reader agrees, so the same file also serves
there; what readers disagree about (backslashes, quotes within a value, `export`) is an error instead of a surprise.
"""

from __future__ import annotations

import re

from argosy.units.diagnostics import Diagnostic, Problems, source_lines

_ASSIGNMENT = re.compile(r"([^=]*?)[ \t]*=[ \t]*(.*)")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_QUOTED = re.compile(r"'([^']*)'|\"([^\"\\$`]*)\"")
_BARE = re.compile(r"[^'\"\\]*")


def parse(data: bytes, *, file: str) -> tuple[dict[str, str], tuple[Diagnostic, ...]]:
    """The variables of a file, and what is wrong with it. Of a variable assigned twice the last value holds."""
    problems = Problems(file)
    found: dict[str, str] = {}
    try:
        text = data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        bad_line = data.count(b"\n", 0, error.start) + 1
        problems.error(bad_line, 1, "not valid UTF-8", hint="save the file as UTF-8")
        return {}, problems.sorted()
    for number, line in enumerate(source_lines(text), start=1):
        content = line.strip(" \t")
        if content and content[0] not in "#;":
            _assign(content, number, line.index(content) + 1, found, problems)
    return found, problems.sorted()


def _assign(
    content: str, line: int, column: int, found: dict[str, str], problems: Problems
) -> None:
    match = _ASSIGNMENT.fullmatch(content)
    if match is None:
        problems.error(line, column, "no '=' in the line", hint="write KEY=VALUE")
        return
    variable, value = match[1], match[2]
    if not _VARIABLE.fullmatch(variable):
        hint = f"write {variable[7:].strip()}=" if variable.startswith("export ") else ""
        problems.error(line, column, f"{variable!a} is no name of a variable", hint=hint)
    elif not value.isprintable():
        problems.error(line, column + match.start(2), "the value has a control character")
    elif quoted := _QUOTED.fullmatch(value):
        found[variable] = quoted[1] if quoted[1] is not None else quoted[2]
    elif _BARE.fullmatch(value):
        found[variable] = value
    else:
        problems.error(
            line,
            column + match.start(2),
            "quotes and backslashes are read differently by different programs",
            hint="put the whole value in single quotes",
        )
