"""Overlay file systems: many machines on one read-only Debian root, each with a writable layer of its own.

A layer is made by the same means: mounted as the upper one while commands run in the tree, it holds what they changed, and
serves as a lower one from then on.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


def mount(at: Path, *, lower: Sequence[Path], upper: Path, work: Path) -> None:
    """Mount the layers at a directory, which may not exist yet; the first of `lower` covers the ones after it."""
    for place in (at, upper, work):
        place.mkdir(parents=True, exist_ok=True)
    layers = ":".join(str(place) for place in lower)
    options = f"lowerdir={layers},upperdir={upper},workdir={work}"
    done = subprocess.run(
        ["mount", "-t", "overlay", "overlay", "-o", options, str(at)],
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise OSError(
            f"cannot mount an overlay with its upper layer in {upper}: {done.stderr.strip()}. "
            "Set ARGOSY_TEST_CACHE to a directory on a plain file system such as ext4."
        )


def unmount(at: Path) -> None:
    """Unmount it now, or as soon as its last user has gone; nothing happens if it is not mounted."""
    if at.is_mount():
        subprocess.run(["umount", "--lazy", str(at)], check=True, capture_output=True)


@contextmanager
def writing(layer: Path, *, lower: Sequence[Path]) -> Iterator[Path]:
    """The tree of the lower layers; what is changed in it lands in `layer`."""
    work, at = layer.with_name(layer.name + ".work"), layer.with_name(layer.name + ".tree")
    mount(at, lower=lower, upper=layer, work=work)
    try:
        yield at
    finally:
        subprocess.run(["umount", str(at)], check=True)
        at.rmdir()
        shutil.rmtree(work)
