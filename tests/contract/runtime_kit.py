"""What the tests of runtimes share: runtimes to test, cases from files, and a way to see what is left.

A case is unit texts and steps in TOML (`runtime_cases/`), so that every runtime goes through the same ones. `{tmp}` is a
directory of the case's own, `{notify}` a program that speaks sd_notify, `{id}` a word unique to the run.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import tomllib
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from argosy.model.ids import Digest, UnitName
from argosy.runtime.base import JobResult, LogLine, RunnableUnit, Runtime
from argosy.runtime.process import tree
from argosy.runtime.process.load import Machine
from argosy.runtime.process.machine import describe
from argosy.runtime.process.runtime import ProcessRuntime
from argosy.runtime.systemd.place import system_manager, user_manager
from argosy.runtime.systemd.runtime import SystemdRuntime

CASES = Path(__file__).parent / "runtime_cases"
PATIENCE_SECONDS = 10.0
RUNTIME = os.environ.get("ARGOSY_TEST_RUNTIME", "process")
"""Which runtime the cases run on. Those of systemd need one that runs the host: `tests/system/test_systemd_contract.py`
boots a machine and runs these tests in it."""

ROOTS_JOURNALCTL = "journalctl-of-root"
"""By which a user of the tests' machine empties the journal."""


@dataclass(frozen=True)
class Case:
    """One story that every runtime must tell alike."""

    name: str
    units: Mapping[str, str]
    steps: list[dict[str, Any]]
    runtimes: tuple[str, ...] = ()
    """The runtimes that tell it so; none named: all. Differences are listed in docs/reference/systemd-runtime.md."""


def load_cases() -> list[Case]:
    cases = [
        Case(**case)
        for path in sorted(CASES.glob("*.toml"))
        for case in tomllib.loads(path.read_text())["case"]
    ]
    return [case for case in cases if not case.runtimes or RUNTIME in case.runtimes]


def process_runtime(directory: Path, *, log_bytes: int = 8 * 1024 * 1024) -> ProcessRuntime:
    """A runtime below the directory, with the places of RuntimeDirectory= and its like there too."""
    bases = {kind: str(directory / kind.lower()) for kind in describe().bases}
    machine = Machine(specifiers=describe().specifiers, bases=bases)
    return ProcessRuntime(directory / "units", described=machine, log_bytes=log_bytes)


def make_runtime(directory: Path) -> Runtime:
    """The runtime under test, not open."""
    match RUNTIME:
        case "systemd":
            _empty_journal()
            return SystemdRuntime(system_manager())
        case "systemd-user":
            _empty_journal()
            place = user_manager(Path(os.environ["XDG_RUNTIME_DIR"]), Path.home())
            assert place is not None, "this user has no systemd"
            return SystemdRuntime(place)
        case _:
            return process_runtime(directory)


def _empty_journal() -> None:
    """Units of one name in many tests: each begins without lines, as a runtime in a directory of its own does."""
    program = "journalctl" if os.geteuid() == 0 else ROOTS_JOURNALCTL
    subprocess.run(
        [program, "--quiet", "--rotate", "--vacuum-size=1"], check=True, capture_output=True
    )


def unit(name: str, text: str, **environment: str) -> RunnableUnit:
    data = text.encode()
    digest = Digest(hashlib.sha256(data).hexdigest())
    return RunnableUnit(name=UnitName(name), digest=digest, text=data, environment=environment)


def names(*words: str) -> list[UnitName]:
    return [UnitName(word) for word in words]


async def until(holds: Callable[[], bool], *, what: str = "") -> None:
    """Wait for a condition, at most PATIENCE_SECONDS."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not holds():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"never came: {what or holds}") from None


def living(mark: str) -> list[int]:
    """Processes that began with this variable in their environment, without zombies."""
    return [pid for pid in tree.with_environment(mark) if tree.start_time(pid) is not None]


async def texts_of(runtime: Runtime, *units: str) -> list[str]:
    """What the units themselves have written."""
    lines = [line async for line in runtime.logs(names(*units), lines=10_000)]
    return [line.text for line in lines if line.stream != "argosy"]


async def texts_until(runtime: Runtime, name: str, wanted: list[str]) -> None:
    """Wait until the unit has written this and nothing else."""
    found: list[str] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(found := await texts_of(runtime, name)) < len(wanted):
                await asyncio.sleep(0.01)
    expect(found, wanted)


async def lines_of(runtime: Runtime, *units: str, **options: Any) -> list[LogLine]:
    return [line async for line in runtime.logs(names(*units), **options)]


@contextlib.asynccontextmanager
async def opened(runtime: Runtime) -> AsyncIterator[Runtime]:
    """The runtime open; at the end its units are stopped and it is closed, whatever happened."""
    await runtime.open()
    try:
        yield runtime
    finally:
        try:
            await runtime.remove(list(runtime.statuses()))
        finally:
            await runtime.close()


def expect(found: object, wanted: object) -> None:
    """An assertion that shows both sides: pytest rewrites those of test modules only."""
    if found != wanted:
        raise AssertionError(f"found {found!r}\nwanted {wanted!r}")


class Story:
    """Plays a case on a runtime."""

    def __init__(self, case: Case, runtime: Runtime, directory: Path) -> None:
        self._case = case
        self._runtime = runtime
        self._mark = uuid.uuid4().hex
        self._words = {
            "tmp": str(directory),
            "notify": f"{sys.executable} -S {CASES / 'sd_notify.py'}",
            "python": sys.executable,
            "id": self._mark[:12],
        }
        self._begun: asyncio.Task[Mapping[UnitName, JobResult]] | None = None

    async def play(self) -> None:
        refused = await self._runtime.install(
            [
                unit(name, self._fill(text), ARGOSY_CASE=self._mark, ADDED="added")
                for name, text in self._case.units.items()
            ]
        )
        assert not refused
        try:
            for number, step in enumerate(self._case.steps, start=1):
                try:
                    await self._step(step)
                except AssertionError as failure:
                    failure.add_note(f"in step {number}: {step}")
                    for line in await lines_of(self._runtime, *self._case.units):
                        failure.add_note(f"{line.unit} {line.stream}: {line.text}")
                    raise
        finally:
            await self._runtime.stop(names(*self._case.units))
            if self._begun is not None:
                await self._begun
            for pid in living(f"ARGOSY_CASE={self._mark}"):  # of the cases that spare some
                os.kill(pid, signal.SIGKILL)

    async def _step(self, step: dict[str, Any]) -> None:
        for word in ("start", "stop", "restart", "reload"):
            if word in step:
                results = await getattr(self._runtime, word)(names(*step[word]))
                self._compare(results, step.get("results", {}))
                return
        if "results" in step:
            assert self._begun is not None
            begun, self._begun = self._begun, None
            self._compare(await begun, step["results"])
            return
        await getattr(self, f"_{next(iter(step))}")(step)

    @staticmethod
    def _compare(results: Mapping[UnitName, JobResult], wanted: Mapping[str, str]) -> None:
        found = {name: str(results[UnitName(name)]) for name in wanted}
        expect(found, dict(wanted))

    async def _begin(self, step: dict[str, Any]) -> None:
        self._begun = asyncio.create_task(self._start(step["begin"]))

    async def _start(self, units: list[str]) -> Mapping[UnitName, JobResult]:
        return await self._runtime.start(names(*units))

    async def _expect(self, step: dict[str, Any]) -> None:
        for name, wanted in step["expect"].items():
            expect(self._shown(name, wanted), wanted)

    async def _until(self, step: dict[str, Any]) -> None:
        for name, wanted in step["until"].items():
            with contextlib.suppress(AssertionError):
                await until(lambda n=name, w=wanted: self._shown(n, w) == w)  # type: ignore[misc]
            expect(self._shown(name, wanted), wanted)

    def _shown(self, name: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
        status = self._runtime.statuses()[UnitName(name)]
        shown = {key: getattr(status, key) for key in wanted if hasattr(status, key)}
        if "restarts_at_least" in wanted:
            shown["restarts_at_least"] = min(status.restarts, wanted["restarts_at_least"])
        return shown

    async def _logs(self, step: dict[str, Any]) -> None:
        for name, wanted in step["logs"].items():
            await texts_until(self._runtime, name, [self._fill(line) for line in wanted])

    async def _main(self, step: dict[str, Any]) -> None:
        def comm() -> str:
            pid = self._runtime.statuses()[UnitName(step["main"])].main_pid
            with contextlib.suppress(OSError):
                return Path(f"/proc/{pid}/comm").read_text().strip()
            return ""

        await until(lambda: comm() == step["runs"], what=f"main process {step['runs']}")

    async def _kill(self, step: dict[str, Any]) -> None:
        pid = self._runtime.statuses()[UnitName(step["kill"])].main_pid
        assert pid is not None
        os.kill(pid, signal.Signals[step["signal"]])

    async def _left(self, step: dict[str, Any]) -> None:
        expect(len(living(f"ARGOSY_CASE={self._mark}")), step["left"])

    async def _left_until(self, step: dict[str, Any]) -> None:
        mark = f"ARGOSY_CASE={self._mark}"
        await until(lambda: len(living(mark)) == step["left_until"], what=f"{step} processes")

    async def _write(self, step: dict[str, Any]) -> None:
        for path, text in step["write"].items():
            Path(self._fill(path)).write_text(text)

    async def _files(self, step: dict[str, Any]) -> None:
        expect({p: Path(self._fill(p)).read_text() for p in step["files"]}, step["files"])

    async def _absent(self, step: dict[str, Any]) -> None:
        # systemd tells of the end of a job a moment before it clears away.
        for path in [Path(self._fill(path)) for path in step["absent"]]:
            await until(lambda p=path: not p.exists(), what=f"{path} to go")  # type: ignore[misc]

    async def _absent_named_in(self, step: dict[str, Any]) -> None:
        for path in step["absent_named_in"]:
            named = Path(self._fill(path)).read_text().strip()
            assert named.startswith("/")
            await until(lambda path=Path(named): not path.exists(), what=f"{named} to go")  # type: ignore[misc]

    def _fill(self, text: str) -> str:
        return text.format(**self._words)
