"""What stands at `presence/ID` while a machine is there: which boot of it, and when it asked to be.

A request to register that was given up may still be under way in a server that stood still, and end after the machine has
registered with another one. It must not take the machine back, since the machine goes on speaking to the other: so each
request says when it was made, on the clock of the machine's boot, and an older one is refused.
"""

from __future__ import annotations

from typing import NamedTuple, Self


class Presence(NamedTuple):
    """A plain text, since servers compare it as a whole."""

    holder: str
    """Tells the machine, in this boot, from another with its id."""
    asked: int = 0
    """Nanoseconds of that boot's clock (CLOCK_BOOTTIME); grows over restarts of the agent."""

    def encode(self) -> bytes:
        return f"{self.holder} {self.asked}".encode()

    @classmethod
    def decode(cls, value: bytes) -> Self:
        holder, _, asked = value.decode(errors="replace").rpartition(" ")
        return cls(holder, int(asked) if asked.isdecimal() else 0)
