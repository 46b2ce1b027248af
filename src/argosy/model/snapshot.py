"""Everything that a decision may look at, at one store revision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from argosy.model.assignment import Assignment
from argosy.model.explanation import Explanation
from argosy.model.ids import MachineId, UnitName
from argosy.model.machine import Machine
from argosy.model.unit import Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The cluster at one revision. Mappings are read-only views; a holder must not keep them past its turn."""

    revision: int = 0
    units: Mapping[UnitName, Unit] = field(default_factory=dict)
    machines: Mapping[MachineId, Machine] = field(default_factory=dict)
    """Every machine that ever registered and was not removed, whether it is there or not."""
    present: frozenset[MachineId] = frozenset()
    """Machines whose presence lease lives."""
    absent_since: Mapping[MachineId, datetime] = field(default_factory=dict)
    """For each machine not present: when this engine first found it missing."""
    assignments: Mapping[MachineId, Assignment] = field(default_factory=dict)
    pending: Mapping[UnitName, Explanation] = field(default_factory=dict)
    """Units that have no machine, with the explanation last written."""
