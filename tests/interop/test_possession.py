"""OpenSSL's CMP server judges our proof of possession for a request without a subject (poposkInput)."""

from __future__ import annotations

import urllib.request
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from agent.cmp import messages, names
from agent.cmp.bodies import CertRepMessage, CertReqMessages, ErrorMessage, PopSignature
from agent.cmp.messages import BodyType, Header
from agent.cmp.protection import MacParameters
from agent.cmp.request import Wanted, by_secret
from agent.labca.keys import LabKey
from tests.station import REFERENCE, SECRET

if TYPE_CHECKING:
    from agent.cmp.bodies import Body
    from tests.interop.conftest import OpensslServer, Pki

US: Final = by_secret(REFERENCE, SECRET.encode(), MacParameters(salt=b"0123456789abcdef", iterations=500))


def judged(url: str, body: CertReqMessages) -> Body:
    """Return what the server answers to a request that is protected by the secret."""
    header = Header(
        sender=US.sender,
        sender_kid=US.sender_kid,
        protection_alg=US.protector.algorithm,
        transaction_id=bytes(16),
        sender_nonce=bytes(range(16)),
    )
    octets = messages.build(header, body, protect=US.protector.protect)
    post = urllib.request.Request(url, octets, {"Content-Type": "application/pkixcmp"})  # noqa: S310 - loopback
    with urllib.request.urlopen(post, timeout=20) as answer:  # noqa: S310 - loopback
        return messages.parse(answer.read()).body()


def asked(pki: Pki) -> CertReqMessages:
    key = LabKey.from_pem((pki.directory / "ec-p256.key").read_bytes())
    sender = names.directory_name(names.name_from_text("CN=serial 4711,O=Vendor"))
    body = Wanted(type=BodyType.IR, signer=key, subject=None, vouched_by=sender).body()
    assert isinstance(body, CertReqMessages)
    return body


def test_openssl_accepts_the_proof(openssl_server: OpensslServer, pki: Pki) -> None:
    body = judged(openssl_server.start(), asked(pki))
    assert isinstance(body, CertRepMessage)
    assert body.responses[0].certificate == pki.certificate("ec-p256")


def test_openssl_refuses_a_proof_over_something_else(openssl_server: OpensslServer, pki: Pki) -> None:
    body = asked(pki)
    proof = body.requests[0].possession
    assert isinstance(proof, PopSignature)
    signed_otherwise = replace(proof, signature=LabKey.generate().sign(proof.input or b"", "ecdsa-sha256"))
    spoiled = CertReqMessages(body.type, (replace(body.requests[0], possession=signed_otherwise),))
    answer = judged(openssl_server.start(), spoiled)
    assert isinstance(answer, CertRepMessage | ErrorMessage)
    status = answer.status if isinstance(answer, ErrorMessage) else answer.responses[0].status
    assert status.status == 2
