"""What systemd itself makes of unit files: `systemd-analyze verify` with debug logging dumps each unit that it loaded."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# The dump shows control characters as C escapes and what a shell would read as more than itself after a backslash.
_ESCAPED = re.compile(r"\\([0-7]{3}|.)", re.DOTALL)
_CONTROLS = dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True))
_QUOTED = re.compile(r'"((?:\\.|[^"\\])*)"|([^ ]+)', re.DOTALL)


@dataclass
class Loaded:
    """A unit as systemd has it."""

    properties: dict[str, list[str]] = field(default_factory=dict)
    """`Description`, `Environment`, `Requires` ...: every line of the dump, by its name."""
    commands: dict[str, list[list[str]]] = field(default_factory=dict)
    """The argument vectors of `ExecStart` and the others."""

    @property
    def description(self) -> str:
        return self.properties["Description"][0]


@dataclass
class Answer:
    units: dict[str, Loaded] = field(default_factory=dict)
    """The units that could be loaded."""
    messages: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    """What was said about each file: line and text."""

    def unknown_keys(self, name: str) -> list[tuple[int, str, str]]:
        """Line, section and key of each assignment that systemd read but has no such key for."""
        found = []
        for line, message in self.messages.get(name, []):
            match = re.fullmatch(
                r"Unknown key '(.*)' in section \[(.*)\], ignoring\.", message, re.DOTALL
            )
            if match:
                found.append((line, match[2], match[1]))
        return found


def ask(directory: Path, files: Mapping[str, bytes]) -> Answer:
    """Write the files, let systemd load them, and return what it understood."""
    for name, data in files.items():
        (directory / name).write_bytes(data)
    return ask_about(directory, list(files))


def ask_about(directory: Path, names: Sequence[str]) -> Answer:
    program = shutil.which("systemd-analyze")
    assert program, "systemd-analyze is missing: install Debian's package systemd"
    done = subprocess.run(
        [program, "verify", "--man=no", *(str(directory / name) for name in names)],
        capture_output=True,
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "debug", "SYSTEMD_LOG_COLOR": "0", "LC_ALL": "C"},
        timeout=55,
        check=False,
    )
    answer = Answer()
    _read_dumps(done.stdout.decode("utf-8", "surrogateescape"), answer)
    prefix = re.escape(str(directory))
    said = done.stderr.decode("utf-8", "surrogateescape")
    for match in re.finditer(rf"^{prefix}/([^/\n]+?):(\d+): (.*)$", said, re.MULTILINE):
        answer.messages.setdefault(match[1], []).append((int(match[2]), match[3]))
    return answer


def _unescaped(match: re.Match[str]) -> str:
    escape = match[1]
    return chr(int(escape, 8)) if len(escape) == 3 else _CONTROLS.get(escape, escape)


def _read_dumps(dump: str, answer: Answer) -> None:
    unit, command = Loaded(), ""
    for line in dump.split("\n"):
        if line.startswith("\t-> Unit "):
            unit = answer.units.setdefault(line[9:-1], Loaded())
        elif line.startswith("\t\t-> "):
            command = line[5:-1]
        elif line.startswith("\t\t\tCommand Line: "):
            words = [
                _ESCAPED.sub(_unescaped, quoted) if quoted or not bare else bare
                for quoted, bare in _QUOTED.findall(line[17:])
            ]
            unit.commands.setdefault(command, []).append(words)
        elif line.startswith("\t\t"):
            name, _, value = line[2:].partition(": ")
            unit.properties.setdefault(name, []).append(value)
