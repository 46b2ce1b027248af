"""`[X-Rollout]`: how a service gets from one release to the next."""

from __future__ import annotations

from argosy.model.rollout import Amount, Order, Promotion, RolloutSpec, Strategy
from argosy.model.service import PortMode, ServiceSpec
from argosy.units import values
from argosy.units.diagnostics import Problems
from argosy.units.names import NameParts
from argosy.units.sections import Section
from argosy.units.text import UnitText
from argosy.units.values import BadValue

TITLE = "X-Rollout"

KEYS = frozenset(
    {
        "Strategy",
        "Order",
        "MaxUnavailable",
        "MaxSurge",
        "Canary",
        "Promote",
        "MinHealthy",
        "Bake",
        "ProgressDeadline",
        "AutoRevert",
        "Keep",
    }
)

_ONLY_WITH = {
    "Canary": (Strategy.CANARY,),
    "Promote": (Strategy.CANARY, Strategy.BLUE_GREEN),
    "MaxSurge": (Strategy.ROLLING, Strategy.CANARY),
    "MaxUnavailable": (Strategy.ROLLING, Strategy.CANARY),
    "Order": (Strategy.ROLLING, Strategy.CANARY),
}
"""Keys that mean something with certain strategies only."""


def read(
    text: UnitText, name: NameParts, problems: Problems, *, service: ServiceSpec | None
) -> RolloutSpec | None:
    """Read the section; None without one. Faults go to `problems`. service: what `[X-Service]` says."""
    section = Section(text, TITLE, name, keys=KEYS, problems=problems)
    if not section.is_present:
        return None
    spec = RolloutSpec(
        strategy=section.one("Strategy", values.one_of(Strategy), Strategy.ROLLING),
        order=section.optional("Order", values.one_of(Order)),
        max_unavailable=section.one("MaxUnavailable", read_amount, Amount(count=0)),
        max_surge=section.optional("MaxSurge", read_amount),
        canary=section.optional("Canary", read_amount),
        promote=section.one("Promote", values.one_of(Promotion), Promotion.AUTO),
        min_healthy=section.one("MinHealthy", values.finite_duration, RolloutSpec().min_healthy),
        bake=section.optional("Bake", values.finite_duration),
        progress_deadline=section.one(
            "ProgressDeadline", values.positive_duration, RolloutSpec().progress_deadline
        ),
        auto_revert=section.one("AutoRevert", values.boolean, True),
        keep=section.one("Keep", values.integer(at_least=1, at_most=100), 5),
    )
    for key, strategies in _ONLY_WITH.items():
        if section.has(key) and spec.strategy not in strategies:
            section.error_at_key(
                key,
                f"{key} has no effect with Strategy={spec.strategy}",
                hint=f"remove {key}=, or use Strategy={strategies[0]}",
            )
    if spec.max_surge == Amount(count=0) == spec.max_unavailable and section.has("MaxUnavailable"):
        section.error_at_key(
            "MaxSurge",
            "nothing may be added and nothing taken away, so no rollout can move",
            hint="raise MaxUnavailable= or MaxSurge=",
        )
    if (
        spec.strategy is Strategy.BLUE_GREEN
        and service is not None
        and service.port_mode is PortMode.FIXED
    ):
        section.error_at_key(
            "Strategy",
            "blue and green cannot share one port",
            hint="write Port=8001 8002 or Port=auto in [X-Service]",
        )
    return spec


def read_amount(value: str) -> Amount:
    """`2` or `25%`, of at most 100%."""
    if not value.endswith("%"):
        return Amount(count=values.integer(at_least=0, at_most=100_000)(value))
    share = values.share(value)
    if share > 1:
        raise BadValue(f"'{value}' is more than all", hint="write at most 100%")
    return Amount(share=share)
