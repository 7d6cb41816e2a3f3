"""Every identity as figures for Prometheus, in its text format: for node_exporter's textfile collector.

config/monitoring/ has alert rules over these names; a test holds both together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Final

from agent.frozen import frozen

if TYPE_CHECKING:
    from agent.overview import Overview


@frozen
class Metric:
    """One gauge, labelled with the identity; ``value`` is None where there is nothing to say."""

    name: str
    help: str
    value: Callable[[Overview], float | None]
    label: Callable[[Overview], tuple[str, str]] | None = None
    """A second label: its name and its value."""


METRICS: Final = (
    Metric(
        "enrolld_certificate_not_before_timestamp_seconds",
        "When the certificate in use begins to be valid.",
        lambda one: _seconds(one.not_before),
    ),
    Metric(
        "enrolld_certificate_not_after_timestamp_seconds",
        "When the certificate in use ceases to be valid.",
        lambda one: _seconds(one.not_after),
    ),
    Metric("enrolld_ready", "1 while a certificate is installed that is valid now.", lambda one: float(one.usable)),
    Metric(
        "enrolld_state", "1 for the state that the identity is in.", lambda _: 1.0, lambda one: ("state", one.state)
    ),
    Metric("enrolld_failed_attempts", "How many attempts failed one after another.", lambda one: float(one.attempts)),
    Metric("enrolld_last_failure_timestamp_seconds", "When the last failure was.", lambda one: _seconds(one.failed_at)),
    Metric(
        "enrolld_next_action_timestamp_seconds",
        "When something is done next, and what.",
        lambda one: _seconds(one.next_action_at),
        lambda one: ("action", one.next_action or "none"),
    ),
    Metric(
        "enrolld_consumers", "How many consumers are to use the certificate.", lambda one: float(len(one.consumers))
    ),
    Metric(
        "enrolld_consumers_lacking",
        "How many of them do not use it yet.",
        lambda one: float(sum(each.error is not None for each in one.consumers)),
    ),
)


def text(seen: Iterable[Overview]) -> str:
    """Return the figures of all identities in Prometheus' text format 0.0.4."""
    known = tuple(seen)
    return "".join(f"{line}\n" for metric in METRICS for line in _lines(metric, known))


def _lines(metric: Metric, seen: tuple[Overview, ...]) -> Iterator[str]:
    yield f"# HELP {metric.name} {metric.help}"
    yield f"# TYPE {metric.name} gauge"
    for one in seen:
        value = metric.value(one)
        if value is not None:
            labels = [("identity", one.name), *((metric.label(one),) if metric.label else ())]
            shown = ",".join(f'{name}="{_escaped(label)}"' for name, label in labels)
            yield f"{metric.name}{{{shown}}} {value:.0f}"


def _seconds(moment: str | None) -> float | None:
    return None if moment is None else datetime.fromisoformat(moment).timestamp()


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
