"""How a service gets from one release to the next. What `[X-Rollout]` says."""

from __future__ import annotations

import enum
from datetime import timedelta

import msgspec


class Strategy(enum.StrEnum):
    """The way from the old release to the new one."""

    ROLLING = "rolling"
    CANARY = "canary"
    BLUE_GREEN = "blue-green"
    RECREATE = "recreate"


class Order(enum.StrEnum):
    """What comes first when an instance is replaced."""

    START_FIRST = "start-first"
    STOP_FIRST = "stop-first"


class Promotion(enum.StrEnum):
    """Who lets a canary go on."""

    AUTO = "auto"
    MANUAL = "manual"


class Amount(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A number of instances, or a share of them: exactly one of the two is set."""

    count: int | None = None
    share: float | None = None
    """0.25 for 25%."""


class RolloutSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """None in a field: what the strategy and the number of instances suggest (docs/reference/unit-files.md)."""

    strategy: Strategy = Strategy.ROLLING
    order: Order | None = None
    """None: start-first where the port allows it."""
    max_unavailable: Amount = Amount(count=0)
    max_surge: Amount | None = None
    """None: 1, and a quarter from four instances up."""
    canary: Amount | None = None
    """None: one from three instances up when the strategy is canary."""
    promote: Promotion = Promotion.AUTO
    min_healthy: timedelta = timedelta(seconds=10)
    """How long a new instance must have been healthy before it counts."""
    bake: timedelta | None = None
    """How long the new release is watched at the end; None: 10 min for blue/green, 2 min otherwise."""
    progress_deadline: timedelta = timedelta(minutes=10)
    """Without a newly healthy instance for so long, the rollout has failed."""
    auto_revert: bool = True
    keep: int = 5
    """How many releases stay available to go back to."""
