"""Machines as pytest fixtures, for test modules whose tests share them: `from machines.fixtures import machine`.

A test that cuts power or cables boots its own by `async with Machines(3)`, which costs a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

import pytest

from machines.kit import Machines
from machines.machine import Machine


@contextmanager
def booted(
    count: int = 1,
    *,
    names: Sequence[str] | None = None,
    argosy: bool = True,
    docker: bool = False,
) -> Iterator[Machines]:
    """Machines for code that has no event loop, such as a fixture that outlives the loops of its tests."""
    machines = Machines(count, names=names, argosy=argosy, docker=docker)
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
