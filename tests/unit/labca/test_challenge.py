"""The lab CA certifies keys that do not sign: it poses challenges, encrypts certificates, and believes nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.cmp import challenge, decryption
from agent.cmp.bodies import (
    Body,
    ErrorMessage,
    PopDecChallenges,
    PopDecResponses,
    PopKey,
    PopSubsequent,
    StatusInfo,
    SubsequentMessage,
)
from agent.cmp.errors import ProtocolViolation
from agent.cmp.failures import PKIStatus
from agent.cmp.messages import BodyType, Info, InfoTypeAndValue, Message
from agent.labca import LabCa, LabCaSettings, Misbehaviour
from agent.labca.records import CertificateStatus, TransactionState
from hsm.algorithms import KeyAlgorithm
from hsm.software import SoftwareKey
from tests.unit.cmp.decryptors import P256, RSA, X25519, key_of
from tests.unit.labca.entity import NOW, Entity, certificate_in, changed, failures_in, lab, response_in

CHALLENGE, SEALED = SubsequentMessage.CHALLENGE_RESP, SubsequentMessage.ENCR_CERT
EVERY_KEY = pytest.mark.parametrize("algorithm", [RSA, P256, X25519])


def kind(key: SoftwareKey) -> PopKey:
    return PopKey.AGREEMENT if key.agrees else PopKey.ENCIPHERMENT


def asked(entity: Entity, method: SubsequentMessage, key: SoftwareKey, **template: Any) -> Body:
    """Return a request for ``key`` that is to be proven later."""
    body = entity.request(public_key=key.public_key, **template)
    return changed(body, possession=PopSubsequent(kind(key), method))


def number_in(posed: Message, key: SoftwareKey) -> int:
    body = posed.body()
    assert isinstance(body, PopDecChallenges)
    return challenge.solve(body, key, posed.header.sender)


@EVERY_KEY
@pytest.mark.parametrize("signed", [False, True])
def test_a_challenge_names_the_ca_as_the_header_does(algorithm: KeyAlgorithm, *, signed: bool) -> None:
    ca, key = lab(), key_of(algorithm)
    entity = Entity(ca, ca.make_device("enb-4711", now=NOW) if signed else None)
    posed = entity.ask(asked(entity, CHALLENGE, key), pvno=3)
    assert posed.type is BodyType.POPDECC
    assert posed.header.pvno == 3
    answer = entity.ask(PopDecResponses((number_in(posed, key),)), pvno=3)
    assert answer.type is BodyType.IP
    assert entity.ask(entity.confirm(certificate_in(answer))).type is BodyType.PKICONF


@pytest.mark.parametrize("settings", [{"ra_protects": False}, {"sign_mac_answers": True}])
def test_a_challenge_names_whoever_speaks_for_the_ca(settings: dict[str, Any]) -> None:
    entity = Entity(lab(**settings))
    posed = entity.ask(asked(entity, CHALLENGE, key_of(P256)), pvno=3)
    assert number_in(posed, key_of(P256)) >= 0


@EVERY_KEY
def test_the_certificate_is_readable_for_its_owner_only(algorithm: KeyAlgorithm) -> None:
    entity, key = Entity(lab()), key_of(algorithm)
    answer = entity.ask(asked(entity, SEALED, key), pvno=3)
    response = response_in(answer)
    assert response.certificate is None
    assert response.encrypted_certificate is not None
    certificate = decryption.open_encrypted_key(response.encrypted_certificate, key)
    assert entity.ca.record().certificates[0].octets == certificate
    assert entity.ask(entity.confirm(certificate)).type is BodyType.PKICONF


@pytest.mark.parametrize("method", [CHALLENGE, SEALED])
def test_old_clients_get_the_old_forms(method: SubsequentMessage) -> None:
    entity, key = Entity(lab()), key_of(RSA)
    answer = entity.ask(asked(entity, method, key))
    assert answer.header.pvno == 2
    if method is SEALED:
        encrypted = response_in(answer).encrypted_certificate or b""
        assert encrypted[0] == 0x30
        assert decryption.open_encrypted_key(encrypted, key)
        return
    body = answer.body()
    assert isinstance(body, PopDecChallenges)
    assert len(body.challenges[0].challenge) == 256
    assert body.challenges[0].encrypted_rand is None
    assert entity.ask(PopDecResponses((number_in(answer, key),))).type is BodyType.IP


@pytest.mark.parametrize("method", [CHALLENGE, SEALED])
def test_without_version_3_only_rsa_keys_are_served(method: SubsequentMessage) -> None:
    entity = Entity(lab())
    assert failures_in(entity.ask(asked(entity, method, key_of(P256)))) == ("badPOP",)
    assert entity.ca.record().certificates == ()


@pytest.mark.parametrize("algorithm", [RSA, P256, KeyAlgorithm.ED25519])
def test_a_proof_must_fit_the_key(algorithm: KeyAlgorithm) -> None:
    entity, key = Entity(lab()), key_of(algorithm)
    wrong = PopKey.AGREEMENT if algorithm is RSA else PopKey.ENCIPHERMENT
    body = changed(entity.request(public_key=key.public_key), possession=PopSubsequent(wrong, SEALED))
    assert failures_in(entity.ask(body, pvno=3)) == ("badPOP",)


@pytest.mark.parametrize("numbers", [(), (7,), (7, 7)])
def test_a_wrong_number_gets_no_certificate_and_no_second_chance(numbers: tuple[int, ...]) -> None:
    entity, key = Entity(lab()), key_of(P256)
    number = number_in(entity.ask(asked(entity, CHALLENGE, key), pvno=3), key)
    assert failures_in(entity.ask(PopDecResponses(numbers))) == ("badPOP",)
    assert failures_in(entity.ask(PopDecResponses((number,)))) == ("badRequest",)
    assert entity.ca.record().certificates == ()
    assert entity.ca.record().transactions[0].state is TransactionState.REJECTED


def test_a_number_out_of_nowhere_is_refused() -> None:
    entity = Entity(lab())
    assert failures_in(entity.ask(PopDecResponses((7,)))) == ("badRequest",)
    entity.begin()
    entity.ask(entity.request())
    assert failures_in(entity.ask(PopDecResponses((7,)))) == ("badRequest",)


def test_the_same_number_sent_again_gets_the_same_certificate() -> None:
    entity, key = Entity(lab()), key_of(P256)
    number = number_in(entity.ask(asked(entity, CHALLENGE, key), pvno=3), key)
    octets = entity.message(PopDecResponses((number,)))
    first, second = entity.send(octets), entity.send(octets)
    assert certificate_in(first) == certificate_in(second)
    assert len(entity.ca.record().certificates) == 1


def test_numbers_differ() -> None:
    ca, key, found = lab(), key_of(P256), set()
    for _ in range(4):
        entity = Entity(ca)
        found.add(number_in(entity.ask(asked(entity, CHALLENGE, key), pvno=3), key))
    assert len(found) == 4


def test_a_secret_for_one_certificate_is_not_spent_by_a_challenge() -> None:
    ca, key = lab(), key_of(P256)
    ca.add_secret("enb-4711", "one-time", uses=1)
    entity = Entity(ca)
    entity.ask(asked(entity, CHALLENGE, key), pvno=3)
    entity.begin()
    posed = entity.ask(asked(entity, CHALLENGE, key), pvno=3)
    assert certificate_in(entity.ask(PopDecResponses((number_in(posed, key),))))


def test_an_encrypted_certificate_is_never_confirmed_by_itself() -> None:
    for method, granted in ((SEALED, False), (CHALLENGE, True)):
        entity, key = Entity(lab(implicit_confirm=True)), key_of(P256)
        wish = (InfoTypeAndValue(Info.IMPLICIT_CONFIRM, b"\x05\x00"),)
        answer = entity.ask(asked(entity, method, key), pvno=3, general_info=wish)
        if method is CHALLENGE:
            answer = entity.ask(PopDecResponses((number_in(answer, key),)))
        assert (answer.header.info(Info.IMPLICIT_CONFIRM) is not None) is granted
        status = CertificateStatus.CONFIRMED if granted else CertificateStatus.ISSUED
        assert entity.ca.record().certificates[0].status is status


def test_a_ca_that_was_restarted_still_knows_its_challenge(tmp_path: Path) -> None:
    settings = LabCaSettings(directory=tmp_path, secrets={"enb-4711": "one-time"}, durable=False)
    ca, key = LabCa(settings, now=NOW), key_of(P256)
    entity = Entity(ca)
    number = number_in(entity.ask(asked(entity, CHALLENGE, key), pvno=3), key)
    ca.close()
    entity.ca = LabCa(settings, now=NOW)
    assert certificate_in(entity.ask(PopDecResponses((number,))))
    entity.ca.close()


def test_who_could_not_read_our_answer_may_give_up_without_our_nonce() -> None:
    entity, key = Entity(lab()), key_of(P256)
    entity.ask(asked(entity, CHALLENGE, key), pvno=3)
    entity.heard = None
    assert entity.ask(PopDecResponses((7,))).type is BodyType.ERROR  # for anything else our nonce is needed
    entity.heard = None
    assert entity.ask(ErrorMessage(StatusInfo(status=PKIStatus.REJECTION))).type is BodyType.PKICONF
    assert entity.ca.record().transactions[0].state is TransactionState.ENDED


@pytest.mark.parametrize(
    "fault", [Misbehaviour.WRONG_WITNESS, Misbehaviour.NOT_A_CHALLENGE, Misbehaviour.CHALLENGE_OF_ANOTHER]
)
def test_a_fault_of_challenges_is_not_spent_on_a_certificate(fault: Misbehaviour) -> None:
    ca, key = lab(), key_of(P256)
    ca.misbehave(fault, times=1)
    entity = Entity(ca)
    response = response_in(entity.ask(asked(entity, SEALED, key), pvno=3))
    assert decryption.open_encrypted_key(response.encrypted_certificate or b"", key)
    entity.begin()
    with pytest.raises(ProtocolViolation):
        number_in(entity.ask(asked(entity, CHALLENGE, key), pvno=3), key)
    entity.begin()
    assert number_in(entity.ask(asked(entity, CHALLENGE, key), pvno=3), key) >= 0


@EVERY_KEY
@pytest.mark.parametrize("method", [CHALLENGE, SEALED])
def test_what_is_sealed_for_another_is_so(algorithm: KeyAlgorithm, method: SubsequentMessage) -> None:
    ca, key = lab(), key_of(algorithm)
    ca.misbehave(Misbehaviour.SEALED_FOR_ANOTHER)
    entity = Entity(ca)
    answer = entity.ask(asked(entity, method, key), pvno=3)
    if method is CHALLENGE:
        with pytest.raises(ProtocolViolation):
            number_in(answer, key)
    else:
        with pytest.raises(ProtocolViolation):
            decryption.open_encrypted_key(response_in(answer).encrypted_certificate or b"", key)
