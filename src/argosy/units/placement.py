"""`[X-Placement]`: where a unit may run, beyond what fleet knew: reservations, spreading, conditions with operators, and
what happens when its machine is cut off.
"""

from __future__ import annotations

import math
import re
from datetime import timedelta

import msgspec

from argosy.model.silence import move_after_for, shortest_move_after, stopping_time
from argosy.model.unit import Condition, Operator, WhenCutOff
from argosy.settings import PresenceSettings
from argosy.units import quoting, values
from argosy.units.diagnostics import Problems
from argosy.units.names import NameParts
from argosy.units.sections import Section
from argosy.units.text import UnitText
from argosy.units.values import BadValue

TITLE = "X-Placement"

KEYS = frozenset({"Memory", "CPU", "Spread", "Require", "MaxPerMachine", "WhenCutOff", "MoveAfter"})

_METADATA_KEY = re.compile(r"[A-Za-z0-9_.-]+")
_CONDITION = re.compile(r"([^\s=!<>]+)\s*(!=|==|=|<=|>=|<|>|\s[iI][nN]\s)\s*(.*)", re.DOTALL)


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """What the section says."""

    memory_bytes: int = 0
    cpu_millis: int = 0
    spread: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    max_per_machine: int | None = None
    when_cut_off: WhenCutOff = WhenCutOff.KEEP
    move_after: timedelta | None = None


def read(text: UnitText, name: NameParts, problems: Problems, *, is_global: bool) -> Placement:
    """Read the section; without one, everything is at its default. Faults go to `problems`.

    is_global: whether the unit has Global=yes, which leaves some keys without a meaning.
    """
    section = Section(text, TITLE, name, keys=KEYS, problems=problems)
    if is_global:
        for key in ("Spread", "MaxPerMachine", "MoveAfter"):
            if section.has(key):
                section.error_at_key(
                    key,
                    f"{key} has no effect on a unit with Global=yes, which runs once on every machine",
                    hint=f"remove {key}= or Global=",
                )
    when_cut_off = section.one("WhenCutOff", values.one_of(WhenCutOff), WhenCutOff.KEEP)
    move_after = section.optional("MoveAfter", values.positive_duration)
    if when_cut_off is WhenCutOff.STOP and not is_global:
        _check_stopping(section, move_after, _stop_timeout(text))
    return Placement(
        memory_bytes=section.one("Memory", values.size, 0),
        cpu_millis=section.one("CPU", values.cpu, 0),
        spread=section.each("Spread", _read_keys),
        conditions=section.each("Require", _read_conditions),
        max_per_machine=section.optional(
            "MaxPerMachine", values.integer(at_least=1, at_most=100_000)
        ),
        when_cut_off=when_cut_off,
        move_after=move_after,
    )


def _check_stopping(
    section: Section, move_after: timedelta | None, timeout: timedelta | None
) -> None:
    """What is cut off must be heard of again or have stopped before `MoveAfter=` is over. Judged by the times that a
    cluster has unless it is set otherwise; the engine waits longer than `MoveAfter=` says where its own ask for it.
    """
    usual = PresenceSettings()
    if move_after is not None:
        needed = max(shortest_move_after(usual), move_after_for(timeout or timedelta(), usual))
        if move_after < needed:
            why = f" with TimeoutStopSec={_in_words(timeout)}" if timeout is not None else ""
            section.error_at_key(
                "MoveAfter",
                f"MoveAfter={_in_words(move_after)} is too short for WhenCutOff=stop{why}: "
                "the unit may not have ended by then",
                hint=f"write MoveAfter={_in_words(needed)} or more"
                + (", or a shorter TimeoutStopSec=" if timeout is not None else ""),
            )
    elif timeout is not None and timeout > stopping_time(usual.lost_after, usual):
        needed = move_after_for(timeout, usual)
        section.warning(
            section.entries("WhenCutOff")[-1],
            f"stopping takes up to {_in_words(timeout)} by TimeoutStopSec=, but the unit is killed after "
            f"{_in_words(stopping_time(usual.lost_after, usual))}, so that it can run elsewhere",
            hint=f"write MoveAfter={_in_words(needed)} to give it that time",
        )


def _stop_timeout(text: UnitText) -> timedelta | None:
    """The unit's own limit for stopping, None where it has none that ends. What is wrong with it is told elsewhere."""
    entries = [*text.assigned("Service", "TimeoutSec"), *text.assigned("Service", "TimeoutStopSec")]
    if not entries:
        return None
    try:
        return values.positive_duration(entries[-1].value)
    except BadValue:
        return None


def _in_words(time: timedelta) -> str:
    """Whole seconds, rounded up."""
    return f"{math.ceil(time.total_seconds())}s"


def _read_keys(value: str) -> list[str]:
    found = quoting.words(value)
    for word in found:
        if not _METADATA_KEY.fullmatch(word.text):
            raise BadValue(
                f"'{word.text}' is no metadata key",
                offset=word.start,
                hint="write keys such as zone, separated by blanks",
            )
    return [word.text for word in found]


def _read_conditions(value: str) -> list[Condition]:
    """One condition, or several each in quotes."""
    if not value.startswith('"'):
        return [_read_condition(value)]
    return [_read_condition(word.text) for word in quoting.words(value)]


def _read_condition(text: str) -> Condition:
    match = _CONDITION.fullmatch(text)
    if match is None or not _METADATA_KEY.fullmatch(match[1]):
        raise BadValue(
            f"'{text}' is no condition",
            hint="write disk=ssd, disk!=hdd, cores>4, cores<64 or 'zone in a,b'",
        )
    key, sign, rest = match[1], match[2].strip().lower(), match[3].strip()
    if sign in ("==", "<=", ">="):
        raise BadValue(
            f"'{sign}' is no operator here", offset=match.start(2), hint="operators are = != < > in"
        )
    operator = Operator(sign)
    found = tuple(part for part in re.split(r"[,\s]+" if sign == "in" else r",", rest) if part)
    if not found:
        raise BadValue(f"'{text}' has nothing to compare with", offset=match.start(3))
    for part in found:
        if re.search(r"[\s=<>\"]", part):
            raise BadValue(
                f"'{part}' is no metadata value",
                offset=match.start(3),
                hint="write one condition a line",
            )
    if operator in (Operator.LESS, Operator.GREATER) and len(found) > 1:
        raise BadValue(f"'{sign}' compares with one value", offset=match.start(3))
    return Condition(key, operator, found)
