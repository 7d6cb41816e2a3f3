"""CPU time of one message: building with protection, and parsing with verification, for a whole enrollment.

    python tests/benchmarks/bench_messages.py

The figures are of this machine; what counts is how they stand to each other, and to the few milliseconds of a
signature. ``key`` is what deriving the MAC's key takes, once a transaction and side. Where the time goes is said by
Python's profiler, by the package that it is spent in.
"""

from __future__ import annotations

import cProfile
import pstats
import statistics
import sys
import time
from collections import Counter
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
from tests.benchmarks.tables import command_line, table

SECRET = b"3gpp-secret"
SUBJECT = names.name_from_text("CN=enb-4711.ran.operator.example,O=Operator")
SERIES = 12
CALLS = 25


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
    """CPU milliseconds of one call: the median of a dozen series."""
    work()
    series = []
    for _ in range(SERIES):
        started = time.process_time()
        for _ in range(CALLS):
            work()
        series.append((time.process_time() - started) / CALLS * 1000)
    return statistics.median(series)


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
    rows = []
    profile = cProfile.Profile()
    for name, body in bodies(KEY, CERTIFICATE).items():

        def make(body: Body = body) -> bytes:
            return build(header, body, protect=protector.protect, extra_certs=extra_certs)

        octets = make()

        def take(octets: bytes = octets) -> object:
            message = parse(octets)
            verify(message)
            return message.body()

        rows.append((name, str(len(octets)), f"{cpu(make):.2f}", f"{cpu(take):.2f}"))
        with profile:
            for _ in range(CALLS):
                make()
                take()
    print(f"{table((title, 'octets', 'build + protect, CPU ms', 'parse + verify, CPU ms'), rows)}")
    print(f"where it goes: {', '.join(shares(profile))}\n")


def shares(profile: cProfile.Profile) -> list[str]:
    """Say what part of the time is spent in which package, the largest first."""
    spent: Counter[str] = Counter()
    for (file, _, name), (_, _, own, _, callers) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        if file != "~":
            spent[place_of(file)] += own
        elif any(word in name for word in ("_hashlib", "hmac", "HASH", "cryptography")):
            spent["cryptography and hashes"] += own
        else:  # written in C: it counts for whoever called it
            for (caller, _, _), (_, _, part, _) in callers.items():
                spent[place_of(caller)] += part
    whole = sum(spent.values())
    return [f"{place} {part / whole:.0%}" for place, part in spent.most_common(5)]


def place_of(file: str) -> str:
    """Name the package that a file belongs to."""
    for package in ("pyasn1", "cryptography", "agent/cmp/der", "agent/cmp"):
        if f"/{package}" in file:
            return package.replace("/", ".").replace("agent.cmp.der", "our DER reader")
    return "the standard library"


KEY = Key()
CERTIFICATE = certificate_of(KEY)


def main() -> None:
    """Print the figures for both kinds of protection."""
    rules = ProtectionRules()
    print(f"one message, median of {SERIES} series ({command_line()})")
    for algorithm in ("pbm", "pbmac1"):
        parameters = MacParameters(algorithm=algorithm, salt=bytes(16))
        derive = cpu(lambda parameters=parameters: MacProtector(SECRET, parameters).protect(b""))  # type: ignore[misc]
        print(f"{algorithm}, {parameters.iterations} iterations: key {derive:.2f} ms")
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
