"""Shows how units come to where they are wanted, one line for each.

On a terminal the lines are rewritten in place; elsewhere (a pipe, CI) each change that lasts is a line of its own.
`finish` leaves the result in either case, with the cause and the last output of what failed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import TextIO

from argosy.cli import explanations, terminal
from argosy.cli.judging import Outcome, Verdict
from argosy.cli.terminal import Style

TAIL_LINES = 10
"""How much of a failed unit's last output is shown."""

LASTS_SECONDS = 1.0
"""What a unit is waiting for is told, where lines cannot be rewritten, once it has taken so long."""

_SIGNS: Mapping[Outcome, tuple[str, str]] = {
    Outcome.DONE: ("✓", "ok"),
    Outcome.FAILED: ("✗", "failed"),
    Outcome.PENDING: ("!", "no place"),
    Outcome.WAITING: ("·", "waiting"),
}
_COLOURS: Mapping[Outcome, str] = {
    Outcome.DONE: "green",
    Outcome.FAILED: "red",
    Outcome.PENDING: "yellow",
    Outcome.WAITING: "dim",
}
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class Progress:
    """A display of units on one stream."""

    def __init__(
        self,
        names: list[str],
        *,
        style: Style,
        machine_name: Callable[[str], str],
        stream: TextIO | None = None,
        is_live: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """is_live: rewrite lines; by default on a terminal."""
        self._stream = stream or sys.stdout
        self._names = names
        self._width = max(map(len, names), default=0)
        self._style = style
        self._machine_name = machine_name
        self._is_live = terminal.is_terminal(self._stream) if is_live is None else is_live
        self._has_signs = (self._stream.encoding or "").lower().replace("-", "") == "utf8"
        self._clock = clock
        self._began = clock()
        self._verdicts: dict[str, Verdict] = {}
        self._changed_at: dict[str, float] = {}
        self._told: dict[str, str] = {}
        """What was last said of a unit that is not shown live."""
        self._drawn = 0
        """Lines on the terminal that are to be rewritten."""

    def observe(self, name: str, verdict: Verdict) -> None:
        """A unit's verdict changed."""
        self._verdicts[name] = verdict
        self._changed_at[name] = self._clock()

    def tick(self) -> None:
        """Let the display move; call it some times a second."""
        if self._is_live:
            self._draw(self._live_lines())
        else:
            lasting = [name for name in self._names if self._lasts(name)]
            self._tell(lasting)

    def finish(self) -> None:
        """Leave the last word about each unit."""
        if self._is_live:
            self._draw([])
        self._tell([name for name in self._names if name in self._verdicts])

    def _tell(self, names: list[str]) -> None:
        for name in names:
            verdict = self._verdicts[name]
            if self._told.get(name) != verdict.text:
                self._told[name] = verdict.text
                took = self._took(name) if self._is_live else ""
                lines = [self._line(name, verdict, took), *self._details(verdict)]
                self._write("".join(line + "\n" for line in lines))
        self._stream.flush()

    def _lasts(self, name: str) -> bool:
        """Whether a verdict has stood long enough to be worth a line; most pass in milliseconds."""
        if name not in self._verdicts:
            return False
        held_for = self._clock() - self._changed_at[name]
        return held_for >= min(self._verdicts[name].stands_after_seconds, LASTS_SECONDS)

    def _live_lines(self) -> list[str]:
        rows, columns = self._size()
        shown = [name for name in self._names if name in self._verdicts]
        if len(shown) > rows:
            # What is done is the least interesting; the sentence at the end counts it.
            shown = [n for n in shown if self._verdicts[n].outcome is not Outcome.DONE][: rows - 1]
        lines = [self._fitting(name, columns) for name in shown]
        if len(shown) < len(self._names):
            done = sum(one.outcome is Outcome.DONE for one in self._verdicts.values())
            lines.append(f"{done} of {len(self._names)} done")
        return lines

    def _fitting(self, name: str, columns: int) -> str:
        verdict = self._verdicts[name]
        room = columns - self._width - 14
        text = terminal.shortened(terminal.printable(verdict.text), max(room, 10))
        shortened = Verdict(verdict.outcome, text)
        return self._line(name, shortened, self._took(name), is_moving=True)

    def _line(self, name: str, verdict: Verdict, took: str, *, is_moving: bool = False) -> str:
        sign = self._sign(verdict.outcome, is_moving=is_moving)
        colour = _COLOURS[verdict.outcome]
        text = terminal.printable(verdict.text)
        if verdict.outcome in (Outcome.FAILED, Outcome.PENDING):
            text = self._style.paint(text, colour)
        line = f"{self._style.paint(sign, colour)} {name.ljust(self._width)}  {text}"
        return f"{line}  {self._style.dim(took)}" if took else line

    def _sign(self, outcome: Outcome, *, is_moving: bool) -> str:
        if not self._has_signs:
            return _SIGNS[outcome][1].ljust(8)
        if outcome is Outcome.WAITING and is_moving:
            return _SPINNER[int(self._clock() * 10) % len(_SPINNER)]
        return _SIGNS[outcome][0]

    def _took(self, name: str) -> str:
        is_waiting = self._verdicts[name].outcome is Outcome.WAITING
        until = self._clock() if is_waiting else self._changed_at[name]
        return f"{until - self._began:.1f}s"

    def _details(self, verdict: Verdict) -> list[str]:
        if verdict.explanation is not None:
            found = explanations.lines(verdict.explanation, self._machine_name)
            return [f"    {terminal.printable(line)}" for line in found]
        if verdict.outcome is Outcome.DONE or verdict.row is None:
            return []
        return tail_lines(verdict.row["last_lines"], self._style)

    def _draw(self, lines: list[str]) -> None:
        up = f"\x1b[{self._drawn}F" if self._drawn else ""
        self._write(up + "\x1b[J" + "".join(line + "\n" for line in lines))
        self._drawn = len(lines)
        self._stream.flush()

    def _size(self) -> tuple[int, int]:
        size = terminal.size()
        return max(size.lines - 2, 3), size.columns

    def _write(self, text: str) -> None:
        self._stream.write(text)


def tail_lines(output: list[str], style: Style) -> list[str]:
    """The end of a unit's output, set apart by a bar."""
    bar = style.dim("|")
    return [
        f"    {bar} {terminal.output_line(line, has_colour=style.has_colour)}"
        for line in output[-TAIL_LINES:]
    ]
