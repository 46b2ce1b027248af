"""Pure: whether units are where somebody who waits wants them, from what a watch has told so far.

What surprises: a state that was there before the request proves nothing (a failed unit that is started again is still
"failed" for a moment, and one that is restarted still "active"), so a wish knows the rows from before it. And no answer is
final at once: a program that cannot work is "active" for some milliseconds, so each has a time that it must stand.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from argosy.cli import causes
from argosy.client import Explanation, StateView, UnitView, WatchItem


class Goal(enum.Enum):
    """What somebody waits for."""

    RUNNING = "running"
    """Started wherever it is placed; what ran and ended well has been running, too."""
    STOPPED = "stopped"
    """Runs nowhere."""
    LOADED = "loaded"
    """On a machine, which has its file, and not running."""
    UNLOADED = "unloaded"
    """On no machine. Holds for a unit that is no more."""
    AWAY = "away"
    """Gone from one machine, and on another as it is wanted, if it is wanted."""


class Outcome(enum.Enum):
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    PENDING = "pending"
    """No machine can have it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How it stands with one unit."""

    outcome: Outcome
    text: str
    """In words, without the unit's name: `running on 113f16a7...`."""
    row: StateView | None = None
    """The state that shows it, where one does."""
    explanation: Explanation | None = None

    @property
    def stands_after_seconds(self) -> float:
        """How long it must not change before it counts."""
        return STANDS_AFTER[self.outcome]


STANDS_AFTER: dict[Outcome, float] = {
    Outcome.DONE: 0.25,
    # Between stop and start of a restart a unit may look failed.
    Outcome.FAILED: 0.5,
    # A machine that has only just come is not yet known everywhere.
    Outcome.PENDING: 2.0,
    Outcome.WAITING: float("inf"),
}
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody waits for with one unit.

    before: its rows by machine from before the request. is_new_run: they prove nothing, a new run is wanted.
    is_new_version: neither does any row of the version that they had.
    away_from: with `Goal.AWAY`, the machine that it leaves.
    """

    goal: Goal
    before: Mapping[str, StateView] = field(default_factory=dict)
    is_new_run: bool = False
    is_new_version: bool = False
    away_from: str = ""

    def is_stale(self, row: StateView) -> bool:
        """Whether the row may be of what was there before the request."""
        old = self.before.get(row["machine"])
        if old is None:
            return False
        if self.is_new_version:
            return old["digest"] == row["digest"]
        return self.is_new_run and _run(old) == _run(row)


def _run(row: StateView) -> tuple[object, ...]:
    return row["active"], row["since"], row["main_pid"], row["digest"], row["restarts"]


class Situation:
    """Units and their states, as a watch tells them."""

    def __init__(self, units: Iterable[UnitView] = (), states: Iterable[StateView] = ()) -> None:
        self.units: dict[str, UnitView] = {unit["name"]: unit for unit in units}
        self.states: dict[str, dict[str, StateView]] = {}
        self._refused: dict[str, str] = {}
        self._not_started: dict[str, str] = {}
        self._not_moved: dict[str, str] = {}
        for row in states:
            self.states.setdefault(row["name"], {})[row["machine"]] = row

    def fold(self, item: WatchItem) -> str | None:
        """Take in what a watch told. Returns the unit that it is about, if any."""
        data = item.data
        name: str | None = data.get("name")
        if item.kind == "unit" and name:
            if data.get("deleted"):
                self.units.pop(name, None)
            else:
                self.units[name] = data  # type: ignore[assignment]
        elif item.kind == "state" and name:
            rows = self.states.setdefault(name, {})
            if data.get("deleted"):
                rows.pop(data["machine"], None)
            else:
                rows[data["machine"]] = data  # type: ignore[assignment]
                self._refused.pop(name, None)
                if data["active"] != "inactive":
                    self._not_started.pop(name, None)
        elif item.kind == "event":
            name = data["unit"] or None
            if name and data["kind"] == "unit.refused":
                self._refused[name] = data["message"]
            elif name and data["kind"] == "unit.not-started":
                self._not_started[name] = data["message"]
            elif name and data["kind"] == "unit.move-refused":
                self._not_moved[name] = data["message"]
        else:
            return None
        return name

    def judge(self, name: str, wish: Wish, machine_name: Callable[[str], str]) -> Verdict:
        unit = self.units.get(name)
        rows = self.states.get(name, {})
        if wish.goal is Goal.UNLOADED:
            return _unloaded(unit, rows, machine_name)
        if wish.goal is Goal.AWAY:
            return self._away(name, wish, machine_name)
        if unit is None:
            return Verdict(Outcome.FAILED, "was destroyed by somebody meanwhile")
        wanted = "launched" if wish.goal is Goal.RUNNING else "loaded"
        if unit["desired"] != wanted and wish.goal is not Goal.STOPPED:
            return Verdict(Outcome.FAILED, f"somebody wants it {unit['desired']} meanwhile")
        if wish.goal is Goal.STOPPED:
            return _stopped(rows, machine_name)
        if not unit["machines"]:
            if unit["pending"]:
                summary = unit["pending"]["summary"]
                return Verdict(Outcome.PENDING, summary, explanation=unit["pending"])
            return Verdict(Outcome.WAITING, "waiting for a machine")
        return self._judge_everywhere(name, unit, wish, machine_name)

    def _judge_everywhere(
        self, name: str, unit: UnitView, wish: Wish, machine_name: Callable[[str], str]
    ) -> Verdict:
        rows = self.states.get(name, {})
        verdicts = [
            self._judge_on(name, rows.get(machine), wish, machine_name(machine))
            for machine in unit["machines"]
        ]
        return _worst(verdicts)

    def _away(self, name: str, wish: Wish, machine_name: Callable[[str], str]) -> Verdict:
        unit = self.units.get(name)
        row = self.states.get(name, {}).get(wish.away_from)
        if unit and wish.away_from in unit["machines"]:
            if name in self._not_moved:
                return Verdict(Outcome.FAILED, self._not_moved[name])
            return Verdict(Outcome.WAITING, f"still on {machine_name(wish.away_from)}", row)
        if row is not None:
            text = f"{row['active']} ({row['sub']}) on {machine_name(wish.away_from)}"
            return Verdict(Outcome.WAITING, f"leaving: {text}", row)
        if unit is None or unit["desired"] == "inactive":
            return Verdict(Outcome.DONE, "is gone")
        if not unit["machines"]:
            if unit["pending"]:
                summary = unit["pending"]["summary"]
                return Verdict(Outcome.PENDING, summary, explanation=unit["pending"])
            if unit["global"]:
                return Verdict(Outcome.DONE, "is gone")
            return Verdict(Outcome.WAITING, "waiting for a machine")
        goal = Goal.RUNNING if unit["desired"] == "launched" else Goal.LOADED
        return self._judge_everywhere(name, unit, Wish(goal), machine_name)

    def _judge_on(self, name: str, row: StateView | None, wish: Wish, machine: str) -> Verdict:
        if name in self._refused:
            return Verdict(Outcome.FAILED, f"{machine} refuses it: {self._refused[name]}")
        if row is None or row["digest"] is None:
            return Verdict(Outcome.WAITING, f"on its way to {machine}")
        if wish.goal is Goal.RUNNING and name in self._not_started:
            return Verdict(Outcome.FAILED, f"{self._not_started[name]} on {machine}", row)
        if wish.is_stale(row):
            # The row is no part of the answer: its output is of the run before.
            return Verdict(Outcome.WAITING, f"{machine} has yet to act")
        if row["load"] != "loaded":
            return Verdict(Outcome.FAILED, causes.cause(row), row)
        if wish.goal is Goal.LOADED:
            return _loaded(row, machine)
        return _running(row, machine)


def _running(row: StateView, machine: str) -> Verdict:
    match row["active"]:
        case "active" | "reloading":
            word = "ran and stays active" if row["sub"] == "exited" else "running"
            return Verdict(Outcome.DONE, f"{word} on {machine}", row)
        case "failed":
            return Verdict(Outcome.FAILED, f"failed: {causes.cause(row)}", row)
        case "inactive" if row["has_run"]:
            skipped = row["result"] == "exec-condition"
            words = causes.cause(row) if skipped else f"ran and ended on {machine}"
            return Verdict(Outcome.DONE, words, row)
        case "inactive":
            return Verdict(Outcome.WAITING, f"not started yet on {machine}", row)
        case "activating" if row["sub"] == "auto-restart":
            why = causes.cause(row) or "it ended"
            return Verdict(Outcome.WAITING, f"to be restarted on {machine}: {why}", row)
    return Verdict(Outcome.WAITING, f"{row['active']} ({row['sub']}) on {machine}", row)


def _loaded(row: StateView, machine: str) -> Verdict:
    if row["active"] in ("inactive", "failed"):
        return Verdict(Outcome.DONE, f"loaded on {machine}", row)
    return Verdict(Outcome.WAITING, f"{row['active']} ({row['sub']}) on {machine}", row)


def _stopped(rows: Mapping[str, StateView], machine_name: Callable[[str], str]) -> Verdict:
    for machine, row in sorted(rows.items()):
        if row["active"] not in ("inactive", "failed"):
            text = f"{row['active']} ({row['sub']}) on {machine_name(machine)}"
            return Verdict(Outcome.WAITING, text, row)
    causes_found = [causes.cause(row) for row in rows.values() if row["active"] == "failed"]
    return Verdict(Outcome.DONE, "; ".join(["stopped", *causes_found[:1]]))


def _unloaded(
    unit: UnitView | None, rows: Mapping[str, StateView], machine_name: Callable[[str], str]
) -> Verdict:
    if unit is not None and unit["desired"] != "inactive":
        return Verdict(Outcome.FAILED, f"somebody wants it {unit['desired']} meanwhile")
    if not rows and not (unit and unit["machines"]):
        return Verdict(Outcome.DONE, "destroyed" if unit is None else "unloaded")
    for machine, row in sorted(rows.items()):
        text = f"{row['active']} ({row['sub']}) on {machine_name(machine)}"
        return Verdict(Outcome.WAITING, text, row)
    return Verdict(Outcome.WAITING, "being taken off its machine")


_ORDER = (Outcome.FAILED, Outcome.WAITING, Outcome.PENDING, Outcome.DONE)


def _worst(verdicts: list[Verdict]) -> Verdict:
    worst = min(verdicts, key=lambda verdict: _ORDER.index(verdict.outcome))
    if worst.outcome is Outcome.DONE and len(verdicts) > 1:
        return Verdict(Outcome.DONE, f"{worst.text} and {len(verdicts) - 1} more", worst.row)
    return worst
