"""CPU time of one message: building with protection, and parsing with verification, for a whole enrollment.

The figures are of this machine; what counts is how they stand to each other, and to the few milliseconds of a
signature. ``key`` is what deriving the MAC's key takes, once a transaction and side.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

sys.path.insert(0, str(Path(__file__).parents[2]))

from agent.cmp import names, protection
from agent.cmp.bodies import (
    Body,
    CertConfirm,
    CertRepMessage,
    CertReqMessages,
    CertRequest,
    CertResponse,
    CertStatus,
    CertTemplate,
    PkiConf,
    StatusInfo,
)
from agent.cmp.confirmation import certificate_hash
from agent.cmp.messages import BodyType, Header, Message, build, parse
from agent.cmp.possession import sign_request
from agent.cmp.protection import MacParameters, MacProtector, ProtectionRules, Protector, SignatureProtector
from agent.cmp.request import wanted_extensions

SECRET = b"3gpp-secret"
SUBJECT = names.name_from_text("CN=enb-4711.ran.operator.example,O=Operator")
ROUNDS = 200


class Key:
    """A P-256 key in memory."""

    schemes = ("ecdsa-sha256",)

    def __init__(self) -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.public_key = self.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, data: bytes, _: str) -> bytes:
        return self.private.sign(data, ec.ECDSA(hashes.SHA256()))


def certificate_of(key: Key) -> bytes:
    name, now = names.parse_name(SUBJECT), datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.private.public_key(), 4711, now, now + timedelta(days=365))
    return builder.sign(key.private, hashes.SHA256()).public_bytes(Encoding.DER)


def bodies(key: Key, certificate: bytes) -> dict[str, Body]:
    """The four messages of an enrollment with explicit confirmation."""
    accepted = StatusInfo(status=0)
    template = CertTemplate(
        subject=SUBJECT,
        public_key=key.public_key,
        extensions=wanted_extensions([x509.DNSName("enb-4711.ran.operator.example")]),
    )
    digest, _ = certificate_hash(certificate)
    return {
        "ir": CertReqMessages(BodyType.IR, (sign_request(CertRequest(template=template), key),)),
        "ip": CertRepMessage(
            BodyType.IP, (CertResponse(cert_req_id=0, status=accepted, certificate=certificate),), (certificate,)
        ),
        "certConf": CertConfirm((CertStatus(cert_hash=digest, cert_req_id=0, status=accepted),)),
        "pkiConf": PkiConf(),
    }


def cpu(work: Callable[[], object]) -> float:
    """CPU milliseconds of one call: the best of five series, so that a busy machine disturbs less."""
    work()
    series = []
    for _ in range(5):
        started = time.process_time()
        for _ in range(ROUNDS // 5):
            work()
        series.append((time.process_time() - started) / (ROUNDS // 5) * 1000)
    return min(series)


def measure(
    title: str, protector: Protector, verify: Callable[[Message], object], extra_certs: tuple[bytes, ...]
) -> None:
    header = Header(
        sender=names.directory_name(SUBJECT),
        recipient=names.directory_name(SUBJECT),
        message_time=datetime.now(UTC).replace(microsecond=0),
        protection_alg=protector.algorithm,
        sender_kid=b"enb-4711",
        transaction_id=bytes(16),
        sender_nonce=bytes(16),
        recip_nonce=bytes(16),
    )
    print(f"  {title:24}{'octets':>8}{'build + protect':>18}{'parse + verify':>18}   (CPU ms)")
    for name, body in bodies(KEY, CERTIFICATE).items():

        def make(body: Body = body) -> bytes:
            return build(header, body, protect=protector.protect, extra_certs=extra_certs)

        octets = make()

        def take(octets: bytes = octets) -> object:
            message = parse(octets)
            verify(message)
            return message.body()

        print(f"  {name:24}{len(octets):8}{cpu(make):18.2f}{cpu(take):18.2f}")


KEY = Key()
CERTIFICATE = certificate_of(KEY)


def main() -> None:
    """Print the figures for both kinds of protection."""
    rules = ProtectionRules()
    for algorithm in ("pbm", "pbmac1"):
        parameters = MacParameters(algorithm=algorithm, salt=bytes(16))
        derive = cpu(lambda parameters=parameters: MacProtector(SECRET, parameters).protect(b""))  # type: ignore[misc]
        print(f"  {algorithm}, {parameters.iterations} iterations: key {derive:.2f} ms")
        # As few iterations as are allowed: what is left is the message.
        cheap = MacParameters(algorithm=algorithm, iterations=rules.minimum_iterations, salt=bytes(16))
        measure(
            f"{algorithm}, {cheap.iterations} iterations",
            MacProtector(SECRET, cheap),
            lambda message: protection.verify_mac(message, SECRET, rules),
            (),
        )
    measure(
        "ECDSA with P-256",
        SignatureProtector(KEY),
        lambda message: protection.verify_signature(message, KEY.private.public_key(), rules),
        (CERTIFICATE,),
    )


if __name__ == "__main__":
    main()
