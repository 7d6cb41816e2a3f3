from __future__ import annotations

from itertools import product

import pytest

from agent.cmp.errors import LocalError
from agent.cmp.states import ENDED, TRANSITIONS, UNDER_WAY, State, Trigger, step


def reachable(start: State) -> set[State]:
    found, todo = {start}, [start]
    while todo:
        here = todo.pop()
        following = {after for (before, _), after in TRANSITIONS.items() if before is here} - found
        found |= following
        todo.extend(following)
    return found


def test_every_state_can_be_reached() -> None:
    assert reachable(State.READY) == set(State)


def test_every_trigger_is_used() -> None:
    assert {trigger for _, trigger in TRANSITIONS} == set(Trigger)


def test_an_end_is_an_end_and_everything_else_leads_to_one() -> None:
    assert not ENDED & {before for before, _ in TRANSITIONS}
    for state in State:
        assert reachable(state) & ENDED
    assert set(State) - ENDED - {State.READY} == UNDER_WAY


def test_nothing_is_confirmed_that_was_not_issued() -> None:
    """Without the state in which a certificate is made durable there is no way to a confirmation."""
    without = {pair: after for pair, after in TRANSITIONS.items() if State.ISSUED not in {pair[0], after}}
    found, todo = {State.READY}, [State.READY]
    while todo:
        here = todo.pop()
        following = {after for (before, _), after in without.items() if before is here} - found
        found |= following
        todo.extend(following)
    assert not found & {State.CONFIRMING, State.CONFIRMED, State.DISPUTED}


def test_a_refused_certificate_is_never_confirmed() -> None:
    assert reachable(State.REFUSING) & ENDED == {State.REFUSED}


def test_a_sent_confirmation_is_not_taken_back() -> None:
    assert reachable(State.CONFIRMING) & ENDED == {State.CONFIRMED, State.DISPUTED}


def test_only_an_answer_ends_what_was_sent() -> None:
    for (before, trigger), after in TRANSITIONS.items():
        if trigger is Trigger.SEND:
            assert after not in ENDED, (before, trigger)


@pytest.mark.parametrize(("state", "trigger"), list(product(State, Trigger)))
def test_a_step_is_in_the_table_or_a_defect_of_ours(state: State, trigger: Trigger) -> None:
    if (state, trigger) in TRANSITIONS:
        assert step(state, trigger) is TRANSITIONS[state, trigger]
        return
    with pytest.raises(LocalError, match=f"{state} cannot take {trigger}") as caught:
        step(state, trigger)
    assert "report" in caught.value.remedy
