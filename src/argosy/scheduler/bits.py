"""Sets of machines as Python integers: bit i stands for the machine whose id is the i-th smallest.

A set of 5,000 machines is 625 bytes, and an `&` of two takes a tenth of a microsecond, so a question about all machines
costs about as much as one about a single machine. Because bits are in the order of ids, "the lowest bit" is "the
smallest id", which is the rule for ties.

When a machine joins or leaves, every set gets or loses a bit in the middle: `widened` and `narrowed`.
"""

from __future__ import annotations

from collections.abc import Iterator


def slots_of(bits: int) -> Iterator[int]:
    """Positions of the bits that are set, lowest first.

    Through the binary digits as text: the search for the next digit runs in C, so that each position costs the same
    however wide the set is.
    """
    digits = bin(bits)[:1:-1]
    slot = digits.find("1")
    while slot >= 0:
        yield slot
        slot = digits.find("1", slot + 1)


def lowest(bits: int) -> int:
    """The lowest bit alone; `bits` is not empty."""
    return bits & -bits


def slot_of(bit: int) -> int:
    """Position of a single bit."""
    return bit.bit_length() - 1


def widened(bits: int, slot: int) -> int:
    """The set after a machine that is not in it was given the position `slot`."""
    upper = bits >> slot
    return (upper << (slot + 1)) | (bits ^ (upper << slot))


def narrowed(bits: int, slot: int) -> int:
    """The set after the machine at `slot` has gone."""
    lower = bits & ((1 << slot) - 1)
    return (bits >> (slot + 1) << slot) | lower


class Levels:
    """Machines by a whole number each has (its load, the siblings in its zone), for finding the lowest among some.

    Exact and without a heap: a set of machines for each level, and the levels that have any machine as a set again.
    """

    __slots__ = ("_occupied", "_sets")

    def __init__(self) -> None:
        self._sets: dict[int, int] = {}
        self._occupied = 0

    def add(self, bits: int, level: int) -> None:
        self._sets[level] = self._sets.get(level, 0) | bits
        self._occupied |= 1 << level

    def remove(self, bits: int, level: int) -> None:
        left = self._sets[level] & ~bits
        if left:
            self._sets[level] = left
        else:
            del self._sets[level]
            self._occupied ^= 1 << level

    def move(self, bits: int, *, before: int, after: int) -> None:
        self.remove(bits, before)
        self.add(bits, after)

    def lowest(self, among: int) -> tuple[int, int]:
        """The lowest level at which there are machines of `among`, and these; (-1, 0) when there are none."""
        occupied = self._occupied
        while occupied:
            bit = occupied & -occupied
            level = bit.bit_length() - 1
            found = self._sets[level] & among
            if found:
                return level, found
            occupied ^= bit
        return -1, 0

    def widen(self, slot: int) -> None:
        self._sets = {level: widened(bits, slot) for level, bits in self._sets.items()}

    def narrow(self, slot: int) -> None:
        """Take out the position of a machine that is at no level any more."""
        self._sets = {level: narrowed(bits, slot) for level, bits in self._sets.items()}
