"""What the metrics of servers and agents have in common: a registry of their own, and buckets."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client.process_collector import ProcessCollector

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Of histograms of time, in seconds: from a write to a local disk to a request that is given up."""


def new_registry() -> CollectorRegistry:
    """One with this process's own figures: processor, memory, open files."""
    # Else each counter comes with a second series of when it began, which nobody here asks for.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry
