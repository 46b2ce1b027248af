"""The front door of the unit-file language: everything about one unit, in one call.

The API calls it for each unit that is submitted, `argosy verify` for each file; both show the same diagnostics. Whole apps
are judged by `app.py` on top of this.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from argosy.errors import Invalid
from argosy.model.announce import AnnounceSpec
from argosy.model.health import HealthSpec
from argosy.model.ids import Digest, UnitName
from argosy.model.rollout import RolloutSpec
from argosy.model.scale import ScaleSpec
from argosy.model.service import PortMode, ServiceSpec
from argosy.model.traffic import TrafficSpec
from argosy.model.unit import Requirements
from argosy.units import (
    announce,
    container,
    fleet,
    health,
    loading,
    names,
    placement,
    requirements,
    rollout,
    scale,
    service,
    specifiers,
    traffic,
)
from argosy.units.diagnostics import (
    Diagnostic,
    Problems,
    TooManyProblems,
    nearest_spelling,
)
from argosy.units.names import NameParts
from argosy.units.text import UnitText
from argosy.units.values import BadValue

OUR_SECTIONS = (
    fleet.TITLE,
    placement.TITLE,
    service.TITLE,
    health.TITLE,
    announce.TITLE,
    rollout.TITLE,
    traffic.TITLE,
    scale.TITLE,
)


MOST_SECTIONS = 1000
"""Headings that one file may have; each is compared with the spellings of ours."""


class Specs(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What Argosy's sections beyond placement say; None for a section that is not there or cannot be used."""

    service: ServiceSpec | None = None
    health: HealthSpec | None = None
    announce: AnnounceSpec | None = None
    rollout: RolloutSpec | None = None
    traffic: TrafficSpec | None = None
    scale: ScaleSpec | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A unit file, understood. Only where `errors` is empty may the unit be used."""

    file: str
    name: UnitName | None
    """The unit that the file holds, `web.service` for web.container; None when the file's name is no unit name."""
    text: UnitText
    digest: Digest
    """Of the exact bytes."""
    requirements: Requirements
    specs: Specs
    description: str
    """`[Unit] Description=` with the specifiers that need no machine expanded."""
    diagnostics: tuple[Diagnostic, ...]
    """Errors and warnings in the order of the file."""

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        return tuple(found for found in self.diagnostics if found.is_error)

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        return tuple(found for found in self.diagnostics if not found.is_error)

    def raise_for_errors(self) -> None:
        """Raises Invalid with the errors as its `problems`, compiler style, when there are any."""
        raise_for_errors(self.errors)


def check(file: str, data: bytes) -> Checked:
    """Understand one unit file. Never raises: what is wrong is in the result's diagnostics.

    file: its name without directories, `web@.service` or `web.container`; the unit has the same name.
    """
    text = UnitText.parse(data, file=file)
    try:
        name = names.parse(names.unit_of_file(file))
    except Invalid as fault:
        problems = Problems(file)
        problems.error(1, 1, fault.message, hint=fault.hint)
        problems.extend(text.diagnostics)
        return Checked(
            file=file,
            name=None,
            text=text,
            digest=digest_of(data),
            requirements=Requirements(),
            specs=Specs(),
            description="",
            diagnostics=problems.sorted(),
        )
    return check_as(text, name)


def check_as(text: UnitText, name: NameParts) -> Checked:
    """Understand a text under a name that need not be its file's: an instance is its template's text."""
    problems = Problems(text.file)
    problems.extend(text.diagnostics)
    needs, specs, description = Requirements(), Specs(), ""
    with contextlib.suppress(TooManyProblems):
        _check_others(text, name, problems)
        needs, specs = _read_sections(text, name, problems)
        description = _description(text, name)
    return Checked(
        file=text.file,
        name=name.full,
        text=text,
        digest=digest_of(bytes(text)),
        requirements=needs,
        specs=specs,
        description=description,
        diagnostics=problems.sorted(),
    )


def _check_others(text: UnitText, name: NameParts, problems: Problems) -> None:
    """Judge what is not ours: systemd's sections, Quadlet's, and sections that nobody knows."""
    # Errors in the text itself hide what follows from them: an invalid line is a missing line.
    if not any(found.is_error for found in text.diagnostics):
        loading.check(text, name, problems)
    if container.is_container(text):
        container.check(text, name, problems)
    _check_foreign_sections(text, problems)


def digest_of(data: bytes) -> Digest:
    """What a text is stored under: SHA-256 of its exact bytes."""
    return Digest(hashlib.sha256(data).hexdigest())


def raise_for_errors(diagnostics: Iterable[Diagnostic]) -> None:
    """Raises Invalid with the errors among these as its `problems`, when there are any."""
    errors = [str(found) for found in diagnostics if found.is_error]
    if errors:
        more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
        raise Invalid(f"{errors[0]}{more}", problems=tuple(errors))


def _read_sections(
    text: UnitText, name: NameParts, problems: Problems
) -> tuple[Requirements, Specs]:
    options = fleet.read(text, name, problems)
    is_global = options.is_global
    where = placement.read(text, name, problems, is_global=is_global)
    shape = service.read(text, name, problems, is_global=is_global)
    port = shape.port(name.instance) if shape is not None else None
    has_port = text.last(service.TITLE, "Port") is not None
    specs = Specs(
        service=shape,
        health=health.read(text, name, problems, service_port=port),
        announce=announce.read(text, name, problems, has_port=has_port),
        rollout=rollout.read(text, name, problems, service=shape),
        traffic=traffic.read(text, name, problems, has_port=has_port),
        scale=scale.read(text, name, problems, service=shape, is_global=is_global),
    )
    _check_health_port(text, specs, problems)
    return requirements.combine(name, options, where, shape), specs


def _check_health_port(text: UnitText, specs: Specs, problems: Problems) -> None:
    """A check of a port that nothing names in the file works only where the environment names it."""
    probe = specs.health
    if probe is None or probe.port is not None or probe.command:
        return
    chosen_there = specs.service is not None and specs.service.port_mode is PortMode.AUTO
    said = text.last(service.TITLE, "Port") or text.last(health.TITLE, "Port")
    if chosen_there or said or text.assigned("Service", "EnvironmentFile"):
        return
    if any("PORT=" in value for value in text.values("Service", "Environment")):
        return
    heading = text.heading(health.TITLE)
    assert heading is not None
    problems.warning(
        heading.line,
        heading.column,
        "nothing in this file says which port to check",
        hint="add Port= to [X-Service] or here",
    )


def _check_foreign_sections(text: UnitText, problems: Problems) -> None:
    """A section of somebody else's is left alone; one that looks like a misspelling of ours is not."""
    ours = {title.removeprefix("X-"): title for title in OUR_SECTIONS}
    if len(text.headings) > MOST_SECTIONS:
        heading = text.headings[MOST_SECTIONS]
        problems.error(heading.line, heading.column, f"more than {MOST_SECTIONS} sections")
    for heading in text.headings[:MOST_SECTIONS]:
        if heading.name in OUR_SECTIONS:
            continue
        prefix, _, rest = heading.name.partition("-")
        if prefix not in ("X", "x") or not rest:
            near = heading.name if heading.name in ours and heading.name != "Service" else None
        else:
            near = nearest_spelling(rest, ours, cutoff=0.7)
        if near is not None:
            problems.error(
                heading.line,
                heading.column,
                f"unknown section [{heading.name}]",
                hint=f"did you mean '{ours[near]}'?",
            )


def _description(text: UnitText, name: NameParts) -> str:
    value = text.last("Unit", "Description") or ""
    try:
        return specifiers.expand(value, name)
    except BadValue:
        return value
