"""What an agent does next, as a table: what it should run, what runs, what it remembers, and the steps."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from argosy.agent.planner import Started, plan
from argosy.model.actions import AgentAction, Install, Remove, Restart, Start, Stop
from argosy.model.assignment import AssignedUnit, Assignment
from argosy.model.ids import Digest, MachineId, UnitName
from argosy.model.observed import ActiveState, LoadState, UnitStatus
from argosy.model.unit import DesiredState

MACHINE = MachineId("0" * 32)
WEB = UnitName("web.service")
OLD, NEW = Digest("a" * 64), Digest("b" * 64)


def assigned(
    *, desired: DesiredState = DesiredState.LAUNCHED, generation: int = 0, digest: Digest = NEW
) -> Assignment:
    unit = AssignedUnit(name=WEB, digest=digest, desired=desired, generation=generation)
    return Assignment(machine=MACHINE, units=(unit,))


def status(
    active: ActiveState,
    *,
    digest: Digest | None = NEW,
    has_run: bool = True,
    load: LoadState = LoadState.LOADED,
) -> UnitStatus:
    return UnitStatus(name=WEB, digest=digest, active=active, has_run=has_run, load=load)


def started(digest: Digest = NEW, generation: int = 0) -> Started:
    return Started(version=digest, generation=generation)


def steps_of(
    assignment: Assignment,
    statuses: Mapping[UnitName, UnitStatus],
    memory: Mapping[UnitName, Started],
) -> list[AgentAction]:
    assigned = {unit.name: unit for unit in assignment.units}
    return plan(assigned, statuses, memory, names=assigned.keys() | statuses.keys() | {WEB})


NOTHING = Assignment(machine=MACHINE)
ACTIVE, FAILED, INACTIVE = ActiveState.ACTIVE, ActiveState.FAILED, ActiveState.INACTIVE
LOADED = DesiredState.LOADED

CASES = [
    pytest.param(
        assigned(), None, None, [Install, Start], id="a new unit is installed and started"
    ),
    pytest.param(
        assigned(desired=LOADED), None, None, [Install], id="a loaded unit is not started"
    ),
    pytest.param(assigned(), status(ACTIVE), started(), [], id="a running unit is left alone"),
    pytest.param(
        assigned(), status(ACTIVE), None, [], id="a running unit that nobody remembers is adopted"
    ),
    pytest.param(
        assigned(),
        status(ACTIVE, digest=OLD),
        started(OLD),
        [Stop, Install, Start],
        id="a changed text stops the old before it replaces it",
    ),
    pytest.param(
        assigned(),
        status(FAILED, digest=OLD),
        started(OLD),
        [Install, Start],
        id="a changed text gives a failed unit another chance",
    ),
    pytest.param(
        assigned(),
        status(FAILED),
        started(OLD),
        [Start],
        id="an installed change that was never started is started",
    ),
    pytest.param(
        assigned(), status(FAILED), started(), [], id="a failed unit is its own Restart='s business"
    ),
    pytest.param(
        assigned(), status(INACTIVE), started(), [], id="a unit that ended well is not run again"
    ),
    pytest.param(
        assigned(),
        status(INACTIVE, has_run=False),
        started(),
        [Start],
        id="a machine that rebooted starts what it had",
    ),
    pytest.param(
        assigned(generation=1), status(ACTIVE), started(), [Restart], id="a restart restarts"
    ),
    pytest.param(
        assigned(generation=1),
        status(FAILED),
        started(),
        [Start],
        id="a start revives a failed unit",
    ),
    pytest.param(
        assigned(generation=1),
        status(ACTIVE),
        started(generation=1),
        [],
        id="a restart is carried out once",
    ),
    pytest.param(
        assigned(desired=LOADED), status(ACTIVE), started(), [Stop], id="loaded stops what runs"
    ),
    pytest.param(
        assigned(desired=LOADED),
        status(ActiveState.ACTIVATING),
        started(),
        [Stop],
        id="loaded stops what is still starting",
    ),
    pytest.param(
        assigned(desired=DesiredState.INACTIVE),
        status(ACTIVE),
        started(),
        [Stop, Remove],
        id="inactive takes the unit away",
    ),
    pytest.param(
        NOTHING,
        status(ACTIVE),
        started(),
        [Stop, Remove],
        id="an empty assignment empties the machine",
    ),
    pytest.param(
        NOTHING, status(FAILED), started(), [Remove], id="what does not run is only removed"
    ),
    pytest.param(NOTHING, None, started(), [], id="nothing to run and nothing there"),
    pytest.param(
        assigned(),
        status(INACTIVE, load=LoadState.BAD_SETTING, has_run=False),
        None,
        [],
        id="a text that the runtime cannot load is not tried for ever",
    ),
]


@pytest.mark.parametrize(("assignment", "has", "last", "steps"), CASES)
def test_steps(
    assignment: Assignment,
    has: UnitStatus | None,
    last: Started | None,
    steps: list[type[AgentAction]],
) -> None:
    planned = steps_of(assignment, {WEB: has} if has else {}, {WEB: last} if last else {})
    assert [type(step) for step in planned] == steps
    assert all(step.unit == WEB and step.reason for step in planned)


def test_changed_variables_replace_a_running_unit_like_a_changed_text() -> None:
    unit = AssignedUnit(
        name=WEB, digest=NEW, desired=DesiredState.LAUNCHED, variables={"SUFFIX": "blue"}
    )
    assignment = Assignment(machine=MACHINE, units=(unit,))
    planned = steps_of(assignment, {WEB: status(ACTIVE, digest=NEW)}, {WEB: started(NEW)})
    assert [type(step) for step in planned] == [Stop, Install, Start]
    settled = status(ACTIVE, digest=unit.version)
    assert steps_of(assignment, {WEB: settled}, {WEB: started(unit.version)}) == []


def test_units_come_in_the_order_of_their_names_and_each_keeps_its_own_order() -> None:
    names = [UnitName(f"{letter}.service") for letter in "cab"]
    units = tuple(
        AssignedUnit(name=name, digest=NEW, desired=DesiredState.LAUNCHED) for name in names
    )
    planned = steps_of(Assignment(machine=MACHINE, units=units), {}, {})
    assert [(type(step), step.unit) for step in planned] == [
        (kind, name) for name in sorted(names) for kind in (Install, Start)
    ]
