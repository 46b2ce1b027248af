"""How many instances a service should have as the load changes. What `[X-Scale]` says."""

from __future__ import annotations

import enum
from datetime import timedelta

import msgspec

from argosy.model.rollout import Amount


class MetricSource(enum.StrEnum):
    """Who knows the figure."""

    CPU = "cpu"
    """Mean use of the reserved CPU of the service's instances, in percent."""
    MEMORY = "memory"
    """Mean use of their reserved memory, in percent."""
    PROMETHEUS = "prometheus"
    DATADOG = "datadog"
    CLOUDWATCH = "cloudwatch"
    AWS_GROUP = "aws-group"
    """The number of machines in an AWS autoscaling group: so many instances, no target."""
    STORE = "store"
    """The number that people or programs write under a key in the cluster's store: so many instances, no target."""


class ScaleSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`ceil(current * metric / target)` instances, within bounds."""

    minimum: int
    maximum: int
    source: MetricSource
    query: str = ""
    """What the source is asked; empty for CPU and MEMORY."""
    target: float | None = None
    """The metric's value that one wants; None for sources that give the number of instances."""
    interval: timedelta = timedelta(seconds=15)
    tolerance: float = 0.1
    """No change while metric/target is within so much of 1."""
    step_up: tuple[Amount, ...] = (Amount(share=1.0), Amount(count=4))
    """At most the largest of these is added in an interval."""
    step_down: tuple[Amount, ...] = (Amount(share=0.25),)
    """At most the largest of these is taken away in a minute."""
    window: timedelta = timedelta(minutes=5)
    """Before instances are taken away: the highest recommendation of so long counts."""
