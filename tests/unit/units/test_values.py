"""Durations, sizes, amounts, truths."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from argosy.model.unit import WhenCutOff
from argosy.units import values
from argosy.units.values import BadValue


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("1min 30s", 90),
        ("1min30s", 90),
        ("1.5h", 5400),
        ("250ms", 0.25),
        ("1d", 86400),
        ("0", 0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert values.duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "size"),
    [("1048576", 1048576), ("512M", 512 << 20), ("1.5G", 3 << 29), ("2T", 2 << 40), ("10B", 10)],
)
def test_sizes(text: str, size: int) -> None:
    assert values.size(text) == size


@pytest.mark.parametrize(
    ("text", "millis"), [("0.5", 500), ("2", 2000), ("500m", 500), ("50%", 500)]
)
def test_amounts_of_cpu(text: str, millis: int) -> None:
    assert values.cpu(text) == millis


@pytest.mark.parametrize("text", ["1", "yes", "Yes", "TRUE", "on", "y", "t"])
def test_truths(text: str) -> None:
    assert values.boolean(text) is True


@pytest.mark.parametrize("text", ["0", "no", "False", "OFF", "n", "f"])
def test_falsehoods(text: str) -> None:
    assert values.boolean(text) is False


@pytest.mark.parametrize(
    ("read", "text", "offset"),
    [
        (values.duration, "5 parsecs", 2),
        (values.duration, "1min 3x", 6),
        (values.duration, "", 0),
        (values.duration, "-5s", 0),
        (values.duration, "9" * 40 + "y", 0),
        (values.duration, "9" * 25 + "y", 0),
        (values.positive_duration, "0", 0),
        (values.positive_duration, "infinity", 0),
        (values.finite_duration, "infinity", 0),
        (values.size, "512MB", 3),
        (values.size, "-1", 0),
        (values.size, "9" * 25 + "E", 0),
        (values.cpu, "0", 0),
        (values.cpu, "0.0001", 0),
        (values.cpu, "half", 0),
        (values.boolean, "maybe", 0),
        (values.boolean, "", 0),
        (values.port, "0", 0),
        (values.port, "65536", 0),
        (values.port, "８０", 0),
        (values.port, "+80", 0),
        (values.number, "0", 0),
        (values.number, "1e9", 0),
        (values.share, "25", 0),
        (values.one_of(WhenCutOff), "halt", 0),
    ],
)
def test_anything_else_is_refused_where_it_goes_wrong(
    read: Callable[[str], object], text: str, offset: int
) -> None:
    with pytest.raises(BadValue) as refused:
        read(text)
    assert refused.value.offset == offset


def test_hints_name_what_was_probably_meant() -> None:
    for read, text, hint in (
        (values.size, "512MB", "write 512M"),
        (values.size, "2GiB", "write 2G"),
        (values.duration, "5 minuts", "did you mean 'minutes'?"),
        (values.one_of(WhenCutOff), "kep", "did you mean 'keep'?"),
    ):
        with pytest.raises(BadValue) as refused:
            read(text)
        assert refused.value.hint == hint
