"""What the words after start, load and submit mean: local files, directories, or units of the cluster.

A file counts before what the cluster has: whoever edits web.service and types `argosy start web.service` means that text.
A directory needs a slash (`web/`, `./web`, `.`), so that a folder that happens to be called like a unit changes nothing.
For an instance without a file of its own, its template's text is taken: the local file's, else the cluster's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from argosy import appdir
from argosy.cli import naming
from argosy.client import Client, UnitDetail, unit_text
from argosy.errors import Invalid, NotFound
from argosy.model.ids import UnitName
from argosy.units import app as apps
from argosy.units import check, names
from argosy.units.check import Checked
from argosy.units.names import NameParts

APP_DIRECTORY = "ARGOSY_APP_DIR"
"""The variable that tells units where their app's directory is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A unit to submit, with the variables that go along if the cluster does not have it yet."""

    name: UnitName
    data: bytes
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Meant:
    """What all the words together mean."""

    texts: dict[UnitName, Text] = field(default_factory=dict)
    """To be submitted, by name."""
    named: list[str] = field(default_factory=list)
    """Units of the cluster, names and globs."""
    app: str | None = None
    """The app that the texts belong to, when they are one directory's."""

    @property
    def runnable(self) -> list[str]:
        """Of the texts, all but templates."""
        return sorted(name for name in self.texts if not names.parse(name).is_template)


def find(words: Sequence[str], client: Client) -> Meant:
    """What the words mean. Reads files; asks the server for templates only.

    Raises Invalid and NotFound, for files as `appdir` does.
    """
    meant = Meant()
    directories = [word for word in words if is_directory(word)]
    if directories and len(words) > 1:
        raise Invalid(
            f"{directories[0]} is a directory, which is submitted as a whole and alone",
            hint="give the directory, or files",
        )
    for word in words:
        if is_directory(word):
            _add_app(Path(word), meant)
        elif not _add_file(word, meant):
            _add_named(word, meant, client)
    return meant


def is_directory(word: str) -> bool:
    return ("/" in word or word in (".", "..")) and Path(word).is_dir()


def _add_app(directory: Path, meant: Meant) -> None:
    where = directory.resolve()
    app = apps.load(appdir.read_app(where))
    app.raise_for_errors()
    if not app.units:
        raise NotFound(f"there are no unit files in {directory}", hint="argosy verify DIR")
    variables = {APP_DIRECTORY: str(where)}
    for name, unit in app.units.items():
        meant.texts[name] = Text(name=name, data=bytes(unit.text), variables=variables)
    meant.app = where.name


def _add_file(word: str, meant: Meant) -> bool:
    """Whether the word is a local file, or an instance whose template is one."""
    path = Path(word)
    if not apps.is_unit_file(path.name):
        path = path.with_name(path.name + ".service")
    for candidate in _spellings(path):
        if os.path.lexists(candidate):
            checked = check.check(candidate.name, appdir.read_unit_file(candidate))
            _add_checked(checked, candidate, meant)
            return True
    parts = _as_name(path.name)
    if parts is not None and parts.template is not None:
        for candidate in _spellings(path.with_name(parts.template)):
            if os.path.lexists(candidate):
                checked = check.check(candidate.name, appdir.read_unit_file(candidate))
                _add_checked(checked, candidate, meant, instance=parts)
                return True
    if "/" in word:
        raise NotFound(f"there is no file {word}", hint=f"ls {path.parent}")
    return False


def _spellings(path: Path) -> tuple[Path, ...]:
    """The files that can hold a service: a unit file, or a container's."""
    if path.suffix == ".service":
        return path, path.with_suffix(names.CONTAINER_SUFFIX)
    return (path,)


def _add_checked(
    checked: Checked, path: Path, meant: Meant, *, instance: NameParts | None = None
) -> None:
    checked.raise_for_errors()
    assert checked.name is not None
    data = bytes(checked.text)
    # Told only to units that ask for it: on a cluster of many machines it means nothing.
    variables = {}
    if APP_DIRECTORY.encode() in data:
        variables = {APP_DIRECTORY: str(path.resolve().parent)}
    found = [instance.full] if instance else [checked.name]
    if instance is None:
        found += [one.name for one in apps.instances(checked) if one.name is not None]
    for name in found:
        meant.texts[name] = Text(name=name, data=data, variables=variables)


def _add_named(word: str, meant: Meant, client: Client) -> None:
    name = naming.unit_name(word)
    parts = _as_name(name)
    if parts is not None and parts.template is not None and not client.units([name]):
        template = _template(client, parts)
        if template is not None:
            meant.texts[parts.full] = Text(
                name=parts.full, data=unit_text(template), variables=template["variables"]
            )
            return
    meant.named.append(name)


def _template(client: Client, parts: NameParts) -> UnitDetail | None:
    assert parts.template is not None
    try:
        return client.unit(parts.template)
    except NotFound:
        return None


def _as_name(word: str) -> NameParts | None:
    """The word taken apart, when it can be a unit's name."""
    return names.parse(word) if names.is_valid(word) else None
