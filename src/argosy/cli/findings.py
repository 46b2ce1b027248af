"""What `argosy doctor` finds."""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass


class Level(enum.StrEnum):
    GOOD = "good"
    WARNING = "warning"
    """It works, and may not for long or not as expected."""
    BAD = "bad"
    """Something does not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    subject: str
    """A word or two: `server`, `disk space`."""
    text: str
    next_step: str = ""
    """What to do, when something is to be done."""

    def as_json(self) -> dict[str, str]:
        return asdict(self)


def good(subject: str, text: str) -> Finding:
    return Finding(Level.GOOD, subject, text)


def warning(subject: str, text: str, next_step: str) -> Finding:
    return Finding(Level.WARNING, subject, text, next_step)


def bad(subject: str, text: str, next_step: str) -> Finding:
    return Finding(Level.BAD, subject, text, next_step)
