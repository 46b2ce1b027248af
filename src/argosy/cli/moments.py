"""Instants as people read them. The API's are ISO 8601 strings with an offset."""

from __future__ import annotations

from datetime import UTC, datetime

_STEPS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def parsed(text: str) -> datetime:
    return datetime.fromisoformat(text)


def now() -> datetime:
    return datetime.now(UTC)


def ago(text: str | None, at: datetime) -> str:
    """`3min 2s ago`; empty for no instant. at: what counts as now."""
    return f"{elapsed(text, at)} ago" if text else ""


def elapsed(text: str | None, at: datetime) -> str:
    """`3min 2s`; empty for no instant, `0s` for one that is yet to come (clocks differ)."""
    if not text:
        return ""
    return duration((at - parsed(text)).total_seconds())


def duration(seconds: float) -> str:
    """The two largest units, as systemctl has it: `2d 3h`, `1min`, `0s`."""
    left = max(int(seconds), 0)
    parts: list[str] = []
    for name, size in _STEPS:
        if left >= size:
            parts.append(f"{left // size}{name}")
        elif parts:
            break
        left %= size
        if len(parts) == 2:
            break
    return " ".join(parts) or "0s"


def local(text: str | None) -> str:
    """`2026-11-25 04:10:03` in the user's time zone, empty for no instant."""
    return parsed(text).astimezone().strftime("%Y-%m-%d %H:%M:%S") if text else ""


def clock(text: str) -> str:
    """`04:10:03.123`: for lines that come close together."""
    return parsed(text).astimezone().strftime("%H:%M:%S.%f")[:-3]
