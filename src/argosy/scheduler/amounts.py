"""Amounts of memory and processor time in words, as unit files have them."""

from __future__ import annotations

_UNITS = ((1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K"))


def in_bytes(amount: int) -> str:
    """`512M`, `1.5G`: in the largest of systemd's units (of 1024) that it reaches, with at most one decimal."""
    for size, letter in _UNITS:
        if amount >= size:
            return f"{amount / size:.1f}".removesuffix(".0") + letter
    return f"{amount}B"


def in_cores(millis: int) -> str:
    """`1 core`, `0.25 cores`."""
    cores = f"{millis / 1000:.3f}".rstrip("0").rstrip(".")
    return f"{cores} core" if cores == "1" else f"{cores} cores"
