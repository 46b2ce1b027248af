"""The contract between an agent and the servers: the only thing an agent speaks to.

In one process (`argosy up`, the test kit) it is `api.gate.MachineGate` on the store; over the network it is HTTPS with
the machine's certificate. Either way an agent sees and reports its own machine and nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from argosy.model.ids import Digest
from argosy.model.link import Delivery, Registered, Report
from argosy.model.machine import Machine


class ServerLink(Protocol):
    """What servers do for one machine's agent. Methods raise `Temporary` when no server can answer now."""

    async def register(self, machine: Machine) -> Registered:
        """Say who this machine is, and that it is there; answered with what the cluster expects of it.

        Raises Conflict when another live machine has its id.
        """
        ...

    def assignments(self) -> AbstractAsyncContextManager[AsyncIterator[Delivery]]:
        """The machine's assignment now, if there is one, then each newer one; a slow reader gets the newest only.

        Silence means nothing. The iterator raises Temporary when the stream breaks; call again.
        """
        ...

    async def text(self, digest: Digest) -> bytes:
        """The exact text. Raises NotFound."""
        ...

    async def report(self, report: Report) -> None:
        """Record what the machine runs, and that it is there. Atomic per call unless it is larger than one transaction.

        When it returns, a server vouched for the machine after the call began (`agent/permit.py` builds on that).
        """
        ...
