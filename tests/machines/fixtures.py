"""What test modules on machines begin with, and machines that their tests share.

    from machines.fixtures import machine, on_machines

    __all__ = ["machine"]
    pytestmark = on_machines

A test that cuts power or cables boots its own by `async with Machines(3)`, which costs a second.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from machines.kit import Machines
from machines.machine import Machine

on_machines = [
    pytest.mark.slow,
    pytest.mark.timeout(240),  # whoever runs pytest alone may have to build the Debian root first
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may boot machines"),
]


@contextmanager
def booted(
    count: int = 1,
    *,
    names: Sequence[str] | None = None,
    argosy: bool = True,
    docker: bool = False,
    shared: Sequence[Path] = (),
) -> Iterator[Machines]:
    """Machines for code that has no event loop, such as a fixture that outlives the loops of its tests."""
    machines = Machines(count, names=names, argosy=argosy, docker=docker, shared=shared)
    with closing(machines):
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(machines.start())
        finally:
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
        yield machines


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """One machine with systemd, the same for all tests of the module."""
    with booted(1) as machines:
        [only] = machines
        yield only
