"""Which certificates speak for a machine. A certificate that is not named here is worth nothing, whoever signed it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from argosy.model.ids import MachineId


class Identity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A machine's certificates. Written by the server that signs; deleted when the machine is removed."""

    machine: MachineId
    serials: tuple[str, ...]
    """Serial numbers in lower-case hex, the newest last; older ones go when the newest has been seen in use."""
    joined_at: datetime
    token: str = ""
    """Id of the token that it joined with."""
