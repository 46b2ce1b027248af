"""Identifiers that must not be mixed up, as distinct types."""

from __future__ import annotations

from typing import NewType

UnitName = NewType("UnitName", str)
"""Full name of a unit, `web@1.service`: validated by `units.names`, at most 255 bytes."""

MachineId = NewType("MachineId", str)
"""32 lower-case hex digits, as in /etc/machine-id."""

Digest = NewType("Digest", str)
"""SHA-256 of a unit's exact text, 64 lower-case hex digits; what the text is stored under."""

AppName = NewType("AppName", str)
"""Name of the directory whose files were submitted together."""
