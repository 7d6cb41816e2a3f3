"""The results as a document and as pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.simulation.fleet import Result
from tests.simulation.scenarios import SCENARIOS
from tests.simulation.world import DAY, HOUR

_HEAD: Final = """\
# What a fleet does to its CA

Written by `make simulation`; do not edit. {agents:,} agents live three years on a simulated clock and decide by the
functions that `enrolld` decides by (`agent/policy`): when to renew, how long to back off, what to make of Retry-After.
Every request is counted in the second in which it reaches the CA. Certificates live a year where nothing else is said.

![Transactions a second at the CA, hour by hour](fleet.png)

"""
_EXPLANATION: Final = """
*Mean* and *peak* are transactions a second: over the whole time, and in the busiest second. *Busiest hour* is the mean
of the hour with the most. *Renewed after* is the share of its life that a certificate had lived when the request for
the next one was sent, earliest and latest. The policy's own window is from 61.7% to 66.7%: *early* counts the renewals
before it, *late* those after it, *warned* those of them that came so late that a person was told. *Expired* counts
certificates that ended before the next one came: 0 wherever the outage leaves time. *Refused* counts certificates below
a root that the agent did not know.

Renewals alone are in the load, but for `root-rollover`: there the weekly questions for a new root are counted too, from
a week before it is announced to the end of the old one. No certificate outlives the old root, so they get shorter and
shorter: each is renewed after two thirds of what is left.
"""


def document(results: Mapping[str, Result]) -> str:
    """Return docs/fleet.md."""
    agents = next(iter(results.values())).agents
    rows = [
        (
            f"`{one.slug}`",
            one.story,
            *_figures(results[one.slug]),
        )
        for one in SCENARIOS
    ]
    head = (
        "scenario",
        "what happens",
        "requests",
        "mean",
        "busiest hour",
        "peak",
        "peak / mean",
        "renewed after",
        "early",
        "late",
        "warned",
        "refused",
        "expired",
    )
    table = "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))
    return f"{_HEAD.format(agents=agents)}{table}\n{_EXPLANATION}"


def _figures(result: Result) -> tuple[str, ...]:
    load = result.load
    return (
        f"{load.total:,}",
        f"{result.mean:.4f}",
        f"{max(load.hours) / HOUR:.2f}",
        str(load.peak),
        f"{load.peak / result.mean:,.0f}",
        f"{result.least_lived:.1%} to {result.most_lived:.1%}",
        *(f"{one:,}" for one in (result.early, result.late, result.warned, result.refused, result.expired)),
    )


def draw(results: Mapping[str, Result], picture: Path) -> None:
    """Draw the load of every scenario, hour by hour on a logarithmic scale, one above the other."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to load, and the tests do not draw

    figure = Figure(figsize=(11, 1.6 * len(SCENARIOS)), layout="constrained")
    axes = figure.subplots(len(SCENARIOS), sharex=True, sharey=True)
    for axis, scenario in zip(axes, SCENARIOS, strict=True):
        hours = results[scenario.slug].load.hours
        axis.fill_between(
            [hour * HOUR / DAY for hour in range(len(hours))], [count / HOUR for count in hours], step="post"
        )
        axis.set_yscale("log")
        axis.set_ylim(1e-4, 300)
        axis.set_title(scenario.slug, loc="left", fontsize="medium")
        for outage in scenario.world.outages:
            axis.axvspan(outage.begin / DAY, outage.end / DAY, color="tab:red", alpha=0.2, linewidth=0)
        if (rollover := scenario.world.rollover) is not None:
            axis.axvspan(rollover.announced / DAY, rollover.ends / DAY, color="tab:green", alpha=0.2, linewidth=0)
    axes[-1].set_xlabel("days since the first site was turned up; red: the CA is down; green: two roots side by side")
    figure.supylabel("transactions a second")
    figure.savefig(picture, dpi=90, metadata={"Software": None})
