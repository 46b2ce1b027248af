"""Units run by systemd: the contract of `runtime/base.py`, event-driven, over one connection to one manager.

statuses() is folded from systemd's own signals. Nothing is polled: the manager says when a unit changes, when a job ends,
and when it has read its files anew. systemd forgets units that are not running; what has to be known of those (that they
ran, that they were cut off) stands in small files in `directory`, which is empty after a reboot like the rest of /run.

Neighbours: see the package. The facts about systemd behind each decision: docs/design/systemd-runtime.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Collection,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from argosy.errors import RuntimeBusy, RuntimeRefused
from argosy.model.ids import UnitName
from argosy.model.observed import ActiveState, UnitStatus
from argosy.runtime.base import JobResult, LogLine, RunnableUnit
from argosy.runtime.systemd import bus as dbus
from argosy.runtime.systemd import pulled_in, states
from argosy.runtime.systemd.bus import SYSTEMD, Bus, Refused
from argosy.runtime.systemd.cut_off import CutOff
from argosy.runtime.systemd.jobs import Jobs
from argosy.runtime.systemd.journal import Journal
from argosy.runtime.systemd.ordering import ordered
from argosy.runtime.systemd.place import Place
from argosy.runtime.systemd.strangers import find_fault, find_strangers
from argosy.runtime.systemd.unit_files import Owned, UnitFiles

log = logging.getLogger(__name__)

LOOKS_AT_ONCE = 4
"""Failed units whose last lines are being looked up: each is a process."""
RUNNING = (
    ActiveState.ACTIVE,
    ActiveState.RELOADING,
    ActiveState.ACTIVATING,
    ActiveState.DEACTIVATING,
)


class SystemdRuntime:
    """Runs units on one systemd manager.

    owner: which of several runtimes of the manager this is, such as its agent's directory: it has the units that it
    installed under the same word, now or in an earlier life.
    """

    def __init__(self, place: Place, *, owner: str = "") -> None:
        self._files = UnitFiles(
            place.below_root(place.units),
            tuple(map(place.below_root, place.overrides)),
            root=place.root,
            identifies=place.is_user,
            owner=owner,
        )
        self._bus = Bus(place.address, on_signal=self._on_signal, on_connected=self._read_all)
        self._jobs = Jobs(self._bus)
        self._journal = Journal(place.journalctl, is_user=place.is_user)
        directory = place.below_root(place.directory)
        self._ran = directory / "ran"
        self._cut_off = CutOff(
            self._bus,
            stop_within=lambda name: (
                self._owned[name].mark.stop_within if name in self._owned else None
            ),
            stop=lambda names: self._jobs.run("StopUnit", names),
            stopped=directory / "stopped",
            shown_as=place.directory / "stopped",
            is_user=place.is_user,
        )
        self._place = place
        self._unit_path: list[Path] = []
        """Where systemd looks for files of units."""
        self._systemctl = "systemctl --user" if place.is_user else "systemctl"
        self._owned: dict[UnitName, Owned] = {}
        self._statuses: dict[UnitName, UnitStatus] = {}
        self._loaded: set[UnitName] = set()
        """Units that systemd has in memory: a new text of these takes a reload to be seen."""
        self._invocations: dict[UnitName, str] = {}
        self._questions: list[dict[UnitName, set[str]]] = []
        """Of each question to systemd that is under way: properties that signals told meanwhile."""
        self._readers: set[_Reader] = set()
        self._looking: dict[UnitName, asyncio.Task[None]] = {}
        """Failed units whose last words are being looked up."""
        self._looks = asyncio.Semaphore(LOOKS_AT_ONCE)
        self._turn = asyncio.Lock()
        """Around what changes files: one reload serves all that waited for it."""
        self._is_dirty = False
        """Whether files have changed that a reload has to tell systemd of."""
        self._tasks: set[asyncio.Task[None]] = set()

    # --- opening and closing ----------------------------------------------------------------------------------------

    async def open(self) -> None:
        """See the contract. Raises RuntimeRefused when no systemd answers or its directory is not ours to write."""
        try:
            self._files.directory.mkdir(parents=True, exist_ok=True)
            self._ran.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as problem:
            raise RuntimeRefused(
                f"{problem.filename} cannot be made: {problem.strerror}",
                hint="the agent of a machine runs as root",
            ) from problem
        await self._bus.open()

    async def close(self) -> None:
        """Let go; units keep running."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._bus.close()
        self._jobs.lose()
        for reader in self._readers:
            reader.end()

    async def _read_all(self) -> None:
        """What is there now, after a connection was made: everything before it may be out of date."""
        self._jobs.lose()
        self._owned = {owned.name: owned for owned in self._files.read()}
        [path] = await self._bus.call(
            "Get", "ss", dbus.MANAGER, "UnitPath", interface=dbus.PROPERTIES
        )
        self._unit_path = [self._place.below_root(Path(one)) for one in path.value]
        [found] = await self._bus.call("ListUnits")
        self._loaded = {UnitName(row[0]) for row in found}
        gone = self._statuses.keys() - self._owned.keys()
        for name in gone:
            del self._statuses[name]
        for name in self._owned:
            known = self._statuses.get(name)
            self._statuses[name] = known or UnitStatus(
                name=name,
                has_run=(self._ran / name).exists(),
            )
        await self._look_at(self._owned)
        for name, status in list(self._statuses.items()):
            if status.active not in RUNNING and self._cut_off.was_stopped(name):
                self._set(name, msgspec.structs.replace(status, cut_off=True))
        running = [name for name, status in self._statuses.items() if status.active in RUNNING]
        failed = [n for n, status in self._statuses.items() if status.active is ActiveState.FAILED]
        await asyncio.gather(*(self._read_details(name) for name in (*running, *failed)))
        for name in failed:
            if not self._statuses[name].last_lines:
                self._begin_look(name)
        self._note_files(self._owned)
        await self._cut_off.open()
        self._tell(self._owned.keys() | gone)

    async def _look_at(self, names: Iterable[UnitName]) -> None:
        """Ask for load, active and sub state; systemd reads what it does not have in memory."""
        for some in dbus.chunks(sorted(names)):
            with self._asking() as told:
                [rows] = await self._bus.call("ListUnitsByNames", "as", some)
            for name, _, load, active, sub, *_ in rows:
                status = self._statuses.get(name)
                if status is None:
                    continue
                seen = {"LoadState": load}
                if status.active is not states.active_state(active):
                    seen |= {"ActiveState": active, "SubState": sub}
                self._set(UnitName(name), states.folded(status, _older(seen, told[name])))

    async def _read_details(self, name: UnitName) -> None:
        path = dbus.unit_path(name)
        kind = name[name.rindex(".") + 1 :].capitalize()
        for interface in (kind, "Unit"):
            with self._asking() as told:
                try:
                    seen = await self._bus.properties(path, f"{SYSTEMD}.{interface}")
                except Refused:  # it went away meanwhile
                    return
            if name in self._statuses:
                self._fold(name, _older(seen, told[name]))

    @contextmanager
    def _asking(self) -> Iterator[dict[UnitName, set[str]]]:
        """Around a question: what signals told of each unit meanwhile. The answer may have been given before them though
        it is read after them, and must not undo them.
        """
        told: dict[UnitName, set[str]] = defaultdict(set)
        self._questions.append(told)
        try:
            yield told
        finally:
            self._questions = [one for one in self._questions if one is not told]

    def are_units_installed(self) -> bool:
        """Whether units of this runtime are there, without asking systemd; may be called before `open`."""
        return any(True for _ in self._files.read())

    # --- what there is ----------------------------------------------------------------------------------------------

    def statuses(self) -> Mapping[UnitName, UnitStatus]:
        """See the contract."""
        return dict(self._statuses)

    @asynccontextmanager
    async def changes(self) -> AsyncIterator[AsyncIterator[frozenset[UnitName]]]:
        """See the contract."""
        reader = _Reader(self._statuses)
        self._readers.add(reader)
        try:
            yield reader
        finally:
            self._readers.discard(reader)

    async def install(self, units: Sequence[RunnableUnit]) -> Mapping[UnitName, RuntimeRefused]:
        """See the contract. Refused is also what somebody else's unit would be shadowed by, and what would overwrite a
        change that somebody made by hand.
        """
        refused: dict[UnitName, RuntimeRefused] = {}
        async with self._turn:
            strangers = await find_strangers(
                [unit.name for unit in units if unit.name not in self._owned],
                self._bus,
                unit_path=self._unit_path,
                loaded=self._loaded,
            )
            installed: list[UnitName] = []
            disarmed: list[UnitName] = []
            for unit in units:
                try:
                    self._check(unit.name, strangers)
                    before = self._owned.get(unit.name)
                    if before is not None and before.mark.digest != unit.digest:
                        disarmed.append(unit.name)
                    owned = self._files.install(unit)
                except RuntimeRefused as problem:
                    refused[unit.name] = problem
                    continue
                self._take(owned)
                installed.append(unit.name)
                self._is_dirty |= unit.name in self._loaded
            self._relink()
            if self._is_dirty:
                await self._reload_files()
            await self._look_at(installed)
            await self._cut_off.disarm(disarmed)
            self._note_files(installed)
        self._tell(installed)
        return refused

    async def remove(self, names: Collection[UnitName]) -> None:
        """See the contract. The journal keeps the units' lines."""
        present = [name for name in names if name in self._owned]
        await self.stop(present)
        async with self._turn:
            await self._reset_failed(present)
            for name in present:
                self._files.remove(name)
                (self._ran / name).unlink(missing_ok=True)
                self._owned.pop(name, None)
                self._statuses.pop(name, None)
                self._invocations.pop(name, None)
                self._end_look(name)
            # systemd still has those that others refer to; it need not be told for the others.
            self._cut_off.forget(present)
            await self._cut_off.disarm(present)
            self._is_dirty |= any(name in self._loaded for name in present)
            self._relink()
        self._tell(present)

    # --- jobs -------------------------------------------------------------------------------------------------------

    async def start(self, names: Sequence[UnitName]) -> Mapping[UnitName, JobResult]:
        """See the contract."""
        return await self._begin("StartUnit", names)

    async def restart(self, names: Sequence[UnitName]) -> Mapping[UnitName, JobResult]:
        """See the contract."""
        return await self._begin("RestartUnit", names)

    async def stop(self, names: Sequence[UnitName]) -> Mapping[UnitName, JobResult]:
        """See the contract."""
        # Also those that seem not to run: news of a start come a moment after it, of the latest unit first.
        known = [name for name in dict.fromkeys(names) if name in self._owned]
        results = dict.fromkeys(names, JobResult.DONE)
        return results | await self._jobs.run("StopUnit", ordered(known, self._owned)[::-1])

    async def reload(self, names: Sequence[UnitName]) -> Mapping[UnitName, JobResult]:
        """See the contract."""
        return await self._jobs.run("ReloadUnit", names)

    async def arm(self, names: Collection[UnitName], *, within: float) -> None:
        """See the contract. systemd keeps the time."""
        try:
            await self._cut_off.arm([n for n in names if n in self._owned], within=within)
        except Refused as problem:
            raise RuntimeRefused(f"units cannot be armed: {problem}") from problem

    async def logs(
        self,
        names: Collection[UnitName],
        *,
        lines: int = 100,
        follow: bool = False,
        after: str = "",
    ) -> AsyncGenerator[LogLine, None]:
        """See the contract."""
        found = self._journal.lines(names, lines=lines, follow=follow, after=after)
        async with aclosing(found):
            async for line in found:
                yield line

    async def _begin(self, method: str, names: Sequence[UnitName]) -> Mapping[UnitName, JobResult]:
        known = [name for name in dict.fromkeys(names) if name in self._owned]
        if self._is_dirty and any(name in self._loaded for name in known):
            async with self._turn:
                await self._reload_files()
        self._note_files(known)
        # Known before it happens: an agent that dies in between asks again, and its own memory decides.
        for name in known:
            self._note_ran(name)
        await self._cut_off.call_off(known)
        for name in known:
            self._set(name, msgspec.structs.replace(self._statuses[name], cut_off=False))
        results = dict.fromkeys(names, JobResult.FAILED)
        results |= await self._jobs.run(method, ordered(known, self._owned))
        looking = [self._looking[name] for name in known if name in self._looking]
        if looking:
            await asyncio.wait(looking)
        return results

    def _note_ran(self, name: UnitName) -> None:
        try:
            (self._ran / name).touch(mode=0o600)
        except FileNotFoundError:  # somebody has cleaned up
            self._ran.mkdir(mode=0o700, parents=True)
            (self._ran / name).touch(mode=0o600)

    async def _reset_failed(self, names: Iterable[UnitName]) -> None:
        """So that systemd forgets them: it keeps what failed until somebody has seen it."""

        async def reset(name: UnitName) -> None:
            try:
                await self._bus.call("ResetFailedUnit", "s", name)
            except Refused as problem:
                log.debug("cannot reset %s: %s", name, problem)

        failed = [n for n in names if self._statuses[n].active is ActiveState.FAILED]
        await asyncio.gather(*map(reset, failed))

    # --- files ------------------------------------------------------------------------------------------------------

    def _check(self, name: UnitName, strangers: Mapping[UnitName, str]) -> None:
        fault = find_fault(name)
        if fault is not None:
            raise RuntimeRefused(f"{name!r} cannot be installed: {fault[0]}", hint=fault[1])
        if name in strangers:
            raise RuntimeRefused(
                f"{name} belongs to this machine already ({strangers[name]}); Argosy touches no unit that it did not "
                "install",
                hint="give the unit another name",
            )
        owned = self._owned.get(name)
        edited = self._files.found(owned).edited if owned is not None else ()
        if edited:
            path = self._files.shown(self._files.directory / name)
            raise RuntimeRefused(
                f"{edited[0]} was changed by hand on this machine; it is not overwritten",
                hint=f"keep the change elsewhere, then on the machine: rm {path} && "
                f"{self._systemctl} daemon-reload",
            )

    def _take(self, owned: Owned) -> None:
        known = self._statuses.get(owned.name)
        self._owned[owned.name] = owned
        if known is None:
            has_run = (self._ran / owned.name).exists()
            known = UnitStatus(name=owned.name, has_run=has_run)
        self._set(owned.name, known)

    def _relink(self) -> None:
        try:
            changed = pulled_in.relink(self._files.directory, self._owned)
        except OSError as problem:
            log.warning("links between units cannot be brought up to date: %s", problem)
        else:
            self._is_dirty |= any(name in self._loaded for name in changed)

    async def _reload_files(self) -> None:
        self._is_dirty = False
        try:
            await self._bus.call("Reload")
        except BaseException:
            self._is_dirty = True
            raise

    def _note_files(self, names: Collection[UnitName]) -> None:
        """Look how the files of these units are: what of them is installed, and what people changed."""
        units = {name: self._owned[name] for name in names if name in self._statuses}
        for name, (is_whole, altered) in self._files.look(units).items():
            digest = units[name].mark.digest if is_whole else None
            status = msgspec.structs.replace(self._statuses[name], digest=digest, altered=altered)
            self._set(name, status)

    # --- signals ----------------------------------------------------------------------------------------------------

    def _on_signal(self, member: str, path: str, body: list[Any]) -> None:
        match member:
            case "PropertiesChanged":
                name = dbus.unit_of(path)
                if name in self._statuses:
                    for told in self._questions:
                        told[name].update(body[1])
                    self._fold(name, dbus.plain(body[1]))
            case "JobRemoved":
                self._jobs.removed(body[1], body[3])
            case "UnitNew":
                self._loaded.add(UnitName(body[0]))
            case "UnitRemoved":
                self._loaded.discard(UnitName(body[0]))
            case "Reloading" if not body[0]:
                self._spawn(self._after_reload(), "look at units after a reload")

    async def _after_reload(self) -> None:
        """Somebody had systemd read its files anew: perhaps files that people changed."""
        await self._look_at(self._owned)
        self._note_files(self._owned)

    def _fold(self, name: UnitName, changed: Mapping[str, Any]) -> None:
        before = self._statuses[name]
        status = states.folded(before, changed)
        if "InvocationID" in changed:
            self._invocations[name] = bytes(changed["InvocationID"]).hex()
        is_over = status.active not in RUNNING
        if is_over and before.active in RUNNING and self._cut_off.was_stopped(name):
            status = msgspec.structs.replace(status, cut_off=True)
        self._set(name, status)
        if status.active is ActiveState.FAILED and before.active is not ActiveState.FAILED:
            self._begin_look(name)

    def _begin_look(self, name: UnitName) -> None:
        self._end_look(name)
        look = self._spawn(self._look_why(name), f"look why {name} failed")
        self._looking[name] = look
        look.add_done_callback(lambda _: self._forget_look(name, look))

    def _end_look(self, name: UnitName) -> None:
        look = self._looking.pop(name, None)
        if look is not None:
            look.cancel()

    def _forget_look(self, name: UnitName, look: asyncio.Task[None]) -> None:
        if self._looking.get(name) is look:
            del self._looking[name]

    async def _look_why(self, name: UnitName) -> None:
        async with self._looks:
            try:
                properties = await self._bus.properties(dbus.unit_path(name), f"{SYSTEMD}.Service")
            except (Refused, RuntimeBusy):
                properties = {}
            lines = await self._journal.last_lines(name, self._invocations.get(name, ""))
        status = self._statuses.get(name)
        if status is not None and status.active is ActiveState.FAILED:
            command = states.failed_command(properties, status.result)
            self._set(
                name,
                msgspec.structs.replace(status, failed_command=command, last_lines=lines),
            )

    def _set(self, name: UnitName, status: UnitStatus) -> None:
        if self._statuses.get(name) != status:
            self._statuses[name] = status
            self._tell([name])

    def _tell(self, names: Iterable[UnitName]) -> None:
        for reader in self._readers:
            reader.add(names)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        async def guarded() -> None:
            try:
                await work
            except (RuntimeBusy, Refused) as problem:
                # Whatever was lost with the connection is read anew with the next one.
                log.info("%s: %s", name, problem)

        task = asyncio.create_task(guarded(), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # A task that is cancelled before its first step never awaits its work.
        task.add_done_callback(lambda _: work.close())
        return task


def _older(seen: Mapping[str, Any], told: Collection[str]) -> dict[str, Any]:
    """Of an answer, what no signal has told since it was asked for. A state comes with all that belongs to it."""
    is_told = "ActiveState" in told or "SubState" in told
    return {
        key: value
        for key, value in seen.items()
        if key not in told and not (is_told and key in ("ActiveState", "SubState"))
    }


class _Reader:
    """Names that changed, gathered until somebody takes them."""

    def __init__(self, names: Iterable[UnitName]) -> None:
        self._names = set(names)
        self._wake = asyncio.Event()
        self._wake.set()
        self._is_over = False

    def add(self, names: Iterable[UnitName]) -> None:
        self._names.update(names)
        if self._names:
            self._wake.set()

    def end(self) -> None:
        self._is_over = True
        self._wake.set()

    def __aiter__(self) -> _Reader:
        return self

    async def __anext__(self) -> frozenset[UnitName]:
        await self._wake.wait()
        self._wake.clear()
        if self._is_over:
            raise StopAsyncIteration
        names, self._names = frozenset(self._names), set()
        return names
