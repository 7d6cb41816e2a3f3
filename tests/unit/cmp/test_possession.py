"""Proofs of possession on the wire: what is signed, under which tag, and what a key that does not sign announces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from agent.cmp import algorithms, crmf, der, names, possession
from agent.cmp.bodies import CertReqMsg, CertRequest, CertTemplate, PopSignature
from agent.cmp.errors import LocalError
from agent.cmp.possession import PopMethod
from agent.cmp.protection import MacParameters, MacProtector, SignatureProtector
from agent.labca.keys import KeyKind, LabKey
from hsm.algorithms import KeyAlgorithm
from tests.unit.cmp.decryptors import P256, RSA, X25519, key_of

SUBJECT = names.name_from_text("CN=enb-4711,O=Operator")
VENDOR = names.directory_name(names.name_from_text("CN=enb-4711,O=Vendor"))
KEY = LabKey.generate()
SECRET = MacProtector(b"one-time", MacParameters(salt=b"0123456789abcdef", iterations=100))


def request(**template: bytes | None) -> CertRequest:
    return CertRequest(template=CertTemplate(**{"subject": SUBJECT, "public_key": KEY.public_key, **template}))  # type: ignore[arg-type]


def signature_in(message: CertReqMsg) -> PopSignature:
    """Return the proof as somebody else reads it from the wire."""
    proof = crmf.decode_message(crmf.encode_message(message)).possession
    assert isinstance(proof, PopSignature)
    return proof


def verifies(proof: PopSignature, data: bytes, key: LabKey = KEY) -> bool:
    rule = algorithms.signature_algorithm(proof.algorithm)
    return algorithms.verify(algorithms.load_public_key(key.public_key), rule, proof.signature, data)


def test_with_a_subject_the_whole_request_is_signed() -> None:
    proof = signature_in(possession.sign_request(request(), KEY, vouched_by=VENDOR))
    assert proof.input is None
    assert verifies(proof, crmf.encode_request(request()))


def test_an_empty_subject_is_a_subject() -> None:
    """RFC 9483 4.1.1: the NULL-DN stands for a name that the CA fills in."""
    proof = signature_in(possession.sign_request(request(subject=names.EMPTY), KEY))
    assert proof.input is None


@pytest.mark.parametrize("kind", [KeyKind.EC_P256, KeyKind.RSA_2048, KeyKind.ED25519])
def test_without_a_subject_the_name_and_the_key_are_signed(kind: KeyKind) -> None:
    key = LabKey.generate(kind)
    message = possession.sign_request(request(subject=None, public_key=key.public_key), key, vouched_by=VENDOR)
    octets = crmf.encode_message(message)
    proof = signature_in(message)
    wanted = der.wrap(der.SEQUENCE, der.wrap(0xA0, VENDOR), key.public_key)
    assert proof.input == wanted
    assert verifies(proof, wanted, key)
    # On the wire it carries [0] in place of the tag it is signed with (RFC 4211 4.1).
    sent = b"\xa0" + wanted[1:]
    assert octets.count(sent) == 1
    assert not verifies(proof, sent, key)
    assert not verifies(proof, message.request_octets, key)


def test_a_shared_secret_vouches_by_a_mac_over_the_key() -> None:
    proof = signature_in(possession.sign_request(request(subject=None), KEY, vouched_by=SECRET))
    info, key = der.values(proof.input or b"")
    assert key == KEY.public_key
    algorithm, value = der.values(info)
    assert algorithm == SECRET.algorithm
    assert der.unwrap(value, der.BIT_STRING)[1:] == SECRET.protect(KEY.public_key)
    assert verifies(proof, proof.input or b"")


@pytest.mark.parametrize(
    ("algorithm", "method", "wire"),
    [
        (RSA, PopMethod.ENCRYPTED_CERTIFICATE, "a203810100"),
        (RSA, PopMethod.CHALLENGE, "a203810101"),
        (P256, PopMethod.ENCRYPTED_CERTIFICATE, "a303810100"),
        (X25519, PopMethod.CHALLENGE, "a303810101"),
    ],
)
def test_a_key_that_does_not_sign_announces_its_proof(algorithm: KeyAlgorithm, method: PopMethod, wire: str) -> None:
    message = possession.announce(request(public_key=key_of(algorithm).public_key), method)
    octets = crmf.encode_message(message)
    assert octets.endswith(bytes.fromhex(wire))
    assert crmf.decode_message(octets).possession == message.possession


CANNOT: list[tuple[str, Callable[[], object]]] = [
    ("without a public key", lambda: possession.sign_request(request(public_key=None), KEY)),
    ("without a public key", lambda: possession.announce(request(public_key=None), PopMethod.CHALLENGE)),
    ("must say otherwise", lambda: possession.sign_request(request(subject=None), KEY)),
    ("by a MAC only", lambda: possession.sign_request(request(subject=None), KEY, vouched_by=SignatureProtector(KEY))),
    (
        "only signs",
        lambda: possession.announce(
            request(public_key=LabKey.generate(KeyKind.ED25519).public_key), PopMethod.CHALLENGE
        ),
    ),
    ("cannot make signatures", lambda: possession.sign_request(request(), KEY, "rsa-pkcs1-sha256")),
]


@pytest.mark.parametrize(("said", "make"), CANNOT, ids=[said for said, _ in CANNOT])
def test_what_cannot_be_proven_is_said(said: str, make: Callable[[], object]) -> None:
    with pytest.raises(LocalError, match=said) as caught:
        make()
    assert caught.value.remedy.endswith(".")


def test_a_changed_request_breaks_the_proof() -> None:
    message = possession.sign_request(request(), KEY)
    other = replace(message.request, cert_req_id=1)
    assert not verifies(signature_in(message), crmf.encode_request(other))
