"""What a job does, and what is on the disk afterwards: against the lab CA over HTTP."""

from __future__ import annotations

import errno
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent import RELEASED
from agent.cmp.messages import BodyType
from agent.contract import Action, Verdict, vouching
from agent.errors import StateError
from agent.labca import LabCa, LabCaSettings, Misbehaviour, running
from agent.labca.records import CertificateStatus
from agent.overview import look
from agent.settings import KeyAlgorithm, KeySettings, PollingSettings, RenewalKey, RenewalSettings, RequestType
from agent.store.state import StateFile, TransactionDirectory
from agent.worker import resuming
from tests.unit.worker.desk import SECRET, Desk


def issued_for(desk: Desk) -> list[int]:
    """Serial numbers of what the CA issued for the keys of this identity."""
    keys = [spki(x509.load_der_x509_certificate(one.certificate)) for one in desk.store.generations]
    return [one.serial for one in desk.ca.record().certificates if one.key in keys]


def spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def test_an_enrollment_goes_through_its_steps_in_order(desk: Desk) -> None:
    outcome = desk.do()
    assert outcome.verdict is Verdict.ISSUED
    assert desk.events == ["key-made", "started", "sent", "verified", "sent", "installed"]
    assert desk.sent == ["ir", "certConf"]
    current = desk.current
    assert current is not None
    assert current.confirmed
    assert outcome.fields["PATH"] == str(current.path)
    assert f"{x509.load_der_x509_certificate(current.certificate).serial_number:x}" in outcome.text
    assert not desk.store.transaction.path.exists()
    ids = {one["fields"].get("CMP_TRANSACTION_ID") for one in desk.told} - {None}
    assert len(ids) == 1


def test_a_valid_certificate_is_left_alone(desk: Desk) -> None:
    desk.do()
    before = desk.credential()
    outcome = desk.do(secret=None)
    assert outcome.verdict is Verdict.UNCHANGED
    assert desk.sent == []
    assert desk.credential() == before


def test_another_enrollment_makes_another_key_and_keeps_the_old_credential(desk: Desk) -> None:
    desk.do()
    first = desk.store.generations[0].private_key
    assert desk.do(again=True).verdict is Verdict.ISSUED
    old, new = desk.store.generations
    assert old.private_key == first
    assert old.private_key is not None
    assert new.private_key is not None
    assert old.private_key.read_bytes() != new.private_key.read_bytes()
    assert desk.current == new


def test_old_generations_are_removed_but_for_three(desk: Desk) -> None:
    for _ in range(4):
        assert desk.do(again=True).verdict is Verdict.ISSUED
    assert [one.number for one in desk.store.generations] == [2, 3, 4]


# --- renewal ----------------------------------------------------------------------------------------------------------


def test_a_key_update_needs_no_secret_and_makes_a_new_key(desk: Desk) -> None:
    desk.do()
    outcome = desk.do(Action.RENEW, secret=None)
    assert outcome.verdict is Verdict.ISSUED
    assert desk.sent == ["kur", "certConf"]
    old, new = (x509.load_der_x509_certificate(one.certificate) for one in desk.store.generations)
    assert old.public_key() != new.public_key()
    assert old.subject == new.subject


def test_a_key_update_with_the_same_key_when_so_configured(desk: Desk) -> None:
    desk.configure(identity={"renewal": RenewalSettings(key=RenewalKey.SAME)})
    desk.do()
    assert desk.do(Action.RENEW, secret=None).verdict is Verdict.ISSUED
    old, new = desk.store.generations
    assert old.private_key is not None
    assert new.private_key is not None
    assert old.private_key.read_bytes() == new.private_key.read_bytes()
    assert old.certificate != new.certificate
    new.check()


def test_without_a_certificate_there_is_nothing_to_renew(desk: Desk) -> None:
    outcome = desk.do(Action.RENEW)
    assert outcome.verdict is Verdict.MISCONFIGURED
    assert outcome.remedy == "Run 'enrollctl enroll ike' first."


@pytest.mark.parametrize("action", [Action.RENEW, Action.REVOKE, Action.REFRESH])
def test_what_needs_a_certificate_that_is_not_there_does_not_hide_why_there_is_none(desk: Desk, action: Action) -> None:
    assert desk.do(secret=b"mistyped").verdict is Verdict.NEEDS_SECRET
    before = desk.store.state.load()
    outcome = desk.do(action, secret=None)
    assert outcome.verdict is Verdict.MISCONFIGURED
    assert outcome.text.startswith("there is no certificate")
    assert desk.store.state.load() == before


@pytest.mark.parametrize("request_type", RequestType)
def test_every_request_for_a_first_certificate(desk: Desk, request_type: RequestType) -> None:
    desk.configure(identity={"request": request_type})
    assert desk.do().verdict is Verdict.ISSUED
    assert desk.sent == [request_type.value, "certConf"]


# --- waiting ----------------------------------------------------------------------------------------------------------


def test_the_ca_is_asked_again_when_it_said(slow_desk: Desk) -> None:
    assert slow_desk.do().verdict is Verdict.ISSUED
    assert slow_desk.sent == ["ir", "pollReq", "pollReq", "pollReq", "certConf"]
    assert slow_desk.slept == pytest.approx([1, 7, 7], abs=0.5)  # the first pollReq asks how long it will take


def test_the_wait_is_bounded_by_the_configuration(slow_desk: Desk) -> None:
    slow_desk.configure(polling=PollingSettings(minimum=2, maximum=3))
    assert slow_desk.do().verdict is Verdict.ISSUED
    assert slow_desk.slept == pytest.approx([2, 3, 3], abs=0.5)


def test_a_request_stays_open_and_goes_on_in_the_same_transaction(slow_desk: Desk) -> None:
    outcome = slow_desk.do(patience=3)
    assert outcome.verdict is Verdict.WAITING
    assert outcome.retry_after == pytest.approx(7, abs=0.5)
    assert outcome.remedy == "Ask again in 7 seconds with 'enrollctl enroll ike'; nothing is lost."
    seen = look(slow_desk.job.state_directory, "ike")
    assert (seen.state, seen.open_request, seen.usable) == ("pending", "enroll", False)

    slow_desk.late += 7
    assert slow_desk.do().verdict is Verdict.ISSUED
    assert slow_desk.events[0] == "resumed"
    assert slow_desk.sent == ["pollReq", "pollReq", "certConf"]
    (serial,) = issued_for(slow_desk)
    (transaction,) = [one for one in slow_desk.ca.record().transactions if one.serial == serial]
    assert [one.type for one in transaction.messages].count(BodyType.IR) == 1


def test_an_undecided_ca_is_given_up_after_the_configured_time(slow_desk: Desk) -> None:
    slow_desk.configure(polling=PollingSettings(give_up_after=5))
    outcome = slow_desk.do()
    assert outcome.verdict is Verdict.REJECTED
    assert outcome.text == "the CA did not decide within 5 seconds; the request is given up"
    assert not slow_desk.store.transaction.path.exists()


def test_a_busy_server_is_tried_again_when_it_said(desk: Desk) -> None:
    desk.ca.misbehave(Misbehaviour.RETRY_AFTER, 5, times=1)
    assert desk.do().verdict is Verdict.ISSUED
    assert desk.slept == pytest.approx([5], abs=1)
    assert "busy" in desk.events


def test_a_wait_that_nobody_vouches_for_is_an_hour_at_the_most(desk: Desk) -> None:
    """Whoever is on the path can answer 503, and name a year."""
    desk.ca.misbehave("retry-after=31536000")
    outcome = desk.do(patience=0)
    assert outcome.verdict is Verdict.WAITING
    assert outcome.retry_after is not None
    assert 0 < outcome.retry_after <= 3600


def test_a_server_that_is_busy_for_longer_than_our_patience_ends_the_job(desk: Desk) -> None:
    desk.ca.misbehave(Misbehaviour.RETRY_AFTER, 900)
    outcome = desk.do()
    assert outcome.verdict is Verdict.WAITING
    assert outcome.retry_after == pytest.approx(900, abs=1)
    assert desk.slept == []


# --- interruption -----------------------------------------------------------------------------------------------------


def test_an_interruption_before_anything_was_sent_sends_nothing(desk: Desk) -> None:
    desk.interrupted = True
    outcome = desk.do()
    assert outcome.verdict is Verdict.FAILED
    assert outcome.text == "interrupted before anything was sent"
    assert desk.sent == []


def test_an_interruption_during_an_exchange_does_not_lose_the_certificate(desk: Desk) -> None:
    def interrupt(event: str) -> None:
        desk.interrupted |= event == "sent"

    desk.on_event = interrupt
    assert desk.do().verdict is Verdict.ISSUED


def test_an_interruption_ends_a_wait_and_leaves_the_request_open(slow_desk: Desk) -> None:
    def interrupt() -> None:
        slow_desk.interrupted = True

    slow_desk.on_sleep = interrupt
    outcome = slow_desk.do()
    assert outcome.verdict is Verdict.WAITING
    assert outcome.text == "interrupted; the request stays open"
    assert slow_desk.sent == ["ir"]
    slow_desk.interrupted, slow_desk.on_sleep = False, lambda: None
    assert slow_desk.do().verdict is Verdict.ISSUED
    assert slow_desk.sent[0] == "pollReq"


# --- what a CA can do wrong -------------------------------------------------------------------------------------------

NOT_ACCEPTED = {
    "html": (Verdict.UNREACHABLE, "a web page answered"),
    "oversize=5242880": (Verdict.UNREACHABLE, "5242"),
    "http-status=404": (Verdict.UNREACHABLE, "404"),
    "drop-before": (Verdict.UNREACHABLE, "after our message was sent"),
    "drop-after": (Verdict.UNREACHABLE, "after our message was sent"),
    "truncated": (Verdict.REFUSED, ""),
    "trailing-octets": (Verdict.REFUSED, ""),
    "long-length": (Verdict.REFUSED, ""),
    "unprotected": (Verdict.REFUSED, "not protected"),
    "unprotected-error=badRequest": (Verdict.REFUSED, "unproven, the answer says: the CA refused"),
    "unprotected-error=badMessageCheck": (Verdict.NEEDS_SECRET, "unproven"),
    "wrong-secret": (Verdict.NEEDS_SECRET, "secret"),
    "bad-protection": (Verdict.NEEDS_SECRET, "secret"),
    "huge-iterations=1000000000": (Verdict.REFUSED, "iterations"),
    "strange-signer": (Verdict.REFUSED, "by signature"),
    "wrong-recip-nonce": (Verdict.REFUSED, "recipNonce"),
    "no-recip-nonce": (Verdict.REFUSED, "recipNonce"),
    "no-sender-nonce": (Verdict.REFUSED, "senderNonce"),
    "wrong-transaction-id": (Verdict.REFUSED, "transactionID"),
    "wrong-body": (Verdict.REFUSED, "cannot take cp"),
    "wrong-cert-req-id=7": (Verdict.REFUSED, "number 7"),
    "error-with-pvno-1=badRequest": (Verdict.REFUSED, "version 1 of CMP"),
    "reject=badPOP": (Verdict.REJECTED, "badPOP"),
    "reject=systemUnavail": (Verdict.REJECTED, "systemUnavail"),
    "wrong-key": (Verdict.REFUSED, "key"),
    "wrong-subject": (Verdict.REFUSED, "somebody-else.example"),
    "wrong-alternative-name": (Verdict.REFUSED, "lacks the requested dns:enb-4711.example"),
    "ca-certificate": (Verdict.REFUSED, "CA"),
    "expired": (Verdict.REFUSED, "expired"),
    "not-yet-valid": (Verdict.REFUSED, "begins only on"),
    "unknown-issuer": (Verdict.REFUSED, "trust anchor"),
}


@pytest.mark.parametrize(("fault", "verdict", "phrase"), [(one, *it) for one, it in NOT_ACCEPTED.items()])
def test_an_answer_that_is_no_good_leaves_the_credential_in_use_as_it_was(
    desk: Desk, fault: str, verdict: Verdict, phrase: str
) -> None:
    assert desk.do().verdict is Verdict.ISSUED
    before = desk.credential()
    desk.ca.misbehave(f"{fault}@ir")
    outcome = desk.do(again=True)
    assert outcome.verdict is verdict, outcome.text
    assert phrase in outcome.text
    assert outcome.remedy.endswith(".")
    assert desk.credential() == before
    error = desk.store.state.load().last_error
    assert error is not None
    assert (error.text, error.remedy, error.verdict) == (outcome.text, outcome.remedy, verdict.value)
    assert desk.told[-1]["event"] == "failed"


@pytest.mark.parametrize("fault", ["wrong-secret", "unprotected-error=badMessageCheck"])
def test_which_secret_was_refused_is_remembered_until_another_one_is_sent_and_is_not_to_be_read(
    desk: Desk, fault: str
) -> None:
    desk.ca.misbehave(fault)
    assert desk.do().verdict is Verdict.NEEDS_SECRET
    refused = desk.store.state.load().refused_secret
    assert refused is not None
    assert refused.fits(SECRET, vouching(desk.job))
    assert not refused.fits(SECRET, vouching(replace(desk.job, authority=replace(desk.job.authority, sender="CN=ca"))))
    assert len(refused.mark) == 4, "two octets, which many secrets have in common"
    assert SECRET not in desk.store.state.path.read_bytes()
    desk.ca.behave()
    desk.ca.misbehave("html*1")
    assert desk.do().verdict is Verdict.UNREACHABLE
    assert desk.store.state.load().refused_secret is None
    assert desk.do().verdict is Verdict.ISSUED


def test_a_success_ends_the_history_of_failures(desk: Desk) -> None:
    desk.ca.misbehave("html*2")
    for attempts in (1, 2):
        assert desk.do().verdict is Verdict.UNREACHABLE
        assert desk.store.state.load().attempts == attempts
    assert desk.do().verdict is Verdict.ISSUED
    history = desk.store.state.load()
    assert (history.attempts, history.last_error, history.next_action) == (0, None, "renew")


def test_a_no_for_good_gives_the_key_up_and_one_for_now_does_not(desk: Desk) -> None:
    desk.ca.misbehave("reject=systemUnavail")
    desk.do()
    kept = desk.store.transaction.key_path.read_bytes()
    desk.do()
    assert desk.store.transaction.key_path.read_bytes() == kept
    assert "snapshot-lost" not in desk.events
    desk.ca.behave()
    desk.ca.misbehave("reject=badPOP")
    desk.do()
    assert not desk.store.transaction.path.exists()


def test_the_ca_is_told_why_its_certificate_is_refused(desk: Desk) -> None:
    desk.ca.misbehave(Misbehaviour.WRONG_KEY)
    outcome = desk.do()
    assert outcome.verdict is Verdict.REFUSED
    assert desk.sent == ["ir", "certConf (rejecting)"]
    assert desk.ca.record().certificates[-1].status is CertificateStatus.REFUSED
    assert not desk.store.transaction.path.exists()


@pytest.mark.parametrize("fault", ["drop-before@certConf", "unprotected-error=badRequest@certConf"])
def test_a_refusal_that_cannot_be_delivered_is_not_in_the_way(desk: Desk, fault: str) -> None:
    desk.ca.misbehave(Misbehaviour.WRONG_KEY)
    desk.ca.misbehave(fault)
    outcome = desk.do()
    assert outcome.verdict is Verdict.REFUSED
    assert "key" in outcome.text
    assert "the CA may not know that its certificate is refused" in desk.texts
    desk.ca.behave()
    assert desk.do().verdict is Verdict.ISSUED


def test_a_refusal_that_was_interrupted_is_delivered_by_the_next_job(desk: Desk) -> None:
    desk.ca.misbehave(Misbehaviour.WRONG_KEY)

    def die(event: str) -> None:
        if event == "unacceptable":
            raise KeyboardInterrupt

    desk.on_event = die
    with pytest.raises(KeyboardInterrupt):
        desk.do()
    desk.on_event = lambda _: None
    assert look(desk.job.state_directory, "ike").state == "refusing"
    outcome = desk.do()
    assert outcome.verdict is Verdict.REFUSED
    assert "key" in outcome.text
    assert desk.sent == ["certConf (rejecting)"]


# --- confirmation -----------------------------------------------------------------------------------------------------


def test_a_lost_confirmation_is_sent_again_and_the_certificate_is_installed(desk: Desk) -> None:
    desk.ca.misbehave("drop-after@certConf*1")
    assert desk.do().verdict is Verdict.UNREACHABLE
    assert not desk.enrolled()
    (kept,) = desk.store.generations
    assert not kept.confirmed
    assert look(desk.job.state_directory, "ike").state == "confirming"
    assert desk.do().verdict is Verdict.ISSUED
    assert desk.sent == ["certConf"]
    assert desk.current == kept
    assert kept.confirmed


def test_a_certificate_is_used_if_there_is_nothing_better_although_its_confirmation_fails_again(desk: Desk) -> None:
    desk.ca.misbehave("truncated@certConf")
    assert desk.do().verdict is Verdict.REFUSED
    assert not desk.enrolled()
    assert desk.do().verdict is Verdict.ISSUED
    assert "unconfirmed" in desk.events
    current = desk.current
    assert current is not None
    assert not current.confirmed
    assert look(desk.job.state_directory, "ike").confirmed is False


def test_an_unproven_answer_to_the_confirmation_neither_replaces_a_valid_certificate_nor_ends_its_renewal(
    desk: Desk,
) -> None:
    assert desk.do().verdict is Verdict.ISSUED
    before = desk.credential()
    desk.ca.misbehave("truncated@certConf")
    for _ in range(3):
        assert desk.do(Action.RENEW).verdict is Verdict.REFUSED
        assert desk.credential() == before
        assert look(desk.job.state_directory, "ike").open_state == "confirming"
    desk.ca.behave()
    known = len(desk.ca.record().certificates)
    assert desk.do(Action.RENEW).verdict is Verdict.ISSUED
    assert len(desk.ca.record().certificates) == known, "the one that the CA confirmed long ago is used"


def test_a_renewal_whose_confirmation_is_never_acknowledged_is_given_up_in_the_end(desk: Desk) -> None:
    assert desk.do().verdict is Verdict.ISSUED
    before = desk.credential()
    desk.ca.misbehave("truncated@certConf")
    assert desk.do(Action.RENEW).verdict is Verdict.REFUSED
    desk.late += desk.job.authority.polling.give_up_after + 1
    outcome = desk.do(Action.RENEW)
    assert outcome.verdict is Verdict.REJECTED
    assert "confirmation" in outcome.text
    assert desk.credential() == before
    assert not desk.store.transaction.path.exists()


@pytest.mark.parametrize("fault", ["wrong-secret@certConf*1", "unprotected-error=badMessageCheck@certConf*1"])
def test_a_bad_answer_in_the_middle_does_not_call_for_another_secret(desk: Desk, fault: str) -> None:
    """The CA has taken it once already: nobody is to be sent out with a new one."""
    desk.ca.misbehave(fault)
    assert desk.do().verdict is Verdict.REFUSED
    assert desk.do().verdict is Verdict.ISSUED


def test_a_ca_that_cannot_take_the_confirmation_now_is_asked_again(desk: Desk) -> None:
    desk.ca.misbehave("reject=systemUnavail@certConf*2")
    for _ in range(2):
        outcome = desk.do()
        assert outcome.verdict is Verdict.REJECTED
        assert "systemUnavail" in outcome.text
        assert look(desk.job.state_directory, "ike").state == "confirming"
        desk.late += 300  # the same octets again would get the same answer again
    assert desk.do().verdict is Verdict.ISSUED
    assert "unconfirmed" not in desk.events
    assert len(desk.store.generations) == 1


def test_implicit_confirmation(tmp_path: Path, desk: Desk) -> None:
    ca = LabCa(LabCaSettings(directory=tmp_path / "ca", secrets={"enb": "one-time-secret"}, implicit_confirm=True))
    with running(ca):
        desk.configure(urls=(ca.url,), trust_anchors=(tmp_path / "ca" / "root.pem",), implicit_confirmation=True)
        assert desk.do().verdict is Verdict.ISSUED
    ca.close()
    assert desk.sent == ["ir"]
    current = desk.current
    assert current is not None
    assert current.confirmed


# --- keys -------------------------------------------------------------------------------------------------------------


def test_the_key_of_an_interrupted_attempt_is_used_again(desk: Desk) -> None:
    desk.ca.misbehave("drop-after@ir*1")
    desk.do()
    key = desk.store.transaction.key_path.read_bytes()
    assert desk.do().verdict is Verdict.ISSUED
    assert "snapshot-lost" in desk.events
    assert "key-made" not in desk.events
    assert desk.credential()["private-key.pem"] == key


def test_a_left_key_of_another_algorithm_than_configured_is_replaced(desk: Desk) -> None:
    """The CA said badAlg without protection; the technician did what the remedy says."""
    desk.ca.misbehave("unprotected-error=badAlg*1")
    desk.do()
    desk.configure(identity={"key": KeySettings(algorithm=KeyAlgorithm.EC_P384)})
    assert desk.do().verdict is Verdict.ISSUED
    current = desk.current
    assert current is not None
    public = x509.load_der_x509_certificate(current.certificate).public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert public.curve.name == "secp384r1"


def test_a_damaged_key_of_an_open_request_means_a_new_request_with_a_new_key(slow_desk: Desk) -> None:
    assert slow_desk.do(patience=0).verdict is Verdict.WAITING
    slow_desk.store.transaction.key_path.write_bytes(b"")
    assert slow_desk.do().verdict is Verdict.ISSUED
    assert "its key is gone" in slow_desk.texts
    assert "key-made" in slow_desk.events


def test_giving_up_an_open_request_makes_a_new_key(slow_desk: Desk) -> None:
    slow_desk.do(patience=0)
    key = slow_desk.store.transaction.key_path.read_bytes()
    assert slow_desk.do(abandon=True, again=True).verdict is Verdict.ISSUED
    assert slow_desk.credential()["private-key.pem"] != key
    assert slow_desk.sent[0] == "ir"


def test_an_open_request_is_not_given_up_for_a_job_that_cannot_begin(slow_desk: Desk) -> None:
    slow_desk.do(patience=0)
    outcome = slow_desk.do(abandon=True, again=True, secret=None)
    assert outcome.verdict is Verdict.NEEDS_SECRET
    assert slow_desk.do().verdict is Verdict.ISSUED
    assert slow_desk.sent[0] == "pollReq"


def test_an_open_renewal_is_finished_before_an_enrollment_and_needs_no_secret(slow_desk: Desk) -> None:
    assert slow_desk.do().verdict is Verdict.ISSUED
    assert slow_desk.do(Action.RENEW, secret=None, patience=0).verdict is Verdict.WAITING
    slow_desk.late += 10
    assert slow_desk.do(Action.ENROLL, secret=None).verdict is Verdict.ISSUED
    assert slow_desk.sent[0] == "pollReq"
    assert len(slow_desk.store.generations) == 2


def test_a_lost_renewal_does_not_keep_an_expired_identity_from_enrolling(desk: Desk) -> None:
    desk.do()
    desk.ca.misbehave("drop-after@kur*1")
    assert desk.do(Action.RENEW).verdict is Verdict.UNREACHABLE
    desk.late += 400 * 86_400
    outcome = desk.do()
    assert desk.sent[0] == "ir", outcome


# --- files that the configuration names -------------------------------------------------------------------------------


def test_a_trust_anchor_may_be_reached_by_a_link(desk: Desk, tmp_path: Path) -> None:
    assert desk.job.authority.trust_anchors is not None
    link = tmp_path / "link.pem"
    link.symlink_to(desk.job.authority.trust_anchors[0])
    desk.configure(trust_anchors=(link,))
    assert desk.do().verdict is Verdict.ISSUED


@pytest.mark.parametrize("content", [None, b"", b"rubbish", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_trust_anchor_that_cannot_be_used_is_a_mistake_in_the_configuration(
    desk: Desk, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "root.pem"
    if content is not None:
        path.write_bytes(content)
    desk.configure(trust_anchors=(path,))
    outcome = desk.do()
    assert outcome.verdict is Verdict.MISCONFIGURED
    assert str(path) in outcome.text
    assert desk.sent == []


# --- clock ------------------------------------------------------------------------------------------------------------


def test_a_machine_without_the_time_enrolls_and_then_leaves_the_certificate_alone(desk: Desk) -> None:
    desk.clock = lambda: datetime(1970, 1, 1, tzinfo=UTC)
    assert desk.do().verdict is Verdict.ISSUED
    assert look(desk.job.state_directory, "ike", now=datetime(1970, 1, 1, tzinfo=UTC)).usable
    assert desk.do(secret=None).verdict is Verdict.UNCHANGED


def test_a_clock_that_is_behind_what_is_known_for_sure_is_not_believed(desk: Desk) -> None:
    behind = RELEASED + timedelta(days=1)
    desk.clock = lambda: behind
    desk.known_time = datetime.now(UTC) - timedelta(hours=1)
    assert desk.do().verdict is Verdict.ISSUED, "the certificate begins later than the clock shows"
    assert desk.do(secret=None).verdict is Verdict.UNCHANGED
    desk.known_time = datetime.now(UTC) + timedelta(days=100)
    desk.do()
    assert desk.sent[0] == "ir", "by what is known it has expired"


def test_an_expired_certificate_is_replaced(desk: Desk) -> None:
    desk.do()
    desk.clock = lambda: datetime.now(UTC) + timedelta(days=91)
    desk.do()
    assert desk.sent[0] == "ir"


# --- the disk ---------------------------------------------------------------------------------------------------------


def test_that_the_history_cannot_be_written_changes_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object, __: object) -> None:
        raise StateError("cannot write it", remedy="Make room.")

    monkeypatch.setattr(StateFile, "save", refuse)
    assert desk.do().verdict is Verdict.ISSUED
    assert "the history is not up to date: cannot write it" in desk.texts


def test_nothing_is_sent_when_the_answer_would_have_no_room(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int, __: int, ___: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("os.posix_fallocate", full)
    outcome = desk.do()
    assert outcome.verdict is Verdict.FAILED
    assert "ENOSPC" in outcome.text
    assert "df -h" in outcome.remedy
    assert desk.sent == []


def test_a_damaged_snapshot_is_told_and_a_new_request_made(slow_desk: Desk) -> None:
    slow_desk.do(patience=0)
    snapshot = slow_desk.store.transaction.path / "snapshot.json"
    snapshot.write_bytes(snapshot.read_bytes()[:-20])
    assert slow_desk.do().verdict is Verdict.ISSUED
    assert "the earlier request cannot go on, a new one is started" in slow_desk.texts
    assert slow_desk.sent[0] == "ir"


@pytest.mark.parametrize("part", ["document", "snapshot", "transaction"])
def test_a_request_of_a_newer_version_is_kept_and_no_other_made_unless_a_person_gives_it_up(
    slow_desk: Desk, part: str
) -> None:
    slow_desk.do(patience=0)
    directory = slow_desk.store.transaction
    path = directory.path / "snapshot.json"
    snapshot = directory.load_snapshot()
    assert snapshot is not None
    if part == "document":
        path.write_bytes(path.read_bytes().replace(b', "version": 1}\n', b', "version": 2}\n'))
    elif part == "snapshot":
        directory.save_snapshot(snapshot | {"version": 2})
    else:
        directory.save_snapshot(snapshot | {"transaction": snapshot["transaction"] | {"version": 2}})  # type: ignore[operator]
    kept = path.read_bytes()
    outcome = slow_desk.do()
    assert outcome.verdict is Verdict.FAILED
    assert "version 2" in outcome.text
    assert "Install the enrolld that wrote it" in outcome.remedy
    assert (path.read_bytes(), slow_desk.sent) == (kept, [])
    assert slow_desk.do(abandon=True).verdict is Verdict.ISSUED


@pytest.mark.parametrize("change", [{"version": 0}, {"action": "dance"}, {"started_at": 5}, {"transaction": {}}])
def test_a_snapshot_of_another_version_is_told_and_a_new_request_made(slow_desk: Desk, change: dict[str, Any]) -> None:
    slow_desk.do(patience=0)
    directory = slow_desk.store.transaction
    snapshot = directory.load_snapshot()
    assert snapshot is not None
    directory.save_snapshot(snapshot | change)
    assert slow_desk.do().verdict is Verdict.ISSUED
    assert slow_desk.sent[0] == "ir"


def test_old_credentials_that_cannot_be_removed_do_not_spoil_the_new_one(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise StateError("cannot remove it", remedy="Look at the disk.")

    monkeypatch.setattr("agent.store.generations.IdentityStore.prune", refuse)
    assert desk.do().verdict is Verdict.ISSUED
    assert "old credentials could not be removed" in desk.texts


def test_a_damaged_credential_is_replaced_by_an_enrollment_and_stops_a_renewal(desk: Desk) -> None:
    desk.do()
    current = desk.current
    assert current is not None
    (current.path / "certificate.pem").write_bytes(b"")
    refused = desk.do(Action.RENEW)
    assert refused.verdict is Verdict.FAILED
    assert "is empty" in refused.text
    assert desk.do().verdict is Verdict.ISSUED
    assert "the installed credential is damaged and is replaced" in desk.texts


@pytest.mark.parametrize("action", [Action.ENROLL, Action.RENEW])
def test_a_credential_of_a_newer_version_is_neither_replaced_nor_renewed(desk: Desk, action: Action) -> None:
    desk.do()
    current = desk.current
    assert current is not None
    document = current.path / "credential.json"
    document.write_text(document.read_text().replace('"version": 1', '"version": 2'))
    refused = desk.do(action, again=True)
    assert refused.verdict is Verdict.FAILED
    assert "a newer one wrote it" in refused.text
    assert desk.sent == []


def test_a_missing_state_directory_is_an_outcome(desk: Desk, tmp_path: Path) -> None:
    outcome = desk.do(state_directory=tmp_path / "elsewhere")
    assert outcome.verdict is Verdict.FAILED
    assert "elsewhere" in outcome.text


def test_a_second_worker_on_the_same_identity_stays_out(desk: Desk) -> None:
    with desk.store.lock():
        outcome = desk.do()
    assert outcome.verdict is Verdict.BUSY
    assert "is at work on identity ike" in outcome.text


def test_every_event_and_outcome_names_the_identity(desk: Desk) -> None:
    desk.do()
    assert all(one["fields"]["IDENTITY"] == "ike" for one in desk.told)


def test_an_answer_after_polling_is_resumed_where_it_stood(slow_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fills up just when the certificate is to be written."""
    monkeypatch.setattr(
        "agent.store.generations.IdentityStore.add",
        lambda *_: (_ for _ in ()).throw(StateError("cannot write it", remedy="Make room.")),
    )
    assert slow_desk.do().verdict is Verdict.FAILED
    monkeypatch.undo()
    assert look(slow_desk.job.state_directory, "ike").state == "confirming"
    assert slow_desk.do().verdict is Verdict.ISSUED
    assert slow_desk.sent == ["certConf"]


def test_a_left_directory_without_a_snapshot_is_no_open_request(desk: Desk) -> None:
    with desk.store.lock():
        TransactionDirectory(desk.store.directory).prepare()
    assert resuming.load(desk.store.transaction) is None
    assert desk.do().verdict is Verdict.ISSUED


def test_several_addresses_are_tried_from_another_one_after_a_failure(desk: Desk) -> None:
    good = desk.ca.url
    other = good.rsplit("/", 1)[0] + "/nothing-here"
    desk.configure(urls=(other, good))
    assert desk.do().verdict is Verdict.UNREACHABLE
    assert desk.do().verdict is Verdict.ISSUED


def asked_at(desk: Desk) -> object:
    """Return the address that took the open request."""
    snapshot = desk.store.transaction.load_snapshot()
    assert snapshot is not None
    return snapshot["url"]


def test_an_expired_certificate_comes_back_outside_the_tunnel_and_is_renewed_inside_again(slow_desk: Desk) -> None:
    outside = slow_desk.ca.url
    inside = outside.replace("127.0.0.1", "localhost")
    dead = "http://127.0.0.1:9/"  # inside, while the tunnel is down for want of a certificate
    slow_desk.configure(urls=(inside, outside))
    assert slow_desk.do(patience=60).verdict is Verdict.ISSUED
    slow_desk.late += timedelta(days=91).total_seconds()
    slow_desk.configure(urls=(dead, outside))
    assert slow_desk.do(patience=0).verdict is Verdict.WAITING
    slow_desk.late -= timedelta(days=91).total_seconds()  # the CA lives today
    assert asked_at(slow_desk) == outside
    slow_desk.configure(urls=(inside, outside))
    assert slow_desk.do(patience=200_000).verdict is Verdict.ISSUED
    assert set(slow_desk.sent) == {"pollReq", "certConf"}, "the same transaction, at the same address"
    assert slow_desk.do(Action.RENEW, patience=0).verdict is Verdict.WAITING
    assert asked_at(slow_desk) == inside
