"""Keeps a certificate from running out: replaced at a random point between half and four fifths of its life.

A certificate and its key stand in one file, so that they are replaced together, whatever happens meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

from argosy.errors import ArgosyError
from argosy.pki import certificates, files

log = logging.getLogger(__name__)
LOOK_EVERY = timedelta(hours=1)
"""Clocks are set, and machines sleep: the time is looked at that often."""
SHORTEST_PAUSE, LONGEST_PAUSE = timedelta(seconds=1), timedelta(hours=1)
"""Between attempts."""


async def keep_renewed(
    path: Path,
    *,
    sign: Callable[[bytes], Awaitable[bytes]],
    use: Callable[[], None],
    clock: Callable[[], datetime],
    chance: Random,
) -> None:
    """Renew the certificate in the file, again and again, until cancelled.

    sign: gives a certificate for a signing request. use: called when the file has a new one.
    """
    while True:
        due = certificates.renew_at(files.read_private(path), chance)
        while (left := due - clock()) > timedelta(0):  # noqa: ASYNC110 - waits for a time
            await asyncio.sleep(min(left, LOOK_EVERY).total_seconds())
        while True:
            try:
                await renew(path, sign)
                use()
                break
            except (ArgosyError, OSError) as problem:
                rest = certificates.remaining(files.read_private(path), clock())
                log.warning("the certificate in %s is not renewed yet: %s", path, problem)
                if rest <= timedelta(0):
                    log.error("the certificate in %s has expired", path)
                pause = min(max(rest / 20, SHORTEST_PAUSE), LONGEST_PAUSE)
                await asyncio.sleep(pause.total_seconds() * chance.uniform(0.5, 1.0))
        log.info("the certificate in %s was renewed", path)


async def renew(path: Path, sign: Callable[[bytes], Awaitable[bytes]]) -> None:
    """Put a new certificate with a new key into the file. Raises what `sign` raises, Invalid, OSError."""
    key = certificates.make_key()
    certificate = await sign(certificates.make_request(key))
    certificates.load(certificate)
    files.write_private(path, certificate + key)
