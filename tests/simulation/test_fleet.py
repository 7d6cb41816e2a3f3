"""What must hold for a fleet whatever happens to its CA; ``make simulation`` prints the figures."""

from __future__ import annotations

import pytest

from tests.simulation import report
from tests.simulation.__main__ import DOCUMENTS
from tests.simulation.fleet import live
from tests.simulation.scenarios import SCENARIOS, Scenario
from tests.simulation.world import DAY, HOUR, YEAR, Limit, Outage, Rollover, World

AGENTS = 1000


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.slug)
def test_no_certificate_expires_while_the_ca_comes_back_in_time(scenario: Scenario) -> None:
    result = live(scenario.world, AGENTS)
    assert result.expired == 0
    assert result.issued >= AGENTS * 3
    assert result.early == result.refused == 0
    assert result.renewed == result.issued - AGENTS


def test_an_outage_past_the_end_costs_certificates_and_the_simulation_sees_it() -> None:
    world = World(life=30 * DAY, outages=(Outage(15 * DAY, 31 * DAY),), years=0.25)
    result = live(world, 200)
    assert result.expired == 200
    assert result.late == result.warned == 200
    assert result.most_lived > 1


def test_an_outage_of_months_warns_people_long_before_anything_expires() -> None:
    window = 0.616 * YEAR
    result = live(World(outages=(Outage(window, window + 0.3 * YEAR),), years=1), 200)
    assert result.late == result.warned == 200
    assert result.expired == 0


def test_a_root_that_is_handed_out_for_a_refresh_interval_is_known_to_all_before_it_is_used() -> None:
    switched = 0.7 * YEAR
    in_time = Rollover(announced=switched - 8 * DAY, switched=switched, ends=switched + 30 * DAY)
    result = live(World(rollover=in_time, rollout=YEAR / 2, years=2), AGENTS)
    assert result.refused == result.expired == 0
    # Nothing outlives the old root, so whoever would have renewed after it ended renews before.
    assert result.renewed > 2 * AGENTS


def test_a_root_that_is_used_on_the_day_it_is_announced_is_refused_first_and_accepted_after_a_refresh() -> None:
    switched = 0.7 * YEAR
    rushed = Rollover(announced=switched - DAY, switched=switched, ends=YEAR)
    result = live(World(rollover=rushed, rollout=YEAR / 2, years=2), AGENTS)
    assert result.refused > 0
    assert result.expired == 0


def test_a_rollover_with_a_ca_that_is_down_is_refused_rather_than_simulated_wrongly() -> None:
    rollover = Rollover(announced=DAY, switched=2 * DAY, ends=3 * DAY)
    with pytest.raises(ValueError, match="take away outages and limit"):
        World(rollover=rollover, outages=(Outage(0, HOUR),))


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
    assert (one.load.hours, one.load.peak) == (other.load.hours, other.load.peak)
    assert (one.least_lived, one.most_lived) == (other.least_lived, other.most_lived)


def test_agents_that_share_a_ca_without_a_limit_come_to_the_same_one_by_one_as_in_the_order_of_time() -> None:
    alone = live(World(years=1, rollout=YEAR / 4), AGENTS)
    together = live(World(years=1, rollout=YEAR / 4, limit=Limit(per_second=AGENTS, retry_after=1.0)), AGENTS)
    assert (alone.load.hours, alone.load.peak) == (together.load.hours, together.load.peak)
    assert (alone.renewed, alone.most_lived) == (together.renewed, together.most_lived)


def test_the_document_tells_every_scenario_as_it_is() -> None:
    lines = (DOCUMENTS / "fleet.md").read_text().splitlines()
    told = [line.split(" | ")[:2] for line in lines if line.startswith("| `")]
    assert told == [[f"| `{one.slug}`", one.story] for one in SCENARIOS]
    fewer = {one.slug: live(one.world, 10) for one in SCENARIOS}
    assert report.document(fewer).splitlines()[0] == lines[0]
    assert all(line.rstrip(" |").endswith(" 0") for line in lines if line.startswith("| `")), "nothing expired"
