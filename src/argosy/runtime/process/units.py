"""The units that a runtime has installed: their files, what is read from them, and what was last heard of each."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from argosy.errors import RuntimeRefused
from argosy.model.ids import Digest, UnitName
from argosy.model.observed import ActiveState, LoadState, UnitStatus
from argosy.runtime.base import JobResult, RunnableUnit
from argosy.runtime.process import tree
from argosy.runtime.process.layout import Layout, read_json, write_json
from argosy.runtime.process.lifecycle import ACTIVE_STATES
from argosy.runtime.process.links import SupervisorLink
from argosy.runtime.process.load import BadSetting, Dependencies, Loaded, Machine, load
from argosy.runtime.process.transaction import Graph
from argosy.units import names

_RESULTS = {
    "done": JobResult.DONE,
    "failed": JobResult.FAILED,
    "skipped": JobResult.SKIPPED,
    "success": JobResult.DONE,
}


class Installed:
    """One unit: its text, its supervisor while it has one, and its state, kept as the supervisor tells it."""

    def __init__(self, name: UnitName, digest: Digest) -> None:
        self.name = name
        self.digest = digest
        self.loaded: Loaded | None = None
        self.problem = ""
        """Why the text cannot be loaded."""
        self.link: SupervisorLink | None = None
        """Its supervisor. A unit without one is down."""
        self.burial: asyncio.Task[None] | None = None
        """Under way while what a killed supervisor left is being ended."""
        self.limit: list[float] | None = None
        """How far the start limit is used up, as the last supervisor left it."""
        self.armed: float | None = None
        """Boot time at which it is to end; None while it is not armed."""
        self.stop_within: float | None = None
        self.has_heard = True
        self._state: dict[str, Any] = {}
        self._changed = asyncio.Event()
        self._status: UnitStatus | None = None

    # --- what is heard -----------------------------------------------------------------------------------------

    @property
    def sub(self) -> str:
        return str(self._state.get("sub", "dead"))

    @property
    def active(self) -> str:
        return ACTIVE_STATES[self.sub]

    @property
    def result(self) -> str:
        return str(self._state.get("result", "success"))

    @property
    def restarts(self) -> int:
        return int(self._state.get("restarts", 0))

    @property
    def attempts(self) -> int:
        return int(self._state.get("attempts", 0))

    @property
    def reload_id(self) -> int:
        return int(self._state.get("reload_id", 0))

    @property
    def reload_result(self) -> JobResult:
        return _RESULTS.get(str(self._state.get("reload_result")), JobResult.FAILED)

    @property
    def is_over(self) -> bool:
        """Whether the supervisor said that the unit is down for good."""
        return bool(self._state.get("over", True))

    @property
    def is_down(self) -> bool:
        """Whether nothing of it runs and nobody is at it: it can be started."""
        return self.link is None and self.burial is None

    def is_decided(self, attempt: int) -> bool:
        """Whether nothing more will be heard of how this attempt's start ends."""
        return self.link is None or self.has_started(attempt)

    def has_started(self, attempt: int) -> bool:
        """Whether the start of this attempt, or a later one, has ended, in whichever way."""
        return self.attempts > attempt or (
            self.attempts == attempt and self._state.get("start_result") is not None
        )

    @property
    def start_result(self) -> JobResult:
        return _RESULTS.get(str(self._state.get("start_result")), JobResult.FAILED)

    def begin(self) -> None:
        """A supervisor is being started: nothing of its last run counts any more."""
        kept: dict[str, Any] = {
            key: self._state[key] for key in ("result", "since") if key in self._state
        }
        self._set({**kept, "sub": self.sub, "over": False, "digest": self.digest})

    def hear(self, status: dict[str, Any]) -> None:
        """Take a status from the supervisor."""
        self.has_heard = True
        self._set(status)

    def recall(self, state: dict[str, Any]) -> None:
        """Take a state from the disk. What ran before the machine last went down runs no more, and never has."""
        if state.get("boot_id") == tree.boot_id():
            self.limit = state.get("limit")
            self._set(state["status"])

    def fail(self) -> None:
        """The supervisor was killed, and the unit with it."""
        now = int(datetime.now(UTC).timestamp() * 1e6)
        self._set(
            {
                **self._state,
                "sub": "failed",
                "result": "resources",
                "main_pid": None,
                "since": now,
                "over": True,
                "start_result": "failed",
            }
        )

    def saved(self) -> dict[str, Any]:
        """What to put on the disk of a unit whose supervisor cannot any more."""
        return {
            "status": self._state,
            "boot_id": tree.boot_id(),
            "invocation": "",
            "supervisor": [0, None],
            "processes": [],
            "limit": self.limit,
        }

    def _set(self, state: dict[str, Any]) -> None:
        self._state = state
        self._status = None

    # --- waiting -----------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Let all who wait look again."""
        event, self._changed = self._changed, asyncio.Event()
        event.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for a condition on this unit."""
        while not holds():
            await self._changed.wait()

    # --- what is shown -----------------------------------------------------------------------------------------

    def forget_status(self) -> None:
        self._status = None

    @property
    def status(self) -> UnitStatus:
        if self._status is None:
            state = self._state
            since = state.get("since")
            self._status = UnitStatus(
                name=self.name,
                digest=self.digest,
                load=LoadState.BAD_SETTING if self.problem else LoadState.LOADED,
                active=ActiveState(self.active),
                sub=self.sub,
                result=self.result,
                exit_code=state.get("exit_code"),
                exit_signal=state.get("exit_signal"),
                failed_command=state.get("failed_command", ""),
                main_pid=state.get("main_pid"),
                since=datetime.fromtimestamp(since / 1e6, UTC) if since else None,
                restarts=self.restarts,
                has_run=bool(state.get("has_run")),
                cut_off=bool(state.get("cut_off")),
                text=self.problem or state.get("text", ""),
                last_lines=tuple(state.get("last_lines", ())),
            )
        return self._status


class Units(dict[str, Installed]):
    """All of them, by name, with their files."""

    def __init__(self, layout: Layout, machine: Machine) -> None:
        super().__init__()
        self._layout = layout
        self._machine = machine

    def read(self) -> None:
        """Find what was installed before. A file that cannot be read is no unit."""
        self.clear()
        for path in sorted(self._layout.units.glob("*.json")):
            plain = read_json(path)
            if plain is not None:
                with contextlib.suppress(KeyError, ValueError):
                    unit = RunnableUnit(
                        name=UnitName(plain["name"]),
                        digest=Digest(plain["digest"]),
                        text=base64.b64decode(plain["text"]),
                        environment=plain["environment"],
                        stop_within=plain.get("stop_within"),
                    )
                    self._load(unit)

    def install(self, unit: RunnableUnit) -> tuple[str, ...]:
        """Put a unit's file in place. Returns warnings about its text. Raises RuntimeRefused."""
        fault = names.find_fault(unit.name)
        if fault is not None:
            raise RuntimeRefused(f"{names.shown(unit.name)} is not a unit name: {fault[0]}")
        if not unit.name.endswith(".service"):
            raise RuntimeRefused(
                f"{unit.name}: the process runtime runs services only",
                hint="use a machine with systemd for timers, sockets and other units",
            )
        plain = {
            "name": unit.name,
            "digest": unit.digest,
            "text": base64.b64encode(unit.text).decode(),
            "environment": dict(unit.environment),
            "stop_within": unit.stop_within,
        }
        try:
            write_json(self._layout.unit(unit.name), plain)
        except OSError as problem:
            raise RuntimeRefused(f"{unit.name} cannot be kept: {problem.strerror}") from problem
        return self._load(unit)

    def remove(self, name: UnitName) -> None:
        """Take a unit's files away, but its log."""
        for path in (self._layout.unit(name), self._layout.state(name)):
            path.unlink(missing_ok=True)
        self.pop(name, None)

    def save_state(self, unit: Installed) -> None:
        """Put down the state of a unit that has no supervisor to do it."""
        with contextlib.suppress(OSError):
            write_json(self._layout.state(unit.name), unit.saved())

    def graph(self) -> Graph:
        """Their dependencies."""
        nothing = Dependencies()
        return Graph(
            {
                unit.name: unit.loaded.dependencies if unit.loaded else nothing
                for unit in self.values()
            }
        )

    def broken(self) -> dict[str, str]:
        """Units that cannot be loaded, with the reason."""
        return {unit.name: unit.problem for unit in self.values() if unit.problem}

    def _load(self, unit: RunnableUnit) -> tuple[str, ...]:
        present = self.get(unit.name)
        if present is None:
            present = self[unit.name] = Installed(unit.name, unit.digest)
        if present.digest != unit.digest:
            present.armed = None
        present.digest = unit.digest
        present.stop_within = unit.stop_within
        present.forget_status()
        try:
            loaded = load(
                unit.name,
                unit.text,
                machine=self._machine,
                digest=unit.digest,
                environment=unit.environment,
            )
        except BadSetting as problem:
            present.loaded, present.problem = None, str(problem)
            return (f"bad unit file setting: {problem}",)
        present.loaded, present.problem = loaded, ""
        return loaded.warnings
