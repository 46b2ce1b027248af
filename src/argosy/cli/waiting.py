"""Waits until units are as wanted, told by the server's watch, for a bounded time.

A thread reads the watch, so that time can pass (verdicts come to stand, the display moves) while nothing is told. When the
server goes away and comes back, it is asked anew and the wait goes on.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from argosy.cli.judging import Outcome, Situation, Verdict, Wish
from argosy.client import Client, Stream, WatchItem
from argosy.errors import ArgosyError, ServerUnreachable

TICK_SECONDS = 0.1
"""How often the display may move while nothing happens."""
RECONNECT_SECONDS = 0.3
NAMED_AT_MOST = 50
"""More names than this are not asked for one by one: the request line has its limit, and all is as fast then."""

Observer = Callable[[str, Verdict], None]
"""Told of each verdict that changes: the unit and the verdict."""
Told = WatchItem | ArgosyError | None
"""None is the stream's quiet end."""


class Wait:
    """Waiting for wishes, by unit. `verdicts` is how it stands, also after `run` gave up."""

    def __init__(
        self,
        client: Client,
        wishes: Mapping[str, Wish],
        *,
        machine_name: Callable[[str], str],
        observe: Observer = lambda name, verdict: None,
        tick: Callable[[], None] = lambda: None,
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        """observe: told of each change. tick: called ten times a second, for a display that moves.
        is_over: asked while the server is away: whether it is known not to come back."""
        self.verdicts: dict[str, Verdict] = {}
        self._client = client
        self._wishes = wishes
        self._machine_name = machine_name
        self._observe = observe
        self._tick = tick
        self._is_over = is_over
        self._since: dict[str, float] = {}
        """When each unit's verdict took its present form."""
        self._situation = Situation()

    def run(self, timeout_seconds: float) -> bool:
        """Wait until every unit's verdict stands. Returns False when time ran out before.

        Raises ServerUnreachable when the server is away and does not come back in time.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                return self._follow(deadline)
            except ServerUnreachable:
                if self._is_over() or time.monotonic() + RECONNECT_SECONDS > deadline:
                    raise
                time.sleep(RECONNECT_SECONDS)

    def stands(self, name: str) -> bool:
        """Whether the unit's verdict has stood long enough to count."""
        held_for = time.monotonic() - self._since[name]
        return held_for >= self.verdicts[name].stands_after_seconds

    def _follow(self, deadline: float) -> bool:
        names = list(self._wishes) if len(self._wishes) <= NAMED_AT_MOST else []
        with _watching(self._client, names) as told:
            if not isinstance(first := told.get(), WatchItem):
                raise first or ServerUnreachable("the server ended the watch", hint="try again")
            # What is read now is at least as new as `ready`; what the watch tells after it is newer or the same.
            self._situation = Situation(self._client.units(names), self._client.states(names))
            for name in self._wishes:
                self._judge(name)
            while True:
                standing = all(map(self.stands, self._wishes))
                if standing or time.monotonic() >= deadline:
                    return standing
                self._take(told, deadline)
                self._tick()

    def _take(self, told: queue.SimpleQueue[Told], deadline: float) -> None:
        """Fold what was told; waits for it no longer than a tick."""
        patience = min(TICK_SECONDS, max(deadline - time.monotonic(), 0.001))
        touched: set[str] = set()
        with suppress(queue.Empty):
            item = told.get(timeout=patience)
            while True:
                if not isinstance(item, WatchItem):
                    raise item or ServerUnreachable("the server ended the watch", hint="try again")
                if name := self._situation.fold(item):
                    touched.add(name)
                item = told.get_nowait()
        for name in touched & self._wishes.keys():
            self._judge(name)

    def _judge(self, name: str) -> None:
        verdict = self._situation.judge(name, self._wishes[name], self._machine_name)
        if verdict == self.verdicts.get(name):
            return
        self.verdicts[name] = verdict
        self._since[name] = time.monotonic()
        self._observe(name, verdict)


@contextmanager
def _watching(client: Client, names: list[str]) -> Iterator[queue.SimpleQueue[Told]]:
    told: queue.SimpleQueue[Told] = queue.SimpleQueue()
    with client.watch(names) as stream:
        reader = threading.Thread(target=_read, args=(stream, told), name="watch", daemon=True)
        reader.start()
        yield told


def _read(stream: Stream[WatchItem], told: queue.SimpleQueue[Told]) -> None:
    try:
        for item in stream:
            told.put(item)
    except ArgosyError as problem:
        told.put(problem)
    else:
        told.put(None)


def unfinished(verdicts: Mapping[str, Verdict]) -> list[str]:
    """The units that are not done, sorted."""
    return sorted(name for name, one in verdicts.items() if one.outcome is not Outcome.DONE)
