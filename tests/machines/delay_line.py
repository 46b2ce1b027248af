"""A slow cable: a program that carries frames between two TAP devices, each a while later, some never.

netem does this in the kernel where the kernel has it; many that run in virtual machines have not. The devices belong to
the network namespace that the program is started in, and to its life: it makes them, says `ready`, and is done when its
standard input ends, so that it never outlives the test that started it.

    python delay_line.py NEAR FAR SECONDS LOSS
"""

from __future__ import annotations

import fcntl
import os
import random
import selectors
import struct
import sys
import time
from collections import deque

# Source: linux/if_tun.h.
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
LARGEST_FRAME = 65536
# As long as the queue of a network card: who sends faster than the line carries loses frames, as on a real one.
QUEUE = 10_000


def open_tap(name: str) -> int:
    """A new TAP device. The kernel hands us whole frames of the wire: segmented, with their checksums."""
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return end


def carry(ends: tuple[int, int], *, delay: float, loss: float, until: int) -> None:
    """Carry frames both ways until the descriptor `until` can be read. Frames of one delay keep their order."""
    selector = selectors.DefaultSelector()
    for descriptor in (*ends, until):
        selector.register(descriptor, selectors.EVENT_READ)
    across = {ends[0]: ends[1], ends[1]: ends[0]}
    under_way: deque[tuple[float, int, bytes]] = deque()  # due at, to which end
    while True:
        rest = max(under_way[0][0] - time.monotonic(), 0) if under_way else None
        for key, _ in selector.select(rest):
            if key.fd == until:
                return
            frame = os.read(key.fd, LARGEST_FRAME)
            if random.random() >= loss and len(under_way) < QUEUE:
                under_way.append((time.monotonic() + delay, across[key.fd], frame))
        while under_way and under_way[0][0] <= time.monotonic():
            _, end, frame = under_way.popleft()
            try:
                os.write(end, frame)
            except OSError:  # the other end is down or full: the frame is lost
                continue


def main() -> None:
    near, far, delay, loss = sys.argv[1:]
    ends = (open_tap(near), open_tap(far))
    print("ready", flush=True)
    carry(ends, delay=float(delay), loss=float(loss), until=sys.stdin.fileno())


if __name__ == "__main__":
    main()
