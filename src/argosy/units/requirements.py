"""Where a unit may run: `[X-Fleet]`, `[X-Placement]` and the fixed ports of `[X-Service]` together, as the scheduler
wants them.
"""

from __future__ import annotations

from argosy.model.ids import UnitName
from argosy.model.service import ServiceSpec
from argosy.model.unit import Requirements
from argosy.units import fleet, names, placement, service
from argosy.units.diagnostics import Problems
from argosy.units.fleet import FleetOptions
from argosy.units.names import NameParts
from argosy.units.placement import Placement
from argosy.units.text import UnitText


def requirements(text: UnitText, name: UnitName) -> Requirements:
    """What a text asks for under a name, specifiers expanded. Faults are not reported: `check.check` does that."""
    parts = names.parse(name)
    unheard = Problems(text.file)
    options = fleet.read(text, parts, unheard)
    return combine(
        parts,
        options,
        placement.read(text, parts, unheard, is_global=options.is_global),
        service.read(text, parts, unheard, is_global=options.is_global),
    )


def combine(
    name: NameParts, options: FleetOptions, where: Placement, shape: ServiceSpec | None
) -> Requirements:
    """The three sections as one record."""
    port = shape.port(name.instance) if shape is not None else None
    return Requirements(
        machine_id=options.machine_id,
        machine_of=options.machine_of,
        metadata=options.metadata + where.conditions,
        conflicts=options.conflicts,
        replaces=options.replaces,
        is_global=options.is_global,
        memory_bytes=where.memory_bytes,
        cpu_millis=where.cpu_millis,
        ports=() if port is None else (port,),
        spread=where.spread,
        max_per_machine=where.max_per_machine,
        when_cut_off=where.when_cut_off,
        move_after=where.move_after,
    )
