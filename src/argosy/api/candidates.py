"""Units as they arrive: names and texts checked by `units`, each alone and all together.

Everything wrong is found before anything is refused, so that one round shows all of it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from argosy.api.schemas import (
    Diagnostics,
    DiagnosticView,
    SubmitRequest,
    SubmittedUnit,
    VerifiedUnit,
    VerifyRequest,
)
from argosy.api.services import FindUnhonoured
from argosy.errors import Invalid
from argosy.model.ids import Digest, UnitName
from argosy.model.unit import DesiredState, Requirements
from argosy.units import check, names, together
from argosy.units.check import Checked
from argosy.units.diagnostics import Diagnostic, Problems

CHECKED_AT_ONCE = 20
"""Units that are checked between two looks at the loop, so that a large app does not hold up the heartbeats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A unit that may be submitted, as far as its text goes."""

    name: UnitName
    text: bytes
    digest: Digest
    requirements: Requirements
    description: str
    desired: DesiredState | None
    variables: dict[str, str]


@dataclass(frozen=True, slots=True)
class Submission:
    """All of a submission, found to be valid."""

    candidates: tuple[Candidate, ...]
    warnings: tuple[str, ...]


async def check_submission(
    request: SubmitRequest, *, known: Collection[UnitName], find_unhonoured: FindUnhonoured
) -> Submission:
    """Raises Invalid with a problem per error, in the order of the units.

    known: units of the cluster, to which the submitted ones may refer.
    find_unhonoured: what of a text has no effect where it runs; becomes warnings.
    """
    checked = await _check_each(request.units)
    found = _judge(checked, known, find_unhonoured)
    found += [
        d for unit, one in zip(request.units, checked, strict=True) for d in _wishes(unit, one)
    ]
    check.raise_for_errors(tuple(found))
    return Submission(
        tuple(_candidate(unit, one) for unit, one in zip(request.units, checked, strict=True)),
        tuple(str(diagnostic) for diagnostic in found if not diagnostic.is_error),
    )


async def verify(
    request: VerifyRequest, *, known: Collection[UnitName], find_unhonoured: FindUnhonoured
) -> Diagnostics:
    """What would be said about the units, had they been submitted: errors and warnings, file by file."""
    found = _judge(await _check_each(request.units), known, find_unhonoured)
    return Diagnostics(
        diagnostics=tuple(
            DiagnosticView(
                file=one.file,
                line=one.line,
                column=one.column,
                severity=one.severity.value,
                message=one.message,
                hint=one.hint,
            )
            for one in found
        )
    )


async def _check_each(units: Sequence[SubmittedUnit | VerifiedUnit]) -> list[Checked]:
    texts = [_text(unit) for unit in units]
    checked = []
    for number, (unit, text) in enumerate(zip(units, texts, strict=True)):
        if number % CHECKED_AT_ONCE == 0:
            await asyncio.sleep(0)
        checked.append(check.check(unit.name, text))
    return checked


def _text(unit: SubmittedUnit | VerifiedUnit) -> bytes:
    if (unit.text is None) is (unit.text_base64 is None):
        raise Invalid(f"{unit.name!a}: give exactly one of text and text_base64")
    if unit.text is not None:
        return unit.text.encode()
    assert unit.text_base64 is not None
    try:
        return base64.b64decode(unit.text_base64, validate=True)
    except (binascii.Error, ValueError) as problem:
        raise Invalid(f"{unit.name!a}: text_base64 is not base64: {problem}") from None


def _judge(
    checked: Sequence[Checked], known: Collection[UnitName], find_unhonoured: FindUnhonoured
) -> list[Diagnostic]:
    """What is said about each, and if each is right, about them together."""
    # Instances of one template have one text: what is said of it is said once.
    said: dict[tuple[Digest, int, int, str], Diagnostic] = {}
    for one in checked:
        for diagnostic in (*one.diagnostics, *_unhonoured(one, find_unhonoured)):
            place = (one.digest, diagnostic.line, diagnostic.column, diagnostic.message)
            said.setdefault(place, diagnostic)
    found = [*said.values(), *_twice(checked)]
    if not any(diagnostic.is_error for diagnostic in found):
        units = {one.name: one for one in checked if one.name is not None}
        found += together.check_together(units, known=known)
    return found


def _unhonoured(checked: Checked, find: FindUnhonoured) -> tuple[Diagnostic, ...]:
    problems = Problems(checked.file)
    for one in find(bytes(checked.text)):
        problems.warning(
            one.line,
            one.column,
            f"{one.key}={one.value} has no effect: units run as plain processes here",
            hint="it works where systemd runs the units",
        )
    return problems.sorted()


def _twice(checked: Sequence[Checked]) -> list[Diagnostic]:
    found: list[Diagnostic] = []
    first: dict[UnitName, Checked] = {}
    for one in checked:
        if one.name is not None and first.setdefault(one.name, one) is not one:
            problems = Problems(one.file)
            problems.error(1, 1, f"{one.name} is submitted twice", hint="leave one of the two out")
            found += problems.sorted()
    return found


def _wishes(unit: SubmittedUnit, checked: Checked) -> tuple[Diagnostic, ...]:
    problems = Problems(unit.name)
    wants_to_run = unit.desired not in (None, DesiredState.INACTIVE)
    if checked.name is not None and wants_to_run and names.parse(checked.name).is_template:
        instance = checked.name.replace("@.", "@1.")
        problems.error(1, 1, f"a template cannot be {unit.desired}", hint=f"submit {instance}")
    return problems.sorted()


def _candidate(unit: SubmittedUnit, checked: Checked) -> Candidate:
    assert checked.name is not None
    return Candidate(
        name=checked.name,
        text=bytes(checked.text),
        digest=checked.digest,
        requirements=checked.requirements,
        description=checked.description,
        desired=unit.desired,
        variables=unit.variables,
    )
