"""Every error has a verdict, and a server that speaks no CMP is an outcome and no defect."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.contract import Verdict
from agent.worker.probing import probe
from agent.worker.verdicts import REPORTED, VERDICT_OF
from tests.unit.worker.desk import Desk


def family(kind: type[Exception]) -> Iterator[type[Exception]]:
    yield kind
    for one in kind.__subclasses__():
        yield from family(one)


@pytest.mark.parametrize("kind", sorted({one for base in REPORTED for one in family(base)}, key=repr))
def test_every_error_that_is_reported_has_a_verdict(kind: type[Exception]) -> None:
    assert [verdict for base, verdict in VERDICT_OF if issubclass(kind, base)]


def test_a_probe_of_what_answers_with_something_else_than_cmp_names_the_path(desk: Desk) -> None:
    desk.ca.misbehave("truncated")
    outcome = probe(desk.job, desk.environment())
    assert outcome.verdict is Verdict.REFUSED
    assert "answered with something that is no CMP message" in outcome.text
    assert outcome.remedy == "Check the path of the url: another service answers there."
