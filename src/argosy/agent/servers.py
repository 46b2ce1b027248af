"""Where servers are: what the settings say, what servers say, and which of them an agent speaks to now.

What servers say comes first and is kept on the disk, so that a cluster whose servers have all been replaced, one by one,
is still found by a machine with old settings. An agent stays with its server while that answers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from random import Random

import msgspec

from argosy.agent.connection import address_of
from argosy.errors import Invalid, ServerUnreachable
from argosy.pki import files

log = logging.getLogger(__name__)
MOST = 64
"""How many are believed to be there."""


class Servers:
    """The servers that an agent knows.

    configured: from the settings. path: file in which the agent keeps what servers told it.
    chance: where among them to begin, so that agents spread.
    Raises Invalid for a configured URL that is none.
    """

    def __init__(self, configured: Sequence[str], path: Path, *, chance: Random) -> None:
        for url in configured:
            address_of(url)
        self._configured = tuple(url.rstrip("/") for url in configured)
        self._path = path
        self._chance = chance
        self._changed = asyncio.Event()
        self._told = tuple(self._load())
        self._all = _merged(chance.sample(self._told, len(self._told)), self._configured)

    @property
    def all(self) -> tuple[str, ...]:
        """The one to speak to first."""
        return self._all

    @property
    def current(self) -> str:
        """The one to speak to. Raises ServerUnreachable when none is known."""
        if not self._all:
            raise ServerUnreachable(
                "this agent knows no server", hint="name one in agent.toml: servers = [...]"
            )
        return self._all[0]

    @property
    def distinct(self) -> tuple[str, ...]:
        """Those that servers told of, one URL for each, if any did. The settings may name the same in another way."""
        return self._told or self._configured

    def move_on(self, failed: str) -> None:
        """That one did not answer: ask it last, if it is the one that is asked now."""
        if len(self._all) > 1 and self._all[0] == failed:
            self._all = (*self._all[1:], failed)
            log.info("%s does not answer as it should: going on with %s", failed, self.current)

    def learn(self, urls: Sequence[str]) -> None:
        """Remember what a server said of where servers are; the one that is spoken to now stays the first."""
        told = [url for url in dict.fromkeys(urls) if _is_url(url)][:MOST]
        if not told or set(told) == set(self._told):
            return
        known = [url for url in self._all if url in told or url in self._configured]
        new = [url for url in told if url not in known]
        self._chance.shuffle(new)
        self._told = tuple(told)
        self._all = _merged(known, new)
        self._changed.set()
        self._changed = asyncio.Event()
        try:
            files.write_private(self._path, msgspec.json.encode(told))
        except OSError as problem:
            log.error("where the servers are cannot be kept on the disk: %s", problem)

    async def changed(self) -> None:
        """Returns when others are known than before."""
        await self._changed.wait()

    def _load(self) -> list[str]:
        try:
            told = msgspec.json.decode(self._path.read_bytes(), type=list[str])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as problem:
            log.warning("%s cannot be read; the settings are used: %s", self._path, problem)
            return []
        return [url for url in dict.fromkeys(told) if _is_url(url)][:MOST]


def _is_url(text: str) -> bool:
    try:
        address_of(text)
    except Invalid:
        return False
    return True


def _merged(first: Sequence[str], then: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*first, *then]))
