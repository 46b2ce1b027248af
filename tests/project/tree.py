"""The repository as its own tests see it: its root, its files, its modules, its pages."""

from __future__ import annotations

import ast
import functools
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "argosy"


@functools.cache
def files() -> tuple[Path, ...]:
    """Every file that belongs to the repository: tracked by git, or new and not ignored."""
    listing = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "-co", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    paths = (ROOT / name for name in sorted(set(listing.split("\0"))) if name)
    return tuple(path for path in paths if path.is_file())


def pages() -> list[Path]:
    """Every page of prose."""
    return [path for path in files() if path.suffix == ".md"]


@functools.cache
def modules() -> dict[str, ast.Module]:
    """Every module of the package, by its dotted name."""
    return {
        dotted_name(path): ast.parse(path.read_bytes(), str(path))
        for path in sorted(SOURCE.rglob("*.py"))
    }


def dotted_name(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def named(path: Path) -> str:
    """How a test calls a file in its own name."""
    return str(path.relative_to(ROOT))
