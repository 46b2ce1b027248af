"""`[X-Scale]`: how many instances a service should have as its load changes."""

from __future__ import annotations

import re

from argosy.model.rollout import Amount
from argosy.model.scale import MetricSource, ScaleSpec
from argosy.model.service import ServiceSpec
from argosy.units import quoting, values
from argosy.units.diagnostics import Problems, did_you_mean
from argosy.units.names import NameParts
from argosy.units.sections import Section
from argosy.units.service import MAX_REPLICAS
from argosy.units.text import UnitText
from argosy.units.values import BadValue

TITLE = "X-Scale"

KEYS = frozenset(
    {"Min", "Max", "Metric", "Target", "Interval", "Tolerance", "StepUp", "StepDown", "Window"}
)

_WITHOUT_QUERY = (MetricSource.CPU, MetricSource.MEMORY)
_WITHOUT_TARGET = (MetricSource.AWS_GROUP, MetricSource.STORE)


def read(
    text: UnitText,
    name: NameParts,
    problems: Problems,
    *,
    service: ServiceSpec | None,
    is_global: bool,
) -> ScaleSpec | None:
    """Read the section; None without one, or when a key that it needs is missing or wrong. Faults go to `problems`.

    service: what `[X-Service]` says. is_global: whether the machines decide how many there are.
    """
    section = Section(text, TITLE, name, keys=KEYS, problems=problems)
    if not section.is_present:
        return None
    if name.instance is None:
        section.error_at_heading(
            "only a template has instances",
            hint=f"rename the file to {name.prefix}@.{name.type}",
        )
    if is_global:
        section.error_at_heading(
            "a unit with Global=yes runs once on every machine", hint="remove one of them"
        )
    for key, example in (("Min", "2"), ("Max", "10"), ("Metric", "cpu")):
        if not section.has(key):
            section.error_at_heading(f"{key}= is missing", hint=f"add {key}={example}")
    count = values.integer(at_least=0, at_most=MAX_REPLICAS)
    minimum = section.optional("Min", count)
    maximum = section.optional("Max", count)
    metric = section.optional("Metric", _read_metric)
    target = section.optional("Target", values.number)
    defaults = ScaleSpec(minimum=0, maximum=0, source=MetricSource.CPU)
    interval = section.one("Interval", values.positive_duration, defaults.interval)
    tolerance = section.one("Tolerance", values.share, defaults.tolerance)
    step_up = section.each("StepUp", _read_steps) or defaults.step_up
    step_down = section.each("StepDown", _read_steps) or defaults.step_down
    window = section.one("Window", values.finite_duration, defaults.window)
    if minimum is not None and maximum is not None:
        _check_bounds(section, minimum, maximum, service)
    if minimum is None or maximum is None or metric is None:
        return None
    source, query = metric
    if source in _WITHOUT_TARGET and section.has("Target"):
        section.error_at_key(
            "Target", f"{source} gives the number of instances itself", hint="remove Target="
        )
    if source not in _WITHOUT_TARGET and not section.has("Target"):
        section.error_at_heading("Target= is missing", hint="add the value that Metric should have")
    return ScaleSpec(
        minimum=minimum,
        maximum=maximum,
        source=source,
        query=query,
        target=target,
        interval=interval,
        tolerance=tolerance,
        step_up=step_up,
        step_down=step_down,
        window=window,
    )


def _check_bounds(
    section: Section, minimum: int, maximum: int, service: ServiceSpec | None
) -> None:
    if minimum > maximum:
        section.error_at_key("Min", f"Min={minimum} is more than Max={maximum}")
    elif (
        service is not None
        and service.replicas is not None
        and not minimum <= service.replicas <= maximum
    ):
        section.error_at_heading(
            f"Replicas={service.replicas} in [X-Service] is not within Min={minimum} and Max={maximum}"
        )


def _read_metric(value: str) -> tuple[MetricSource, str]:
    word, colon, query = value.partition(":")
    sources = {str(source): source for source in MetricSource}
    source = sources.get(word.strip())
    if source is None:
        raise BadValue(
            f"'{word[:60]}' is no source of metrics",
            hint=did_you_mean(word, sources) or "sources are " + ", ".join(sources),
        )
    query = query.strip()
    if source in _WITHOUT_QUERY:
        if colon:
            raise BadValue(f"{source} takes no query", offset=len(word), hint=f"write {source}")
    elif not query:
        raise BadValue(f"{source} needs a query", offset=len(value), hint=f"write {source}:QUERY")
    elif source is MetricSource.STORE and not re.fullmatch(r"(/[A-Za-z0-9_.:@-]+)+", query):
        raise BadValue(f"'{query}' is no key", offset=len(word) + 1, hint="write store:/scale/web")
    return source, query


def _read_steps(value: str) -> list[Amount]:
    """`100% 4`: shares, which may be more than all, and counts."""
    found = []
    for word in quoting.words(value):
        try:
            if word.text.endswith("%"):
                found.append(Amount(share=values.share(word.text)))
            else:
                count = values.integer(at_least=1, at_most=MAX_REPLICAS)(word.text)
                found.append(Amount(count=count))
        except BadValue as bad:
            raise BadValue(bad.message, offset=word.start, hint="write 25%, 4, or both") from bad
    return found
