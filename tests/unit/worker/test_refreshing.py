"""``enrollctl refresh`` and ``revoke`` as jobs, against the lab CA over HTTP."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from agent.cmp.messages import BodyType, Info
from agent.contract import Action, Job, Outcome, Verdict
from agent.labca import LabCa, LabCaSettings, Misbehaviour, general, running
from agent.labca.records import CertificateStatus
from agent.overview import look
from agent.settings import AuthoritySettings, BootstrapSettings, IdentitySettings, SharedSecretSettings
from agent.store.authorities import AuthorityStore
from agent.worker.enrollment import perform
from agent.worker.reporting import Reporter

SECRET = b"one-time-secret"


@pytest.fixture
def ca(tmp_path: Path) -> Iterator[LabCa]:
    lab = LabCa(LabCaSettings(directory=tmp_path / "ca", secrets={"enb": SECRET.decode()}, durable=False))
    with running(lab):
        yield lab
    lab.close()


@pytest.fixture
def job(ca: LabCa, tmp_path: Path) -> Job:
    return enrolled(ca, tmp_path)


def enrolled(ca: LabCa, tmp_path: Path) -> Job:
    """The job that has brought a certificate already."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    enroll = Job(
        action=Action.ENROLL,
        name="ike",
        identity=IdentitySettings(
            authority="lab",
            subject="CN=enb,O=Operator",
            bootstrap=BootstrapSettings(shared_secret=SharedSecretSettings(reference="enb", secret="prompt")),
        ),
        authority=AuthoritySettings(urls=(ca.url,), trust_anchors=(tmp_path / "ca" / "root.pem",)),
        state_directory=state,
        patience=10,
    )
    assert run(enroll)[0].verdict is Verdict.ISSUED
    return enroll


def run(job: Job) -> tuple[Outcome, list[dict[str, Any]]]:
    descriptor = os.memfd_create("told")
    outcome = perform(job, SECRET, Reporter(descriptor, {}))
    with os.fdopen(descriptor, "rb") as told:
        told.seek(0)
        return outcome, [json.loads(line)["progress"] for line in told]


def events(told: list[dict[str, Any]]) -> list[str]:
    return [one["event"] for one in told]


def test_ca_certificates_are_kept_and_trusted_for_nothing(ca: LabCa, job: Job) -> None:
    outcome, told = run(replace(job, action=Action.REFRESH))
    kept = AuthorityStore(job.state_directory, "lab")
    assert outcome.verdict is Verdict.DONE
    assert kept.ca_certificates == tuple(ca.pki.chain)
    assert kept.trust_anchors == ()
    assert "root-added" not in events(told)


def test_ca_certificates_from_before_close_a_chain_that_comes_without_its_links(ca: LabCa, job: Job) -> None:
    other = replace(job, name="other")
    ca.misbehave(Misbehaviour.NO_EXTRA_CERTS)
    assert run(other)[0].verdict is Verdict.REFUSED
    ca.behave()
    assert run(replace(job, action=Action.REFRESH))[0].verdict is Verdict.DONE
    ca.misbehave(Misbehaviour.NO_EXTRA_CERTS)
    assert run(other)[0].verdict is Verdict.ISSUED


def test_damaged_ca_certificates_are_in_nobodys_way(job: Job) -> None:
    kept = AuthorityStore(job.state_directory, "lab")
    assert run(replace(job, action=Action.REFRESH))[0].verdict is Verdict.DONE
    (kept.directory / "ca-certificates.pem").write_text("-----BEGIN CERTIFICATE-----\nhalf of it\n")
    assert run(replace(job, action=Action.RENEW))[0].verdict is Verdict.ISSUED


def test_a_new_root_that_the_old_one_vouches_for_is_trusted_beside_it(ca: LabCa, job: Job) -> None:
    ca.prepare_root_update()
    outcome, told = run(replace(job, action=Action.REFRESH))
    (added,) = AuthorityStore(job.state_directory, "lab").trust_anchors
    assert outcome.verdict is Verdict.DONE
    assert events(told).count("root-added") == 1
    assert x509.load_der_x509_certificate(added).subject == x509.load_der_x509_certificate(added).issuer

    # Asked again, nothing is added twice; and a renewal under the old root still works.
    again, _ = run(replace(job, action=Action.REFRESH))
    assert again.verdict is Verdict.DONE
    assert AuthorityStore(job.state_directory, "lab").trust_anchors == (added,)
    assert run(replace(job, action=Action.RENEW))[0].verdict is Verdict.ISSUED


def test_a_new_root_of_a_stranger_is_refused_and_nothing_changes(ca: LabCa, job: Job) -> None:
    ca.prepare_root_update()
    stranger = LabCa(LabCaSettings())
    # The CA's desk is taken over: the update it offers was made under another root.
    ca._office.root_update = stranger.prepare_root_update()
    outcome, told = run(replace(job, action=Action.REFRESH))
    stranger.close()
    refused = next(one for one in told if one["event"] == "root-refused")
    assert "was not issued by the root we trust" in refused["text"]
    assert "REMEDY" in refused["fields"]
    assert AuthorityStore(job.state_directory, "lab").trust_anchors == ()
    assert outcome.verdict is Verdict.DONE


def test_a_ca_that_offers_ever_more_roots_is_not_followed_for_ever(ca: LabCa, job: Job) -> None:
    kept = AuthorityStore(job.state_directory, "lab")
    with kept.lock():
        for _ in range(15):
            kept.add_trust_anchor(LabCa(LabCaSettings()).pki.root.certificate)
    ca.prepare_root_update()
    outcome, told = run(replace(job, action=Action.REFRESH))
    assert outcome.verdict is Verdict.DONE
    assert any("no more are asked for" in one["text"] for one in told)
    assert len(kept.trust_anchors) == 15


@pytest.mark.parametrize(("unknown", "known"), [(Info.ROOT_CA_CERT, Info.CA_CERTS), (Info.CA_CERTS, Info.ROOT_CA_CERT)])
def test_a_question_the_ca_does_not_know_keeps_the_answer_to_no_other_out(
    ca: LabCa, job: Job, monkeypatch: pytest.MonkeyPatch, unknown: Info, known: Info
) -> None:
    """It answers with unsupportedOIDs, as RFC 9810 5.3.19.7 has it."""
    assert run(replace(job, action=Action.REFRESH))[0].verdict is Verdict.DONE
    ca.prepare_root_update()
    monkeypatch.delitem(general._ANSWERS, unknown)
    outcome, told = run(replace(job, action=Action.REFRESH))
    assert outcome.verdict is Verdict.DONE
    (note,) = [one for one in told if one["event"] == "note"]
    assert note["text"] == f"note: the CA does not answer the question {unknown.name.lower().replace('_', ' ')}"
    kept = AuthorityStore(job.state_directory, "lab")
    assert kept.ca_certificates == tuple(ca.pki.chain), "what came when the CA knew the question stays"
    assert len(kept.trust_anchors) == (known is Info.ROOT_CA_CERT)


def test_a_ca_that_knows_no_question_at_all_says_so(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(general, "_ANSWERS", {})
    outcome, _ = run(replace(job, action=Action.REFRESH))
    assert outcome.verdict is Verdict.REJECTED
    assert outcome.text == "the CA does not answer the question ca certs"
    assert "ask its operator" in outcome.remedy


def test_a_revocation_is_done_by_the_ca_and_remembered_here(ca: LabCa, job: Job) -> None:
    outcome, told = run(replace(job, action=Action.REVOKE, reason="cessation-of-operation"))
    (certificate,) = ca.record().certificates
    assert outcome.verdict is Verdict.DONE
    assert certificate.status is CertificateStatus.REVOKED
    assert "revoked" in events(told)
    seen = look(job.state_directory, "ike")
    assert (seen.state, seen.usable) == ("revoked", False)


def test_a_revoked_certificate_is_replaced_by_the_next_enrollment(job: Job) -> None:
    run(replace(job, action=Action.REVOKE))
    outcome, _ = run(job)
    assert outcome.verdict is Verdict.ISSUED
    assert look(job.state_directory, "ike").state == "valid"


def test_a_refused_revocation_leaves_everything_as_it_was(ca: LabCa, job: Job) -> None:
    """It is no failed attempt of the identity either: that would put off what is due."""
    before = (job.state_directory / "identities" / "ike" / "state.json").read_bytes()
    ca.misbehave(Misbehaviour.REJECT, "notAuthorized")
    outcome, _ = run(replace(job, action=Action.REVOKE))
    assert (job.state_directory / "identities" / "ike" / "state.json").read_bytes() == before
    assert outcome.verdict is Verdict.REJECTED
    assert "notAuthorized" in outcome.text
    assert look(job.state_directory, "ike").state == "valid"


def test_an_unknown_reason_is_refused_before_anything_is_sent(ca: LabCa, job: Job) -> None:
    before = len(ca.record().messages)
    outcome, _ = run(replace(job, action=Action.REVOKE, reason="boredom"))
    assert outcome.verdict is Verdict.MISCONFIGURED
    assert len(ca.record().messages) == before


@pytest.mark.parametrize("action", [Action.REVOKE, Action.REFRESH])
def test_without_a_certificate_there_is_nothing_to_ask_with(job: Job, tmp_path: Path, action: Action) -> None:
    empty = tmp_path / "empty"
    empty.mkdir(mode=0o700)
    outcome, _ = run(replace(job, action=action, state_directory=empty))
    assert outcome.verdict is Verdict.MISCONFIGURED
    assert outcome.remedy


def test_the_ca_may_take_its_time_with_a_revocation(tmp_path: Path) -> None:
    settings = LabCaSettings(
        directory=tmp_path / "ca",
        secrets={"enb": SECRET.decode()},
        delayed=frozenset({BodyType.RR}),
        polls=1,
        durable=False,
    )
    with running(LabCa(settings)) as lab:
        outcome, told = run(replace(enrolled(lab, tmp_path), action=Action.REVOKE))
        lab.close()
    assert outcome.verdict is Verdict.DONE
    assert "pending" in events(told)
