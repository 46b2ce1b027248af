"""What the terminal can do, and text that is safe to show on it.

Colours are for a terminal only, and for one whose user did not ask for none (https://no-color.org). They never carry
meaning alone: what is red also says "failed".
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from typing import TextIO

_CODES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}
UNIT_COLOURS = ("cyan", "magenta", "yellow", "blue", "green")
"""Colours that tell units apart; red is left to failures."""

_SGR = re.compile(r"\x1b\[[0-9;:]*m")


class Style:
    """Colours text, or leaves it alone when the output is not for eyes."""

    def __init__(self, *, has_colour: bool) -> None:
        self.has_colour = has_colour

    def paint(self, text: str, colour: str) -> str:
        """colour: a name of `_CODES`, or empty for none."""
        if not (self.has_colour and colour and text):
            return text
        return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"

    def bold(self, text: str) -> str:
        return self.paint(text, "bold")

    def dim(self, text: str) -> str:
        return self.paint(text, "dim")

    def state(self, text: str, active: str) -> str:
        """The text in the colour of systemd's active state."""
        return self.paint(text, STATE_COLOURS.get(active, ""))


STATE_COLOURS = {
    "active": "green",
    "reloading": "green",
    "activating": "yellow",
    "deactivating": "yellow",
    "failed": "red",
}


def style(args: argparse.Namespace, stream: TextIO | None = None) -> Style:
    """Colours for the stream, which is stdout when none is given."""
    wanted = not (args.no_color or os.environ.get("NO_COLOR"))
    return Style(has_colour=wanted and is_terminal(stream or sys.stdout))


def is_terminal(stream: TextIO) -> bool:
    """Whether a person sees the stream on a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def size() -> os.terminal_size:
    """Columns and lines: $COLUMNS and $LINES, else the terminal's, else 80 and 24. As shutil has it, which costs more."""
    try:
        real = os.get_terminal_size(sys.__stdout__.fileno() if sys.__stdout__ else -1)
    except (OSError, ValueError):
        real = os.terminal_size((80, 24))
    columns, lines = (_number(os.environ.get(name, "")) for name in ("COLUMNS", "LINES"))
    return os.terminal_size((columns or real.columns or 80, lines or real.lines or 24))


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def printable(text: str) -> str:
    """The text on one line and without control characters: what units and clients wrote may not move the cursor,
    retitle the window or hide a line. Each becomes a `?`; tabs become spaces.
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else "?" for sign in text.expandtabs(4))


def output_line(text: str, *, has_colour: bool) -> str:
    """A line of a unit's output for a terminal: colours stay where they are wanted, other control characters go."""
    if text.isprintable():
        return text
    if not has_colour:
        return printable(_SGR.sub("", text))
    pieces = _SGR.split(text)
    colours = _SGR.findall(text)
    shown = printable(pieces[0])
    for colour, piece in zip(colours, pieces[1:], strict=True):
        shown += colour + printable(piece)
    return shown + ("\x1b[0m" if colours else "")


def shortened(text: str, columns: int) -> str:
    """At most so many characters, the last a dot-dot-dot where something is missing."""
    return text if len(text) <= columns else text[: max(columns - 3, 0)] + "..."
