"""Values: durations, sizes, numbers and truths, as systemd writes them.

Each function takes a trimmed value and returns what it means, or raises BadValue with the offset of the fault; who
knows the file turns that into a diagnostic. Sources: systemd.time(7), systemd.syntax(7), parse-util.c.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from fractions import Fraction
from typing import TypeVar

from argosy.units.diagnostics import did_you_mean

T = TypeVar("T")

INFINITY = timedelta.max
"""What `infinity` means as a duration."""


class BadValue(ValueError):
    """A value that cannot be understood. offset: where in the value; hint: what to write instead."""

    def __init__(self, message: str, *, offset: int = 0, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.hint = hint


_MICROSECONDS: dict[str, int] = {
    word: factor
    for words, factor in (
        ("us usec µs μs", 1),
        ("ms msec", 1_000),
        ("s sec second seconds", 1_000_000),
        ("m min minute minutes", 60_000_000),
        ("h hr hour hours", 3_600_000_000),
        ("d day days", 86_400_000_000),
        ("w week weeks", 604_800_000_000),
        ("M month months", 2_629_800_000_000),
        ("y year years", 31_557_600_000_000),
    )
    for word in words.split()
}
_SPAN = re.compile(r"[ \t]*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)[ \t]*([A-Za-zµμ]*)[ \t]*")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)[ \t]*([A-Za-z]*)")
_SIZE_FACTORS = {unit: 1024**power for power, unit in enumerate(("", "K", "M", "G", "T", "P", "E"))}
_TRUE = frozenset({"1", "yes", "y", "true", "t", "on"})
_FALSE = frozenset({"0", "no", "n", "false", "f", "off"})


def duration(text: str) -> timedelta:
    """`90`, `1min 30s`, `1.5h`, `infinity` (INFINITY). A number without a unit counts seconds.

    Rounded down to whole microseconds. Raises BadValue, also for more than a timedelta can hold.
    """
    if text == "infinity":
        return INFINITY
    total = Fraction(0)
    offset = 0
    while offset < len(text):
        match = _SPAN.match(text, offset)
        if match is None:
            raise BadValue(
                f"'{text}' is not a duration", offset=offset, hint="write 30s, 5min or 1h 30min"
            )
        number, unit = match[1], match[2]
        factor = _MICROSECONDS.get(unit or "s")
        if factor is None:
            raise BadValue(
                f"'{unit}' is no unit of time",
                offset=match.start(2),
                hint=did_you_mean(unit, _MICROSECONDS)
                or "units are us, ms, s, min, h, d, w, month, y",
            )
        total += _fraction(number, offset=match.start(1)) * factor
        offset = match.end()
    if not text.strip():
        raise BadValue("a duration is missing", hint="write 30s, 5min or 1h 30min")
    try:
        return timedelta(microseconds=int(total))
    except OverflowError:
        raise BadValue(f"'{text}' is too long") from None


def positive_duration(text: str) -> timedelta:
    """A duration that ends and is not zero."""
    value = duration(text)
    if value == INFINITY:
        raise BadValue("must not be infinite", hint="write a duration such as 30s")
    if not value:
        raise BadValue("must be longer than 0", hint="write a duration such as 30s")
    return value


def finite_duration(text: str) -> timedelta:
    """A duration that ends; zero is allowed."""
    value = duration(text)
    if value == INFINITY:
        raise BadValue("must not be infinite", hint="write a duration such as 30s")
    return value


def size(text: str) -> int:
    """Bytes: `512M`, `1.5G`, `1048576`. The suffixes K, M, G, T, P, E are powers of 1024. Raises BadValue."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise BadValue(f"'{text}' is not a size", hint="write 512M or 2G")
    number, suffix = match[1], match[2]
    factor = _SIZE_FACTORS.get(suffix if suffix != "B" else "")
    if factor is None:
        bare = suffix.upper().removesuffix("B").removesuffix("I")
        known = bare in _SIZE_FACTORS
        raise BadValue(
            f"'{suffix}' is no unit of size",
            offset=match.start(2),
            hint=f"write {number}{bare}" if known else "units are K, M, G, T (powers of 1024)",
        )
    return _below(int(_fraction(number) * factor), limit=2**63, text=text)


def cpu(text: str) -> int:
    """Thousandths of a core: `0.5`, `2`, `500m`, `50%`. At least one. Raises BadValue."""
    if match := re.fullmatch(r"([0-9]+)m", text):
        millis = int(_fraction(match[1]))
    elif match := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(%?)", text):
        millis = int(_fraction(match[1]) * (10 if match[2] else 1000))
    else:
        raise BadValue(f"'{text}' is not an amount of CPU", hint="write 0.5, 2, 500m or 50%")
    if millis < 1:
        raise BadValue("must be at least a thousandth of a core", hint="write 0.5, 2, 500m or 50%")
    return _below(millis, limit=2**31, text=text)


def boolean(text: str) -> bool:
    """`yes no true false on off 1 0`, `y n t f` too, in any case. Raises BadValue."""
    folded = text.lower()
    if folded in _TRUE:
        return True
    if folded in _FALSE:
        return False
    raise BadValue(f"'{text}' is neither yes nor no", hint="write yes or no")


def integer(*, at_least: int, at_most: int) -> Callable[[str], int]:
    """A reader of whole decimal numbers within bounds."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text, re.ASCII):
            raise BadValue(
                f"'{text}' is not a whole number",
                hint=f"write a number from {at_least} to {at_most}",
            )
        value = int(text)
        if not at_least <= value <= at_most:
            raise BadValue(f"{value} is not within {at_least} to {at_most}")
        return value

    return read


def number(text: str) -> float:
    """A decimal number above 0. Raises BadValue."""
    if not re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,15})?", text, re.ASCII) or not float(text):
        raise BadValue(f"'{text}' is not a number above 0", hint="write 100 or 0.75")
    return float(text)


def share(text: str) -> float:
    """`25%` as 0.25. Raises BadValue."""
    match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)%", text, re.ASCII)
    if match is None:
        raise BadValue(f"'{text}' is not a percentage", hint="write 25%")
    return float(match[1]) / 100


port = integer(at_least=1, at_most=65535)


def one_of(words: type[T]) -> Callable[[str], T]:
    """A reader of the values of a string enumeration, which are lower-case words. Raises BadValue."""
    values: dict[str, T] = {str(word): word for word in words}  # type: ignore[attr-defined]

    def read(text: str) -> T:
        if text in values:
            return values[text]
        listed = ", ".join(values)
        near = did_you_mean(text, values)
        raise BadValue(f"'{text}' is none of: {listed}", hint=near)

    return read


def _fraction(digits: str, *, offset: int = 0) -> Fraction:
    # A bound before the arithmetic: a megabyte of digits would take quadratic time.
    if len(digits) > 30:
        raise BadValue("the number is too long", offset=offset)
    return Fraction(digits if digits[-1] != "." else digits[:-1])


def _below(value: int, *, limit: int, text: str) -> int:
    if value >= limit:
        raise BadValue(f"'{text}' is too large")
    return value
