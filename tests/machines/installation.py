"""Argosy as installed on the machines: the wheel of this checkout in a virtual environment at /opt/argosy, and
/usr/bin/argosy.

Two layers above the Debian root. The lower one has the virtual environment with the pinned libraries, and is made again
when the pins change; the upper one has the wheel, and takes two seconds when the source has changed. Both are made by
the machine's own Python and pip, so that what runs is what somebody gets who installs the wheel on such a machine.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from machines import cache, overlay

CHECKOUT = Path(__file__).parents[2]
CONSTRAINTS = CHECKOUT / "constraints.txt"
PYPROJECT = CHECKOUT / "pyproject.toml"
# What wheels of libraries are built for, as far as Debian 12's C library reaches.
LIBC_TAGS = ("manylinux2014", "manylinux_2_17", "manylinux_2_28", "manylinux_2_34")
LINK = "ln -sf /opt/argosy/bin/argosy /usr/bin/argosy"


def layers(base: Path) -> list[Path]:
    """The layers to put on the Debian root, the covering one first; builds what is not built yet."""
    recipe = Path(__file__).read_bytes()
    pins = cache.digest(recipe, base.name, CONSTRAINTS.read_bytes(), *_requirements())
    libraries = cache.built("libraries", pins, lambda place: _install_libraries(place, base))
    source = cache.digest(recipe, libraries.name, *_source())
    wheel = cache.built("argosy", source, lambda place: _install_wheel(place, libraries, base))
    return [wheel, libraries]


def _requirements() -> list[str]:
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["fast"]]


def _source() -> Iterator[bytes]:
    """Names and contents of all that goes into the wheel."""
    for path in (PYPROJECT, *sorted((CHECKOUT / "src").rglob("*"))):
        if path.is_file() and "__pycache__" not in path.parts:
            yield str(path.relative_to(CHECKOUT)).encode()
            yield path.read_bytes()


def _install_libraries(layer: Path, base: Path) -> None:
    with tempfile.TemporaryDirectory() as wheels:
        _pip("download", f"--dest={wheels}", *_for_machine(base), *_requirements())
        with overlay.writing(layer, lower=[base]) as tree:
            _inside(tree, "python3 -m venv /opt/argosy")
            with _handed_in(tree, Path(wheels)) as place:
                _inside(tree, f"/opt/argosy/bin/pip install {_QUIET} {place}/*.whl")


def _install_wheel(layer: Path, libraries: Path, base: Path) -> None:
    with tempfile.TemporaryDirectory() as wheels:
        _pip("wheel", "--no-deps", f"--wheel-dir={wheels}", str(CHECKOUT))
        with (
            overlay.writing(layer, lower=[libraries, base]) as tree,
            _handed_in(tree, Path(wheels)) as place,
        ):
            _inside(tree, f"/opt/argosy/bin/pip install --no-deps {_QUIET} {place}/*.whl && {LINK}")


_QUIET = "--quiet --no-index --no-cache-dir --disable-pip-version-check --root-user-action=ignore"


def _for_machine(base: Path) -> list[str]:
    """Wheels for the machine's Python, which need not be the one that runs the tests."""
    version = "import sys; print('%d.%d' % sys.version_info[:2])"
    asked = ["chroot", str(base), "/usr/bin/python3", "-c", version]
    python = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    tags = [f"--platform={tag}_{platform.machine()}" for tag in LIBC_TAGS]
    return ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}", *tags]


def _pip(*words: str) -> None:
    """The host's pip, with everything at its pinned version, the build backend too; shows what pip says if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", *words, "--disable-pip-version-check"],
        env={**os.environ, "PIP_CONSTRAINT": str(CONSTRAINTS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        raise OSError(f"pip {' '.join(words)}: {done.stdout.strip()}")


def _inside(tree: Path, script: str) -> None:
    path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
    subprocess.run(["env", "-i", path, "chroot", str(tree), "sh", "-c", script], check=True)


@contextmanager
def _handed_in(tree: Path, wheels: Path) -> Iterator[str]:
    """The wheels at a path of the tree, for the time of an installation."""
    shutil.copytree(wheels, tree / "wheels")
    yield "/wheels"
    shutil.rmtree(tree / "wheels")
