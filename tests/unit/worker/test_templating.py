"""certReqTemplate through the whole worker: shown, and held against a request before it is sent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.cmp.messages import Info
from agent.contract import Action, Verdict
from agent.labca import general
from agent.settings import KeyAlgorithm, KeySettings
from agent.supervisor.jobs import needs_secret
from tests.unit.worker.desk import Desk


def test_the_template_is_shown_before_there_is_a_certificate_and_nothing_is_kept(desk: Desk) -> None:
    assert needs_secret(replace(desk.job, action=Action.TEMPLATE))
    outcome = desk.do(Action.TEMPLATE)
    assert outcome.verdict is Verdict.DONE
    assert "keys: ec-p256, ec-p384, rsa-3072" in outcome.text
    assert "fits" in outcome.text
    assert desk.sent == ["genm"]
    assert not desk.enrolled()
    assert not desk.store.state.path.exists()
    assert desk.store.transaction.load_snapshot() is None


def test_the_template_is_asked_for_with_the_certificate_once_there_is_one(desk: Desk) -> None:
    assert desk.do().verdict is Verdict.ISSUED
    before = desk.store.state.load()
    assert not needs_secret(replace(desk.job, action=Action.TEMPLATE))
    assert desk.do(Action.TEMPLATE, secret=None).verdict is Verdict.DONE
    assert desk.store.state.load() == before


def test_a_key_that_the_template_forbids_is_named_clearly(desk: Desk) -> None:
    desk.configure(identity={"key": KeySettings(algorithm=KeyAlgorithm.ED25519)})
    outcome = desk.do(Action.TEMPLATE)
    assert outcome.verdict is Verdict.MISCONFIGURED
    assert "forbids our key: it allows ec-p256, ec-p384, rsa-3072, and ours is ed25519" in outcome.text
    assert "`key`" in outcome.remedy


def test_a_request_that_the_template_forbids_is_not_sent(desk: Desk) -> None:
    desk.configure(identity={"key": KeySettings(algorithm=KeyAlgorithm.ED25519)}, request_template=True)
    outcome = desk.do()
    assert outcome.verdict is Verdict.MISCONFIGURED
    assert "forbids our key" in outcome.text
    assert desk.sent == ["genm"]
    # Changed as the remedy says, it goes through.
    desk.configure(identity={"key": KeySettings(algorithm=KeyAlgorithm.EC_P384)})
    assert desk.do().verdict is Verdict.ISSUED
    assert desk.sent == ["genm", "ir", "certConf"]


def test_a_ca_without_templates_is_asked_all_the_same(desk: Desk) -> None:
    desk.configure(request_template=True)
    desk.ca.misbehave("reject=badRequest@genm")
    assert desk.do().verdict is Verdict.ISSUED
    assert "gives no request template" in desk.texts


def test_a_ca_that_does_not_know_the_question_is_asked_all_the_same(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(general._ANSWERS, Info.CERT_REQ_TEMPLATE)
    desk.configure(request_template=True)
    assert desk.do().verdict is Verdict.ISSUED
    assert "gives no request template" in desk.texts
    outcome = desk.do(Action.TEMPLATE)
    assert outcome.verdict is Verdict.REJECTED
    assert outcome.text == "the CA does not answer the question cert req template"


def test_the_open_request_is_left_alone(slow_desk: Desk) -> None:
    assert slow_desk.do(patience=0.0).verdict is Verdict.WAITING
    opened = slow_desk.store.transaction.load_snapshot()
    assert slow_desk.do(Action.TEMPLATE).verdict is Verdict.DONE
    assert slow_desk.store.transaction.load_snapshot() == opened
    assert slow_desk.do().verdict is Verdict.ISSUED
