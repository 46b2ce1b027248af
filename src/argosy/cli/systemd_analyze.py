"""A second opinion on unit files: `systemd-analyze verify`, where the machine has it.

Its words are kept. What it writes and we read: `/path/web.service:3: MESSAGE` for a line, `web.service: MESSAGE` for a
unit; for a template it makes up the instance `i`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from argosy.units.diagnostics import Diagnostic, Severity, source_lines

TIMEOUT_SECONDS = 20
PROGRAM = "systemd-analyze"

_AT_LINE = re.compile(r"(?P<path>/[^:]+):(?P<line>\d+): (?P<message>.+)")
_OF_UNIT = re.compile(r"(?P<unit>[^\s:/]+): (?P<message>.+)")
_PROGRAM = re.compile(r"Command (\S+) is not executable")
_REFUSALS = ("Refusing", "refusing", "bad unit file setting", "lacks ")
"""Words with which systemd says that it will not have the unit; all else it only ignores."""


def verify(texts: Mapping[str, bytes]) -> list[Diagnostic]:
    """What systemd says about files, given by path with their texts, which it reads again.

    Empty when there is no systemd-analyze, or no answer in time.
    """
    program = shutil.which(PROGRAM)
    if program is None or not texts:
        return []
    by_path = {str(Path(path).absolute()): path for path in texts}
    try:
        done = subprocess.run(
            [program, "verify", "--man=no", *by_path],
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return read(done.stderr.decode(errors="replace"), by_path, texts)


def read(output: str, by_path: Mapping[str, str], texts: Mapping[str, bytes]) -> list[Diagnostic]:
    """Diagnostics from its output; lines about other files than these are left out.

    by_path: from the files' absolute paths to how they are named in `texts`.
    """
    by_unit = {Path(path).name: shown for path, shown in by_path.items()}
    found = []
    for line in output.splitlines():
        at_line, of_unit = _AT_LINE.fullmatch(line), _OF_UNIT.fullmatch(line)
        if at_line and at_line["path"] in by_path:
            place, number = by_path[at_line["path"]], int(at_line["line"])
            message = at_line["message"]
        elif of_unit and (file := _file_of(of_unit["unit"], by_unit)):
            place, message = file, of_unit["message"]
            number = _line_of(message, texts.get(file, b""))
        else:
            continue
        is_refused = any(word in message for word in _REFUSALS)
        found.append(
            Diagnostic(
                file=place,
                line=number,
                column=1,
                severity=Severity.ERROR if is_refused else Severity.WARNING,
                message=f"systemd: {message}",
            )
        )
    return found


def _line_of(message: str, text: bytes) -> int:
    """The line that a message about the whole unit is about: the first one with the program that it names, else 1."""
    named = _PROGRAM.search(message)
    if named is not None:
        for number, line in enumerate(source_lines(text.decode(errors="replace")), start=1):
            if line.startswith("Exec") and named[1] in line:
                return number
    return 1


def _file_of(unit: str, by_unit: Mapping[str, str]) -> str | None:
    return by_unit.get(unit) or by_unit.get(unit.replace("@i.", "@.", 1))
