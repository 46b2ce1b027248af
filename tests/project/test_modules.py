"""What the linters do not check: that the layers name every package, that deciding modules are listed as such, that
imports stand at the top, that each module says what it is for.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator

import pytest

import argosy
from project.tree import ROOT, SOURCE, modules

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LAYERS, PURE = PROJECT["tool"]["importlinter"]["contracts"]

ONE_HOME = {
    "sqlite3": "argosy.store",
    "dbus_fast": "argosy.runtime.systemd",
    "grpc": "argosy.store.etcd",
    "google": "argosy.store.etcd",
    "uvicorn": "argosy.api",
    "rich": "argosy.cli",
    "cryptography": "argosy.pki",
}
"""Third-party or embedded engines that one part of Argosy alone may know."""


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Module names imported anywhere in the tree, each with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node.lineno


def test_the_layers_name_every_package_and_module_of_the_top_level() -> None:
    listed = {name.strip() for layer in LAYERS["layers"] for name in layer.split("|")}
    there = {name for name in modules() if name.count(".") == 1}
    assert listed == there


def test_every_planner_and_every_deciding_package_is_in_the_contract_of_purity() -> None:
    planners = {name for name in modules() if name.endswith(".planner")}
    assert planners | {"argosy.model", "argosy.units", "argosy.scheduler"} <= {
        *PURE["source_modules"]
    }


@pytest.mark.parametrize("name", sorted(modules()))
def test_a_module_says_what_it_is_for(name: str) -> None:
    assert ast.get_docstring(modules()[name])


@pytest.mark.parametrize("name", sorted(modules()))
def test_own_modules_are_imported_at_the_top_of_a_file(name: str) -> None:
    inside = [
        f"{module} in line {line}"
        for function in ast.walk(modules()[name])
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for module, line in imports(function)
        if module.partition(".")[0] == "argosy"
    ]
    assert inside == []


@pytest.mark.parametrize("name", sorted(modules()))
def test_nothing_is_imported_for_type_checkers_only(name: str) -> None:
    names = {node.id for node in ast.walk(modules()[name]) if isinstance(node, ast.Name)}
    assert "TYPE_CHECKING" not in names


@pytest.mark.parametrize(("library", "home"), sorted(ONE_HOME.items()))
def test_a_library_is_known_to_one_part_only(library: str, home: str) -> None:
    users = {
        name
        for name, tree in modules().items()
        if any(module.partition(".")[0] == library for module, _ in imports(tree))
    }
    assert {user for user in users if user != home and not user.startswith(home + ".")} == set()


def test_the_version_of_the_package_is_the_one_that_the_program_says() -> None:
    assert PROJECT["project"]["version"] == argosy.__version__


def test_every_package_directory_is_a_package() -> None:
    directories = {path.parent for path in SOURCE.rglob("*.py")}
    assert {
        directory for directory in directories if not (directory / "__init__.py").exists()
    } == set()
