"""Keys for encipherment and agreement through the whole worker, and how a request is given up, against the lab CA."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509

from agent.cmp import messages
from agent.cmp.bodies import ErrorMessage
from agent.cmp.messages import PVNO_2, PVNO_3, BodyType
from agent.contract import Action, Verdict
from agent.events import Event
from agent.labca import Misbehaviour
from agent.labca.records import CertificateStatus, TransactionState
from agent.settings import KeyAlgorithm, KeySettings, KeyUsage, PollingSettings, ProfileName
from tests.unit.worker.desk import Desk, Died

LIGHTWEIGHT, BACKHAUL = ProfileName.LIGHTWEIGHT, ProfileName.BACKHAUL
RSA = (KeyAlgorithm.RSA_2048, KeyUsage.ENCIPHERMENT)
EC = (KeyAlgorithm.EC_P256, KeyUsage.AGREEMENT)
X25519 = (KeyAlgorithm.X25519, KeyUsage.AGREEMENT)


def certifies(desk: Desk, key: tuple[KeyAlgorithm, KeyUsage], profile: ProfileName = LIGHTWEIGHT, **more: Any) -> Desk:
    algorithm, usage = key
    desk.configure(identity={"key": KeySettings(algorithm=algorithm, usage=usage)}, profile=profile, **more)
    return desk


def transaction(desk: Desk) -> Any:
    """Return what the CA recorded of the last transaction of the last job."""
    number = [one["fields"]["CMP_TRANSACTION_ID"] for one in desk.told if one["event"] == "sent"][-1]
    return next(one for one in desk.ca.record().transactions if one.id.hex() == number)


@pytest.mark.parametrize("key", [RSA, EC, X25519], ids=lambda one: one[0].value)
@pytest.mark.parametrize("profile", [LIGHTWEIGHT, BACKHAUL])
def test_a_key_that_does_not_sign_is_enrolled(
    desk: Desk, key: tuple[KeyAlgorithm, KeyUsage], profile: ProfileName
) -> None:
    certifies(desk, key, profile)
    assert desk.do().verdict is Verdict.ISSUED
    assert desk.sent == (["ir", "certConf"] if profile is LIGHTWEIGHT else ["ir", "popdecr", "certConf"])
    assert desk.current is not None
    certificate = x509.load_der_x509_certificate(desk.current.certificate)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_encipherment, usage.key_agreement) == (False, key is RSA, key is not RSA)
    first = messages.parse(transaction(desk).messages[0].octets)
    assert first.header.pvno == (PVNO_2 if (profile, key) == (BACKHAUL, RSA) else PVNO_3)


def test_an_encrypted_certificate_is_confirmed_even_where_others_are_not(desk: Desk) -> None:
    certifies(desk, EC, implicit_confirmation=True)
    assert desk.do().verdict is Verdict.ISSUED
    assert desk.sent == ["ir", "certConf"]


@pytest.mark.parametrize("event", [Event.SENT.value, Event.VERIFIED.value])
@pytest.mark.parametrize("profile", [LIGHTWEIGHT, BACKHAUL])
def test_a_death_on_the_way_loses_no_certificate(desk: Desk, profile: ProfileName, event: str) -> None:
    certifies(desk, EC, profile)
    times: list[str] = []

    def die(happened: str) -> None:
        times.append(happened)
        if happened == event and times.count(event) == (2 if event == Event.SENT.value else 1):
            raise Died

    desk.on_event = die
    with pytest.raises(Died):
        desk.do()
    desk.on_event = lambda _: None
    assert desk.do().verdict is Verdict.ISSUED
    assert desk.enrolled()


@pytest.mark.parametrize("profile", [LIGHTWEIGHT, BACKHAUL])
def test_only_the_contributions_profile_tells_the_ca_that_an_answer_was_no_good(
    desk: Desk, profile: ProfileName
) -> None:
    certifies(desk, (KeyAlgorithm.EC_P256, KeyUsage.SIGNATURE), profile)
    desk.ca.misbehave(Misbehaviour.WRONG_CERT_REQ_ID)
    assert desk.do().verdict is Verdict.REFUSED
    assert desk.sent == (["ir", "error"] if profile is BACKHAUL else ["ir"])
    assert not desk.enrolled()


def test_a_challenge_that_is_none_ends_with_an_error_and_no_number(desk: Desk) -> None:
    certifies(desk, RSA, BACKHAUL)
    desk.ca.misbehave(Misbehaviour.NOT_A_CHALLENGE)
    outcome = desk.do()
    assert outcome.verdict is Verdict.REFUSED
    assert "challenge" in outcome.text
    assert desk.sent == ["ir", "error"]
    recorded = transaction(desk)
    assert recorded.state is TransactionState.ENDED
    assert [one.type for one in recorded.messages] == [BodyType.IR, BodyType.POPDECC, BodyType.ERROR, BodyType.PKICONF]
    assert not [one for one in desk.ca.record().certificates if one.transaction_id == recorded.id]


def test_that_the_ca_does_not_hear_of_it_changes_nothing(desk: Desk) -> None:
    certifies(desk, RSA, BACKHAUL)
    desk.ca.misbehave(Misbehaviour.NOT_A_CHALLENGE)
    desk.ca.misbehave(Misbehaviour.DROP_BEFORE, on=BodyType.ERROR)
    assert desk.do().verdict is Verdict.REFUSED
    assert "may not know that the request is given up" in desk.texts


def test_a_ca_that_never_decides_is_told_to_forget_it(slow_desk: Desk) -> None:
    desk = certifies(slow_desk, EC, BACKHAUL, polling=replace(PollingSettings(), give_up_after=1.0))
    desk.on_sleep = lambda: None
    outcome = desk.do()
    assert outcome.verdict is Verdict.REJECTED
    assert desk.sent[-1] == "error"
    said = messages.parse(transaction(desk).messages[-2].octets).body()
    assert isinstance(said, ErrorMessage)
    assert transaction(desk).state is TransactionState.ENDED


def test_an_encrypted_certificate_that_does_not_open_is_refused(desk: Desk) -> None:
    certifies(desk, EC)
    desk.ca.misbehave(Misbehaviour.SEALED_FOR_ANOTHER)
    outcome = desk.do()
    assert outcome.verdict is Verdict.REFUSED
    assert "cannot be opened" in outcome.text
    assert desk.sent == ["ir", "certConf (rejecting)"]
    number = transaction(desk).id
    (issued,) = (one for one in desk.ca.record().certificates if one.transaction_id == number)
    assert issued.status is CertificateStatus.REFUSED
    assert not desk.enrolled()
    desk.ca.behave()
    assert desk.do(Action.ENROLL).verdict is Verdict.ISSUED
