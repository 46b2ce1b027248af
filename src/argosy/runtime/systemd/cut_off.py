"""The dead-man's switch: units are stopped at a time, by systemd itself, unless somebody puts it off.

Each arming is a transient timer with a service that stops the units, waits as long as stopping may take, and kills what is
left. A later arming makes a new timer first and takes the old one away then, so there is no moment without one, whenever
the agent dies. Timers count CLOCK_MONOTONIC: a machine that is suspended does not count.

    argosy-cut-off-N.timer  ->  argosy-cut-off-N.service

A unit that was stopped so has a file of its name in `stopped`, made before it is stopped; its next start removes it.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dbus_fast import Variant

from argosy.model.ids import UnitName
from argosy.runtime.systemd.bus import SYSTEMD, Bus, Refused

PREFIX = "argosy-cut-off-"
TIMER, SERVICE = (
    "Argosy will stop what must not run twice: ",
    "Argosy stops what must not run twice: ",
)
SEPARATOR = ", "
"""Descriptions: people read them in `systemctl list-timers`, the agent's next life reads the names from them."""
ACCURACY_MICROSECONDS = 10_000
KILLS = 5
"""ExecStopPost= may begin more processes after a kill, which get no more time."""


@dataclass(frozen=True, slots=True)
class _Armed:
    timer: str
    units: frozenset[UnitName]
    deadline: float
    """By CLOCK_MONOTONIC, which is the event loop's clock and systemd's."""


class CutOff:
    """All armings of one runtime.

    stop_within: what a unit may take to stop, None for its own time-out.
    stop: stops units, and returns when they have ended.
    stopped: directory of the names of units that were stopped so. shown_as: the same directory as systemd sees it.
    """

    def __init__(
        self,
        bus: Bus,
        *,
        stop_within: Callable[[UnitName], float | None],
        stop: Callable[[Sequence[UnitName]], Awaitable[object]],
        stopped: Path,
        shown_as: Path,
        is_user: bool,
    ) -> None:
        self._bus = bus
        self._stop_within = stop_within
        self._stop = stop
        self._stopped = stopped
        self._shown_as = shown_as
        self._scope = ["--user"] if is_user else []
        self._armings: list[_Armed] = []
        self._numbers = itertools.count(1)
        self._run = secrets.token_hex(3)
        self._turn = asyncio.Lock()

    async def open(self) -> None:
        """Find the timers that there are, those of an earlier life among them: they hold until units are armed anew."""
        self._stopped.mkdir(mode=0o700, parents=True, exist_ok=True)
        [found] = await self._bus.call(
            "ListUnitsByPatterns", "asas", ["active"], [f"{PREFIX}*.timer"]
        )
        self._armings = [
            _Armed(name, _listed(description), await self._deadline(path))
            for name, description, _, _, _, _, path, *_ in found
        ]

    async def arm(self, names: Collection[UnitName], *, within: float) -> None:
        """See `Runtime.arm`."""
        async with self._turn:
            await self._arm(frozenset(names), within)

    async def disarm(self, names: Collection[UnitName]) -> None:
        """These have been removed, or have another text."""
        async with self._turn:
            if any(arming.units & set(names) for arming in self._armings):
                await self._arm(frozenset(names), None)

    def was_stopped(self, name: UnitName) -> bool:
        return (self._stopped / name).exists()

    async def call_off(self, names: Collection[UnitName]) -> None:
        """They are to be started: what has stopped them, and would kill what is left of them, must not kill what is new.
        Returns when it has ended; others that it was for have their own time-outs.
        """
        if any(map(self.was_stopped, names)):
            states, patterns = ["active", "activating"], [f"{PREFIX}*.service"]
            [found] = await self._bus.call("ListUnitsByPatterns", "asas", states, patterns)
            firing = [row[0] for row in found if _listed(row[1]) & set(names)]
            await self._stop(firing)
        self.forget(names)

    def forget(self, names: Iterable[UnitName]) -> None:
        """They are removed."""
        for name in names:
            (self._stopped / name).unlink(missing_ok=True)

    async def _arm(self, names: frozenset[UnitName], within: float | None) -> None:
        now = asyncio.get_running_loop().time()
        before = [arming for arming in self._armings if arming.units & names]
        if names and within is not None:
            await self._set(names, now + within)
        for arming in before:
            if rest := arming.units - names:
                await self._set(rest, arming.deadline)
        for arming in before:
            self._armings.remove(arming)
            await self._take_away(arming.timer)

    async def _deadline(self, path: str) -> float:
        with suppress(Refused):
            timer = await self._bus.properties(path, f"{SYSTEMD}.Timer")
            return float(timer["NextElapseUSecMonotonic"]) / 1e6
        return 0.0

    async def _set(self, units: frozenset[UnitName], deadline: float) -> None:
        number = next(self._numbers)
        name = f"{PREFIX}{self._run}-{number}"
        left = max(0.001, deadline - asyncio.get_running_loop().time())
        listed = SEPARATOR.join(sorted(units))
        timer = {
            "Description": Variant("s", TIMER + listed),
            "TimersMonotonic": Variant("a(st)", [["OnActiveSec", int(left * 1e6)]]),
            "AccuracyUSec": Variant("t", ACCURACY_MICROSECONDS),
            "RemainAfterElapse": Variant("b", False),
            "CollectMode": Variant("s", "inactive-or-failed"),
        }
        service = {
            "Description": Variant("s", SERVICE + listed),
            "Type": Variant("s", "oneshot"),
            "CollectMode": Variant("s", "inactive-or-failed"),
            "ExecStart": Variant("a(sasb)", list(self._commands(sorted(units)))),
        }
        await self._bus.call(
            "StartTransientUnit",
            "ssa(sv)a(sa(sv))",
            f"{name}.timer",
            "replace",
            _pairs(timer),
            [[f"{name}.service", _pairs(service)]],
        )
        self._armings.append(_Armed(f"{name}.timer", units, deadline))

    def _commands(self, units: Sequence[UnitName]) -> Iterable[list[object]]:
        """(path, argv, ignore failure): no shell, so a name is never more than a name."""
        systemctl = ["systemctl", *self._scope]
        marks = [str(self._shown_as / name) for name in units]
        yield ["/usr/bin/touch", ["touch", "--", *marks], True]
        yield ["/usr/bin/systemctl", [*systemctl, "stop", "--no-block", "--", *units], True]
        limited = {name: self._stop_within(name) for name in units}
        bounds = [seconds for seconds in limited.values() if seconds is not None]
        if not bounds:
            return
        yield ["/usr/bin/sleep", ["sleep", f"{min(bounds):.3f}"], True]
        bounded = [name for name, seconds in limited.items() if seconds is not None]
        kill = [*systemctl, "kill", "--signal=SIGKILL", "--", *bounded]
        for _ in range(KILLS):
            yield ["/usr/bin/systemctl", kill, True]
            yield ["/usr/bin/sleep", ["sleep", "0.05"], True]

    async def _take_away(self, timer: str) -> None:
        with suppress(Refused):  # it has fired, and is gone
            await self._bus.call("StopUnit", "ss", timer, "replace")


def _pairs(properties: Mapping[str, Variant]) -> list[list[object]]:
    return [[name, value] for name, value in properties.items()]


def _listed(description: str) -> frozenset[UnitName]:
    listed = description.removeprefix(TIMER).removeprefix(SERVICE)
    return frozenset(map(UnitName, listed.split(SEPARATOR)))
