"""Submitting units: all of them or none, in one transaction where they fit one.

First everything is checked, then compared with the cluster as it is, then written, each record guarded by the revision it
was compared at. If somebody else was faster, the comparison is made anew.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from argosy.api import texts, writing
from argosy.api.candidates import Candidate, check_submission
from argosy.api.picture import Picture
from argosy.api.schemas import Change, SubmitRequest, Submitted
from argosy.api.services import Api
from argosy.errors import AlreadyExists, Conflict, Invalid, StaleRevision
from argosy.model.event import Event
from argosy.model.ids import AppName, Digest, UnitName
from argosy.model.unit import DesiredState, Unit
from argosy.store import base, keys

ATTEMPTS = 5
"""How often a submission is compared anew with what somebody else has just written."""
DIFF_BYTES = 64 * 1024
DIFF_LINES = 1000
"""Larger texts are not compared line by line: difflib takes time in the square of their lines."""


@dataclass(frozen=True, slots=True)
class _Step:
    """What becomes of one unit."""

    change: Change
    write: writing.Write | None


async def submit(api: Api, request: SubmitRequest) -> Submitted:
    """Create and change units, all of them or none.

    Raises Invalid with a problem per diagnostic; AlreadyExists when a unit has another text and `replace` is not set;
    Conflict when it belongs to another app; StaleRevision when `expect_revision` does not hold any more, or others kept
    changing the same units.
    """
    if request.prune and request.app is None:
        raise Invalid("prune needs app: it destroys those of the app's units that are not named")
    known = (await api.feed.catch_up()).units.keys()
    checked = await check_submission(
        request, known=known, find_unhonoured=api.services.find_unhonoured
    )
    for attempt in range(ATTEMPTS):
        picture = await api.feed.catch_up()
        seen = await _seen_by_the_caller(api, request)
        old = await _old_texts(api, picture, checked.candidates)
        # The picture goes on while anything is awaited; from here to the commit nothing is.
        _expect(seen, picture, request, checked.candidates)
        steps = list(_steps(api, picture, request, checked.candidates, old))
        writes = [step.write for step in steps if step.write is not None]
        revision = picture.revision
        if writes and not request.dry_run:
            try:
                revision = await writing.commit(api, writes)
            except StaleRevision:
                if attempt + 1 == ATTEMPTS or request.expect_revision is not None:
                    raise
                continue
            if any(step.change.change in ("changed", "destroyed") for step in steps):
                await texts.tidy(api.services.store, api.feed)
        return Submitted(
            revision=revision,
            changes=tuple(step.change for step in steps),
            warnings=checked.warnings,
        )
    raise AssertionError("the last attempt returns or raises")


async def _seen_by_the_caller(api: Api, request: SubmitRequest) -> Mapping[UnitName, int] | None:
    """mod_revision of every unit at `expect_revision`; None when nothing is expected."""
    if request.expect_revision is None:
        return None
    try:
        found = await api.services.store.range(
            keys.UNITS, base.prefix_end(keys.UNITS), revision=request.expect_revision
        )
    except (base.Compacted, base.FutureRevision) as problem:
        raise StaleRevision(str(problem), hint="look at what would change now") from problem
    return {UnitName(keys.last_part(kv.key)): kv.mod_revision for kv in found.kvs}


async def _old_texts(
    api: Api, picture: Picture, candidates: Sequence[Candidate]
) -> Mapping[Digest, bytes]:
    """Of the units whose text changes, for the diff."""
    found: dict[Digest, bytes] = {}
    while missing := _replaced(picture, candidates) - found.keys():
        found |= dict.fromkeys(missing, b"") | await texts.read_all(api.services.store, missing)
    return found


def _replaced(picture: Picture, candidates: Sequence[Candidate]) -> set[Digest]:
    return {
        unit.digest
        for candidate in candidates
        if (unit := picture.units.get(candidate.name)) and unit.digest != candidate.digest
    }


def _expect(
    seen: Mapping[UnitName, int] | None,
    picture: Picture,
    request: SubmitRequest,
    candidates: Sequence[Candidate],
) -> None:
    """Every unit that the request touches must be as the caller has seen it."""
    if seen is None:
        return
    touched = {candidate.name for candidate in candidates}
    touched |= set(_pruned(picture, request, touched))
    moved = sorted(name for name in touched if seen.get(name) != picture.unit_revisions.get(name))
    if moved:
        raise StaleRevision(
            f"{', '.join(moved[:5])} changed after revision {request.expect_revision}; "
            "nothing was written",
            hint="look at what would change now",
        )


def _steps(
    api: Api,
    picture: Picture,
    request: SubmitRequest,
    candidates: Sequence[Candidate],
    old: Mapping[Digest, bytes],
) -> Iterator[_Step]:
    now = api.services.clock()
    for candidate in candidates:
        before = picture.units.get(candidate.name)
        if before is None:
            yield _create(candidate, request, now)
        else:
            _refuse_foreign(before, candidate, request)
            # Only texts that differ were read.
            old_text = old.get(before.digest, candidate.text)
            yield _update(picture, before, candidate, request, old_text, now)
    named = {candidate.name for candidate in candidates}
    for name in _pruned(picture, request, named):
        event = Event(
            at=now,
            kind="unit.destroyed",
            unit=name,
            message=f"{request.app} has it no more",
        )
        yield _Step(
            Change(name=name, change="destroyed", diff=None),
            writing.Write(
                name=name, seen_revision=picture.unit_revisions[name], unit=None, event=event
            ),
        )


def _pruned(picture: Picture, request: SubmitRequest, named: set[UnitName]) -> list[UnitName]:
    if not request.prune:
        return []
    return [
        name
        for name in picture.sorted_units()
        if picture.units[name].app == request.app and name not in named
    ]


def _create(candidate: Candidate, request: SubmitRequest, now: datetime) -> _Step:
    unit = Unit(
        name=candidate.name,
        digest=candidate.digest,
        desired=candidate.desired or DesiredState.INACTIVE,
        requirements=candidate.requirements,
        description=candidate.description,
        variables=candidate.variables,
        app=AppName(request.app) if request.app else None,
        submitted_at=now,
    )
    event = Event(at=now, kind="unit.submitted", unit=unit.name, message=f"wanted {unit.desired}")
    return _Step(
        Change(name=unit.name, change="created", diff=None),
        writing.Write(name=unit.name, seen_revision=0, unit=unit, event=event, text=candidate.text),
    )


def _refuse_foreign(before: Unit, candidate: Candidate, request: SubmitRequest) -> None:
    if request.app is not None and before.app is not None and before.app != request.app:
        raise Conflict(
            f"{candidate.name} belongs to app {before.app}, not to {request.app}; nothing was written",
            hint=f"rename the unit, or first: argosy destroy {candidate.name}",
        )
    is_other = before.digest != candidate.digest or before.variables != candidate.variables
    if is_other and not request.replace:
        raise AlreadyExists(
            f"{candidate.name} is there with another text or variables; nothing was written",
            hint="add --replace to give it this text",
        )


def _update(
    picture: Picture,
    before: Unit,
    candidate: Candidate,
    request: SubmitRequest,
    old_text: bytes,
    now: datetime,
) -> _Step:
    after = msgspec.structs.replace(
        before,
        digest=candidate.digest,
        desired=candidate.desired or before.desired,
        requirements=candidate.requirements,
        description=candidate.description,
        variables=candidate.variables,
        app=AppName(request.app) if request.app else before.app,
    )
    name = before.name
    is_other = (after.digest, after.variables) != (before.digest, before.variables)
    if is_other:
        after = msgspec.structs.replace(after, submitted_at=now)
        diff = _diff(name, old_text, candidate.text, before.variables, after.variables)
        change = Change(name=name, change="changed", diff=diff)
        event = Event(at=now, kind="unit.changed", unit=name, message=_size(diff))
    elif after.desired is not before.desired:
        change = Change(name=name, change="desired", diff=None)
        words = f"{after.desired}, was {before.desired}"
        event = Event(at=now, kind="unit.desired", unit=name, message=words)
    else:
        change = Change(name=name, change="unchanged", diff=None)
        words = f"belongs to app {after.app}"
        event = Event(at=now, kind="unit.submitted", unit=name, message=words)
    write = writing.Write(
        name=name,
        seen_revision=picture.unit_revisions[name],
        unit=after,
        event=event,
        text=candidate.text if after.digest != before.digest else None,
        beyond=picture.beyond.get(name) if after.digest == before.digest else None,
    )
    return _Step(change, write if after != before else None)


def _diff(
    name: UnitName,
    old: bytes,
    new: bytes,
    old_variables: Mapping[str, str],
    new_variables: Mapping[str, str],
) -> str:
    """Unified; the variables stand behind the text as comments, as `Environment=` lines would."""
    if max(len(old), len(new)) > DIFF_BYTES or max(old.count(b"\n"), new.count(b"\n")) > DIFF_LINES:
        return f"{name}: {len(old)} bytes became {len(new)} bytes, too many to compare by line\n"
    lines = difflib.unified_diff(
        _lines(old, old_variables), _lines(new, new_variables), f"a/{name}", f"b/{name}"
    )
    return "".join(lines)


def _lines(text: bytes, variables: Mapping[str, str]) -> list[str]:
    lines = text.decode(errors="backslashreplace").splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    return lines + [f"# variable {name}={value}\n" for name, value in sorted(variables.items())]


def _size(diff: str) -> str:
    body = [line for line in diff.splitlines() if not line.startswith(("+++", "---"))]
    added = sum(line.startswith("+") for line in body)
    removed = sum(line.startswith("-") for line in body)
    return f"{added} lines added, {removed} removed"
