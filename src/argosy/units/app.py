"""An app: the unit files of one directory, taken together.

Pure: file names and bytes in, units and diagnostics out; `argosy.appdir` reads the directory. Besides unit files an app may
have `environments/NAME.env` (variables per environment) and `argosy.toml` (images to build; kept as it is). Whatever else
lies in the directory is the app's own business.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

from argosy.model.ids import UnitName
from argosy.units import check as one_unit
from argosy.units import names, together, variables
from argosy.units.check import Checked
from argosy.units.diagnostics import Diagnostic, Problems

SETTINGS_FILE = "argosy.toml"
ENVIRONMENTS = "environments/"
ENVIRONMENT_SUFFIX = ".env"

_QUADLET_ONLY = frozenset({"volume", "network", "pod", "kube", "image", "build"})
"""Other files of Podman Quadlet, which Argosy does not read: it must not look as if it did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """What an app's files say. Only where `errors` is empty may it be submitted."""

    units: Mapping[UnitName, Checked]
    """All units to submit, by name, sorted: one per file, and of each template with Replicas=N its instances 1 to N.
    A file of an instance's own name comes before the template, as in systemd."""
    environments: Mapping[str, Mapping[str, str]]
    """Variables by the environment's name."""
    settings: Mapping[str, object]
    """argosy.toml as TOML has it; empty without one."""
    diagnostics: tuple[Diagnostic, ...]
    """Of all files, and of the units together; sorted by file and line."""

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        return tuple(found for found in self.diagnostics if found.is_error)

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        return tuple(found for found in self.diagnostics if not found.is_error)

    def raise_for_errors(self) -> None:
        """Raises Invalid with the errors as its `problems`, when there are any."""
        one_unit.raise_for_errors(self.errors)


def belongs(file: str) -> bool:
    """Whether a file with this path in an app's directory is read as part of the app."""
    if "/" in file:
        return (
            file.startswith(ENVIRONMENTS)
            and file.count("/") == 1
            and file.endswith(ENVIRONMENT_SUFFIX)
        )
    return file == SETTINGS_FILE or is_unit_file(file) or _is_quadlet_only(file)


def is_unit_file(file: str) -> bool:
    """Whether a file's name ends like a unit's: `.service`, `.timer` ... or `.container`."""
    return file.endswith(names.CONTAINER_SUFFIX) or file.rpartition(".")[2] in names.TYPES


def load(files: Mapping[str, bytes], *, known: frozenset[UnitName] = frozenset()) -> App:
    """Understand an app. Never raises: what is wrong is in its diagnostics.

    files: by path within the directory; those that do not belong are passed over.
    known: units that the cluster has already, which MachineOf may name.
    """
    found: list[Diagnostic] = []
    checked = [one_unit.check(file, files[file]) for file in sorted(files) if is_unit_file(file)]
    units: dict[UnitName, Checked] = {}
    for unit in checked:
        found += unit.diagnostics
        if unit.name is not None:
            units.setdefault(unit.name, unit)
    found += _check_files(files, checked)
    for unit in checked:
        if unit.name is not None and not unit.errors:
            for instance in instances(unit):
                found += instance.diagnostics
                assert instance.name is not None
                units.setdefault(instance.name, instance)
    if not any(diagnostic.is_error for diagnostic in found):
        found += together.check_together(units, known=known)
    environments: dict[str, Mapping[str, str]] = {}
    for file in sorted(files):
        if file.startswith(ENVIRONMENTS) and belongs(file):
            name = file.removeprefix(ENVIRONMENTS).removesuffix(ENVIRONMENT_SUFFIX)
            environments[name], wrong = variables.parse(files[file], file=file)
            found += wrong
    settings, wrong = _settings(files.get(SETTINGS_FILE))
    found += wrong
    return App(
        units=dict(sorted(units.items())),
        environments=environments,
        settings=settings,
        diagnostics=tuple(sorted(set(found))),
    )


def instances(template: Checked) -> list[Checked]:
    """The instances 1 to N that a template with Replicas=N has; none of a unit without."""
    shape = template.specs.service
    if template.name is None or shape is None or not shape.replicas:
        return []
    parts = names.parse(template.name)
    if not parts.is_template:
        return []
    numbers = range(1, shape.replicas + 1)
    return [
        one_unit.check_as(template.text, names.parse(parts.with_instance(str(number))))
        for number in numbers
    ]


def _check_files(files: Mapping[str, bytes], checked: list[Checked]) -> list[Diagnostic]:
    """Names that are fine one by one: twice the same unit, or the same name in different case."""
    found: list[Diagnostic] = []

    def complain(file: str, message: str, hint: str) -> None:
        problems = Problems(file)
        problems.error(1, 1, message, hint=hint)
        found.extend(problems.sorted())

    by_unit: dict[str, str] = {}
    by_folded: dict[str, str] = {}
    for unit in checked:
        other = by_folded.setdefault(unit.file.casefold(), unit.file)
        if other != unit.file:
            complain(
                unit.file,
                f"differs from {other} in case only, which not every file system can hold",
                "rename one of them",
            )
        if unit.name is not None:
            other = by_unit.setdefault(unit.name, unit.file)
            if other != unit.file:
                complain(unit.file, f"holds {unit.name}, as {other} does", "remove one of them")
    has_containers = any(unit.file.endswith(names.CONTAINER_SUFFIX) for unit in checked)
    for file in sorted(files):
        if has_containers and _is_quadlet_only(file):
            complain(
                file,
                f"Argosy reads .container files, but not .{file.rpartition('.')[2]} files",
                "say it in the .container file, or create it on the machines",
            )
    return found


def _is_quadlet_only(file: str) -> bool:
    return "/" not in file and file.rpartition(".")[2] in _QUADLET_ONLY and "." in file[1:]


def _settings(data: bytes | None) -> tuple[dict[str, object], tuple[Diagnostic, ...]]:
    if data is None:
        return {}, ()
    problems = Problems(SETTINGS_FILE)
    try:
        return tomllib.loads(data.decode("utf-8")), ()
    except UnicodeDecodeError:
        problems.error(1, 1, "not valid UTF-8", hint="save the file as UTF-8")
    except tomllib.TOMLDecodeError as error:
        problems.error(1, 1, f"not valid TOML: {error}")
    return {}, problems.sorted()
