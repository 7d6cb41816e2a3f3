"""What must hold for a fleet whatever happens to its CA; ``make simulation`` prints the figures."""

from __future__ import annotations

import pytest

from tests.simulation import report
from tests.simulation.__main__ import DOCUMENTS
from tests.simulation.fleet import DAY, HOUR, YEAR, Limit, Outage, World, live
from tests.simulation.scenarios import SCENARIOS, Scenario

AGENTS = 1000


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.slug)
def test_no_certificate_expires_while_the_ca_comes_back_in_time(scenario: Scenario) -> None:
    result = live(scenario.world, AGENTS)
    assert result.expired == 0
    assert result.issued >= AGENTS * 3
    assert result.early > 0.6
    assert len(result.lived) == result.issued - AGENTS


def test_an_outage_past_the_end_costs_certificates_and_the_simulation_sees_it() -> None:
    world = World(life=30 * DAY, outages=(Outage(15 * DAY, 45 * DAY),), years=0.25)
    result = live(world, 200)
    assert result.expired == 200
    assert result.late > 1


def test_a_fleet_turned_up_in_one_night_does_not_renew_in_one_night() -> None:
    result = live(World(), AGENTS)
    first_renewals = result.load.hours[int(0.55 * YEAR / HOUR) : int(0.72 * YEAR / HOUR)]
    busy = [hour for hour in first_renewals if hour]
    assert sum(busy) == AGENTS
    assert len(busy) * HOUR > 14 * DAY
    assert max(busy) <= AGENTS / 100


def test_a_fleet_that_waited_for_the_ca_does_not_come_back_as_one() -> None:
    back = 0.616 * YEAR + 16 * DAY
    world = World(outages=(Outage(0.616 * YEAR + 2 * DAY, back),), years=1)
    result = live(world, AGENTS)
    start = int(back // HOUR)
    hours = result.load.hours[start : start + 8]
    assert sum(hours) > AGENTS / 2
    assert max(hours) < AGENTS / 2


def test_a_ca_that_limits_the_rate_is_asked_little_more_than_it_serves() -> None:
    free = live(World(rollout=HOUR, years=0.5), AGENTS)
    limited = live(World(rollout=HOUR, years=0.5, limit=Limit(per_second=1, retry_after=60.0)), AGENTS)
    assert limited.issued == free.issued == AGENTS
    assert limited.load.total < 2 * AGENTS


def test_the_same_seed_brings_the_same_numbers() -> None:
    world = World(years=1)
    one, other = (live(world, 100, seed=7) for _ in range(2))
    assert (one.load, one.lived) == (other.load, other.lived)


def test_the_document_tells_every_scenario_as_it_is() -> None:
    lines = (DOCUMENTS / "fleet.md").read_text().splitlines()
    told = [line.split(" | ")[:2] for line in lines if line.startswith("| `")]
    assert told == [[f"| `{one.slug}`", one.story] for one in SCENARIOS]
    fewer = {one.slug: live(one.world, 10) for one in SCENARIOS}
    assert report.document(fewer).splitlines()[0] == lines[0]
    assert all(line.rstrip(" |").endswith(" 0") for line in lines if line.startswith("| `")), "nothing expired"
