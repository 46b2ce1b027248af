"""Check unit files and directories of them, as the cluster would when they are submitted. Needs no server.

Prints each problem with file, line and column. Where the machine has systemd-analyze, that is asked too. Exit code 1 when
there are errors; warnings are not.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import msgspec

from argosy import appdir
from argosy.cli import exits, systemd_analyze, terminal
from argosy.cli.terminal import Style
from argosy.errors import Invalid
from argosy.units import app as apps
from argosy.units import check, names, together
from argosy.units.check import Checked
from argosy.units.diagnostics import Diagnostic, Severity


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths", nargs="*", default=["."], metavar="PATH", help="unit files or directories (.)"
    )
    parser.add_argument(
        "--no-systemd", action="store_true", help="do not ask systemd-analyze verify"
    )


def run(args: argparse.Namespace) -> int:
    found, texts = _check(args.paths or ["."])
    if not args.no_systemd:
        ours = {(one.file, one.line) for one in found}
        second = systemd_analyze.verify({p: t for p, t in texts.items() if _is_for_systemd(p)})
        # About most lines both say the same.
        found += [one for one in second if (one.file, one.line) not in ours]
    found = sorted(set(found))
    errors = sum(one.is_error for one in found)
    if args.json:
        print(json.dumps([msgspec.to_builtins(one) for one in found]))
    else:
        style = terminal.style(args)
        for diagnostic in found:
            print(_shown(diagnostic, texts.get(diagnostic.file, b""), style))
        print(_sentence(len(texts), errors, len(found) - errors))
    return exits.FAILED if errors else exits.DONE


def _check(paths: list[str]) -> tuple[list[Diagnostic], dict[str, bytes]]:
    """Everything found, with files as paths that can be opened from here; and the files' texts by these paths."""
    found: list[Diagnostic] = []
    texts: dict[str, bytes] = {}
    alone: dict[str, Checked] = {}
    for word in paths:
        path = Path(word)
        if path.is_dir():
            files = appdir.read_app(path)
            texts |= {str(path / name): data for name, data in files.items()}
            found += _at(apps.load(files).diagnostics, path)
        else:
            data = appdir.read_unit_file(path)
            texts[str(path)] = data
            checked = check.check(path.name, data)
            alone[str(path)] = checked
            found += _at(checked.diagnostics, path.parent)
    found += _between(alone)
    return found, texts


def _between(alone: Mapping[str, Checked]) -> list[Diagnostic]:
    """Of files that were named one by one only what is certainly wrong: the others may be in the cluster."""
    parents = {unit.name: Path(path).parent for path, unit in alone.items() if unit.name}
    units = {unit.name: unit for unit in alone.values() if unit.name and not unit.errors}
    found = (
        *together.find_cycles(units),
        *together.find_impossible(units),
        *together.find_taken_ports(units),
    )
    by_file = {unit.file: parents[name] for name, unit in units.items()}
    return [one for found_one in found for one in _at((found_one,), by_file[found_one.file])]


def _at(diagnostics: tuple[Diagnostic, ...], directory: Path) -> list[Diagnostic]:
    return [msgspec.structs.replace(one, file=str(directory / one.file)) for one in diagnostics]


def _is_for_systemd(path: str) -> bool:
    return apps.is_unit_file(path) and not path.endswith(names.CONTAINER_SUFFIX)


def _shown(diagnostic: Diagnostic, data: bytes, style: Style) -> str:
    text = diagnostic.excerpt(data)
    word = diagnostic.severity.value
    colour = "red" if diagnostic.severity is Severity.ERROR else "yellow"
    return text.replace(f" {word}: ", f" {style.paint(word, colour)}: ", 1)


def _sentence(files: int, errors: int, warnings: int) -> str:
    def count(number: int, word: str) -> str:
        return f"{number} {word}" + ("" if number == 1 else "s")

    if not files:
        raise Invalid("there are no unit files here", hint="argosy verify DIR, or name files")
    if not errors and not warnings:
        return f"{count(files, 'file')}: no problems"
    return f"{count(files, 'file')}: {count(errors, 'error')}, {count(warnings, 'warning')}"
