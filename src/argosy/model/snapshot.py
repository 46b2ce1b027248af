"""Everything that a decision may look at, at one store revision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from argosy.model.assignment import AssignedUnit, Assignment
from argosy.model.explanation import Explanation
from argosy.model.ids import MachineId, UnitName
from argosy.model.machine import Machine
from argosy.model.moves import MoveOrder
from argosy.model.orders import Scheduling
from argosy.model.unit import Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The cluster at one revision. Mappings are read-only views; a holder must not keep them past its turn."""

    revision: int = 0
    epoch: int = 1
    """The cluster's, `Cluster.epoch`."""
    restored: int = 0
    """`Cluster.restored`."""
    units: Mapping[UnitName, Unit] = field(default_factory=dict)
    machines: Mapping[MachineId, Machine] = field(default_factory=dict)
    """Every machine that ever registered and was not removed, there or not; with the metadata that people gave."""
    present: frozenset[MachineId] = frozenset()
    """Machines whose presence lease lives."""
    absent_since: Mapping[MachineId, datetime] = field(default_factory=dict)
    """For each machine not present: when this engine first found it missing."""
    assignments: Mapping[MachineId, Assignment] = field(default_factory=dict)
    pending: Mapping[UnitName, Explanation] = field(default_factory=dict)
    """Units that have no machine, with the explanation last written."""
    scheduling: Mapping[MachineId, Scheduling] = field(default_factory=dict)
    """Machines that people closed, now; all others are open."""
    moves: Mapping[UnitName, MoveOrder] = field(default_factory=dict)
    """What people asked to be moved, and was not yet."""
    leaving: Mapping[UnitName, Mapping[MachineId, AssignedUnit]] = field(default_factory=dict)
    """Of `assignments`, the units that leave (`AssignedUnit.is_leaving`)."""
    released: Mapping[UnitName, Mapping[MachineId, int]] = field(default_factory=dict)
    """Of units that leave (`AssignedUnit.is_leaving`): the fence under which each machine says that they ended."""

    @property
    def usable(self) -> frozenset[MachineId]:
        """Machines that are there."""
        return frozenset(self.present & self.machines.keys())
