"""What the engine believes of machines that are silent, kept in the store so that the next leader knows it too."""

from __future__ import annotations

from datetime import datetime

import msgspec

from argosy.model.ids import MachineId


class LostMachine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A machine that was given up: its units run elsewhere, and it was not back for a moment since. Written by the leading
    engine; deleted by the server that has the machine again, with its presence.
    """

    machine: MachineId
    since: datetime
    reason: str = ""


class Brake(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """So many machines vanished together that none of them is given up. Written by the leading engine; absent when off."""

    machines: tuple[MachineId, ...]
    since: datetime
    message: str
