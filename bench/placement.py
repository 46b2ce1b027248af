"""How fast machines are found for units: decisions only, in memory, one core; no store, no network, no agents.

What is timed is `place` on a board that knows the machines, or `plan` on a snapshot: everything from the units' records to
decisions with reasons. Making the records is not in it. Each figure is the median of `ROUNDS` rounds with the slowest
beside it, on fresh boards and fresh records each time. It is processor time: nothing here waits, so on an idle core it is
also the time on the clock, and on a busy machine it stays what it is.
"""

from __future__ import annotations

import gc
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from platform import python_version

from argosy.engine.planner import Scope, Timing, apply_plan, plan
from argosy.model.ids import Digest, MachineId, UnitName
from argosy.model.machine import Capacity, Machine
from argosy.model.snapshot import Snapshot
from argosy.model.unit import Condition, DesiredState, Operator, Requirements, Unit
from argosy.scheduler.board import Board
from argosy.scheduler.decisions import Placed
from argosy.scheduler.scheduler import place

ROUNDS = 5
GIB = 1 << 30
AT = datetime(2030, 1, 1, tzinfo=UTC)


def main() -> None:
    print(f"machine: {_processor()}, Python {python_version()}, one core")
    print(
        f"method: processor time, median (slowest) of {ROUNDS} rounds; decisions only, in memory\n"
    )
    swarm()
    five_classes()
    zones()
    one_per_machine()
    every_requirement_distinct()
    nearly_full()
    nothing_fits()
    machines_lost()
    one_unit_more()


def swarm() -> None:
    """SwarmKit's BenchmarkSchedulerConstraints5kNodes100kTasks."""
    machines = [_machine(n, {"plugin": "yes" if n % 3 == 0 else "no"}) for n in range(5000)]
    needs = Requirements(metadata=(_equal("plugin", "yes"),))

    def units() -> list[Unit]:
        return [_unit(f"task{n:06}.service", needs) for n in range(100_000)]

    _report("5,000 machines, 100,000 units, a third eligible, a service each", machines, units)


def five_classes() -> None:
    """HashiCorp's C1M, a tenth of it: 100 jobs of 5 groups of 200, and the same units as 1,000 services of 100."""
    machines = [_machine(n, {"class": f"class_{n % 5}"}) for n in range(5000)]
    needs = [Requirements(metadata=(_equal("class", f"class_{k}"),)) for k in range(5)]

    def units() -> list[Unit]:
        return [
            _unit(f"svc{s:04}@{n}.service", needs[s % 5]) for s in range(1000) for n in range(100)
        ]

    _report("5,000 machines in 5 classes, 100,000 instances of 1,000 services", machines, units)


def zones() -> None:
    """Kubernetes' TopologySpreading 5000/5000/5000: 5,000 units are there, 5,000 more are spread."""
    machines = [_machine(n, {"zone": f"moon-{n % 3}"}) for n in range(5000)]
    needs = Requirements(spread=("zone",))

    def units() -> list[Unit]:
        return [_unit(f"web@{n}.service", needs) for n in range(5000)]

    def prepare(board: Board) -> None:
        place(board, [_unit(f"old@{n}.service", Requirements()) for n in range(5000)])

    _report("5,000 machines in 3 zones, 5,000 units spread over zones", machines, units, prepare)


def one_per_machine() -> None:
    machines = [_machine(n) for n in range(5000)]
    limits = Requirements(max_per_machine=1)
    globs = Requirements(conflicts=("web@*.service",))
    for words, needs in (("MaxPerMachine=1", limits), ("Conflicts=%p@*.service", globs)):

        def units(needs: Requirements = needs) -> list[Unit]:
            return [_unit(f"web@{n}.service", needs) for n in range(5000)]

        _report(f"one per machine, {words}, 5,000 on 5,000", machines, units)


def every_requirement_distinct() -> None:
    """No two units alike: its own condition, port and glob each, so that nothing can be decided together."""
    machines = [_machine(n, {"rack": f"r{n % 100}", "plugin": f"p{n % 3}"}) for n in range(5000)]

    def units() -> list[Unit]:
        return [
            _unit(
                f"task{n:06}.service",
                Requirements(
                    metadata=(
                        Condition("rack", Operator.NOT_EQUAL, (f"r{n % 100}", f"x{n}")),
                        _equal("plugin", "p0"),
                    ),
                    ports=(1024 + n % 60000,),
                    conflicts=(f"task{n:06}-*.service",),
                ),
            )
            for n in range(100_000)
        ]

    _report("worst case: 100,000 units, no two requirements alike", machines, units)


def nearly_full() -> None:
    """Reservations fill the cluster to 95 % and then 5 % more than it has are asked for, in 200 sizes."""
    machines = [_machine(n, memory=32 * GIB) for n in range(5000)]
    sizes = [(100 + 13 * k) << 20 for k in range(200)]
    mean = sum(sizes) / len(sizes)
    total = int(5000 * 32 * GIB / mean)

    def units() -> list[Unit]:
        return [
            _unit(f"late{n:06}@1.service", Requirements(memory_bytes=sizes[n % 200]))
            for n in range(total // 10)
        ]

    def prepare(board: Board) -> None:
        filling = [
            _unit(f"old{n:06}@1.service", Requirements(memory_bytes=sizes[n % 200]))
            for n in range(total * 95 // 100)
        ]
        place(board, filling)

    words = f"worst case: 95 % full, {total // 10:,} units of 200 sizes for the last 5 %"
    _report(words, machines, units, prepare)


def nothing_fits() -> None:
    machines = [_machine(n, memory=GIB) for n in range(5000)]

    def units() -> list[Unit]:
        return [
            _unit(f"svc{s:04}@{n}.service", Requirements(memory_bytes=2 * GIB + s))
            for s in range(1000)
            for n in range(100)
        ]

    _report("worst case: 100,000 units in 1,000 kinds that fit nowhere, explained", machines, units)


def machines_lost() -> None:
    state = _settled_cluster()
    usable = frozenset(state.machines)
    for share in (0.01, 0.1, 0.5):
        lost = frozenset(sorted(state.machines)[:: round(1 / share)])
        present = usable - lost
        taken: list[float] = []
        moved = 0
        for _ in range(ROUNDS):
            board = Board.of(state, present)
            gc.collect()
            started = time.process_time()
            actions = plan(
                state,
                board,
                Scope(machines=lost),
                Timing(silent=dict.fromkeys(lost, timedelta(minutes=1))),
            )
            taken.append(time.process_time() - started)
            moved = len(actions) // 2
        _print(
            f"5,000 machines, 100,000 units, {share:.0%} lost: {moved:,} units move", taken, moved
        )


def one_unit_more() -> None:
    state = _settled_cluster()
    board = Board.of(state, frozenset(state.machines))
    units = dict(state.units)
    taken: list[float] = []
    for n in range(200):
        new = _unit(f"new@{n}.service", Requirements())
        units[new.name] = new
        later = Snapshot(
            revision=n, units=units, machines=state.machines, assignments=state.assignments
        )
        started = time.process_time()
        actions = plan(later, board, Scope(units=frozenset({new.name})))
        taken.append(time.process_time() - started)
        assert len(actions) == 1
    _print("one unit more among 100,000 on 5,000 machines", taken, 1)

    taken = []
    for _ in range(ROUNDS):
        started = time.process_time()
        board = Board.of(state, frozenset(state.machines))
        made = time.process_time()
        assert plan(state, board, Scope.everything()) == []
        taken.append(time.process_time() - made)
    _print("full turn that finds nothing to do, 100,000 units", taken, 100_000)
    print(f"{'board made from a snapshot of 100,000 units':76} {1000 * (made - started):9.2f} ms")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{'memory of this process at its peak, with all of the above':76} {peak:9.0f} MiB")


def _settled_cluster() -> Snapshot:
    machines = {m.id: m for m in (_machine(n, {"zone": f"z{n % 3}"}) for n in range(5000))}
    units = [
        _unit(f"svc{s:04}@{n}.service", Requirements()) for s in range(1000) for n in range(100)
    ]
    state = Snapshot(revision=1, units={u.name: u for u in units}, machines=machines)
    board = Board.of(state, frozenset(machines))
    return apply_plan(state, plan(state, board, Scope.everything()), AT)


def _report(
    words: str,
    machines: Sequence[Machine],
    make_units: Callable[[], list[Unit]],
    prepare: Callable[[Board], None] | None = None,
) -> None:
    taken: list[float] = []
    for _ in range(ROUNDS):
        board = Board()
        for machine in machines:
            board.add_machine(machine)
            board.set_usable(machine.id, True)
        if prepare is not None:
            prepare(board)
        units = make_units()
        gc.collect()
        started = time.process_time()
        decisions = place(board, units)
        taken.append(time.process_time() - started)
    placed = sum(isinstance(decision, Placed) for decision in decisions)
    if placed < len(units):
        words = f"{words} ({placed:,} of {len(units):,} placed)"
    _print(words, taken, len(units))


def _print(words: str, taken: Sequence[float], count: int) -> None:
    median = statistics.median(taken)
    took = f"{1000 * median:9.2f} ms ({1000 * max(taken):.2f})"
    print(f"{words:76} {took:24} {count / median:12,.0f}/s")


def _machine(number: int, metadata: dict[str, str] | None = None, *, memory: int = 0) -> Machine:
    return Machine(
        id=MachineId(f"{number:032x}"),
        metadata=metadata or {},
        capacity=Capacity(memory_bytes=memory),
    )


def _unit(name: str, needs: Requirements) -> Unit:
    return Unit(
        name=UnitName(name), digest=Digest(""), desired=DesiredState.LAUNCHED, requirements=needs
    )


def _equal(key: str, value: str) -> Condition:
    return Condition(key, Operator.IN, (value,))


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown processor"


if __name__ == "__main__":
    main()
