"""Certificates and CRLs of the lab CA, put together from octets and signed (RFC 5280 sections 4 and 5)."""

from __future__ import annotations

import secrets
from dataclasses import field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agent.cmp import algorithms, der
from agent.frozen import frozen
from agent.labca import encoding
from agent.labca.encoding import Extension
from agent.labca.keys import LabKey, key_identifier

SUBJECT_KEY_IDENTIFIER: Final = "2.5.29.14"
KEY_USAGE: Final = "2.5.29.15"
SUBJECT_ALTERNATIVE_NAME: Final = "2.5.29.17"
BASIC_CONSTRAINTS: Final = "2.5.29.19"
CRL_NUMBER: Final = "2.5.29.20"
REASON_CODE: Final = "2.5.29.21"
CRL_DISTRIBUTION_POINTS: Final = "2.5.29.31"
AUTHORITY_KEY_IDENTIFIER: Final = "2.5.29.35"
EXTENDED_KEY_USAGE: Final = "2.5.29.37"

CMC_RA: Final = "1.3.6.1.5.5.7.3.28"
DIGITAL_SIGNATURE, KEY_CERT_SIGN, CRL_SIGN = 0, 5, 6

_VERSION_3: Final = bytes.fromhex("a003020102")
_URI: Final = 0x86


@frozen
class Credential:
    """A certificate and its key. ``chain`` are the certificates above it, its issuer first, the root left out."""

    certificate: bytes
    key: LabKey
    chain: tuple[bytes, ...] = ()
    loaded: x509.Certificate = field(init=False, compare=False, repr=False)
    subject: bytes = field(init=False, compare=False, repr=False)
    """DER Name."""
    key_identifier: bytes = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Read what every answer needs, once."""
        loaded = x509.load_der_x509_certificate(self.certificate)
        object.__setattr__(self, "loaded", loaded)
        object.__setattr__(self, "subject", loaded.subject.public_bytes())
        object.__setattr__(self, "key_identifier", key_identifier(self.key.public_key))

    @property
    def pem(self) -> bytes:
        """The certificate in PEM."""
        return self.loaded.public_bytes(Encoding.PEM)


@frozen(kw_only=True)
class Plan:
    """Everything that will be in a certificate. ``subject`` and ``public_key`` are DER; misbehaviour edits this."""

    serial: int
    subject: bytes
    public_key: bytes
    not_before: datetime
    not_after: datetime
    extensions: tuple[Extension, ...] = ()

    def extension(self, oid: str) -> Extension | None:
        """Return the extension ``oid``."""
        return next((one for one in self.extensions if one.oid == oid), None)


def new_serial() -> int:
    """Return a serial number of 20 random octets: positive, as RFC 5280 4.1.2.2 allows at most."""
    return secrets.randbits(158) | 1 << 158


def sign(plan: Plan, issuer: Credential | None, key: LabKey | None = None) -> bytes:
    """Return the DER of the planned certificate, issued by ``issuer``; self-signed with ``key`` when there is none."""
    signing_key = issuer.key if issuer else key
    assert signing_key is not None  # noqa: S101 - one of the two is always given
    scheme = signing_key.schemes[0]
    algorithm = algorithms.signature_identifier(algorithms.SIGNATURES[scheme])
    identifiers = (
        Extension(SUBJECT_KEY_IDENTIFIER, critical=False, value=encoding.octet_string(key_identifier(plan.public_key))),
        Extension(
            AUTHORITY_KEY_IDENTIFIER,
            critical=False,
            value=der.wrap(der.SEQUENCE, der.wrap(0x80, key_identifier(signing_key.public_key))),
        ),
    )
    tbs = der.wrap(
        der.SEQUENCE,
        _VERSION_3,
        encoding.integer(plan.serial),
        algorithm,
        issuer.subject if issuer else plan.subject,
        der.wrap(der.SEQUENCE, encoding.time(plan.not_before), encoding.time(plan.not_after)),
        plan.subject,
        plan.public_key,
        der.wrap(0xA3, encoding.extensions((*plan.extensions, *identifiers))),
    )
    return der.wrap(der.SEQUENCE, tbs, algorithm, encoding.bit_string(signing_key.sign(tbs, scheme)))


def sign_crl(
    issuer: Credential,
    revoked: tuple[tuple[int, datetime, int], ...],
    number: int,
    this_update: datetime,
    next_update: datetime,
) -> bytes:
    """Return the DER of a CRL; ``revoked`` holds serial number, time and CRLReason of each revoked certificate."""
    scheme = issuer.key.schemes[0]
    algorithm = algorithms.signature_identifier(algorithms.SIGNATURES[scheme])
    entries = [
        der.wrap(
            der.SEQUENCE,
            encoding.integer(serial),
            encoding.time(when),
            # RFC 5280 5.3.1: "unspecified" is said by saying nothing.
            encoding.extensions((Extension(REASON_CODE, critical=False, value=encoding.enumerated(reason)),))
            if reason
            else b"",
        )
        for serial, when, reason in revoked
    ]
    extensions = (
        Extension(
            AUTHORITY_KEY_IDENTIFIER,
            critical=False,
            value=der.wrap(der.SEQUENCE, der.wrap(0x80, issuer.key_identifier)),
        ),
        Extension(CRL_NUMBER, critical=False, value=encoding.integer(number)),
    )
    tbs = der.wrap(
        der.SEQUENCE,
        encoding.integer(1),
        algorithm,
        issuer.subject,
        encoding.time(this_update),
        encoding.time(next_update),
        der.wrap(der.SEQUENCE, *entries) if entries else b"",
        der.wrap(0xA0, encoding.extensions(extensions)),
    )
    return der.wrap(der.SEQUENCE, tbs, algorithm, encoding.bit_string(issuer.key.sign(tbs, scheme)))


def authority_extensions(path_length: int | None = None) -> tuple[Extension, ...]:
    """Return the extensions of a CA certificate."""
    constraint = b"" if path_length is None else encoding.integer(path_length)
    return (
        Extension(BASIC_CONSTRAINTS, critical=True, value=der.wrap(der.SEQUENCE, b"\x01\x01\xff", constraint)),
        Extension(KEY_USAGE, critical=True, value=encoding.named_bits(DIGITAL_SIGNATURE, KEY_CERT_SIGN, CRL_SIGN)),
    )


def end_entity_extensions(*extended_key_usages: str) -> tuple[Extension, ...]:
    """Return the extensions of an end-entity certificate: digitalSignature, and the given extended key usages."""
    usage = Extension(KEY_USAGE, critical=True, value=encoding.named_bits(DIGITAL_SIGNATURE))
    if not extended_key_usages:
        return (usage,)
    purposes = der.wrap(der.SEQUENCE, *(encoding.oid(purpose) for purpose in extended_key_usages))
    return (usage, Extension(EXTENDED_KEY_USAGE, critical=False, value=purposes))


def crl_distribution_point(url: str) -> Extension:
    """Return the extension that says where the CRL is (RFC 5280 4.2.1.13)."""
    full_name = der.wrap(0xA0, der.wrap(0xA0, der.wrap(_URI, url.encode("ascii"))))
    return Extension(
        CRL_DISTRIBUTION_POINTS, critical=False, value=der.wrap(der.SEQUENCE, der.wrap(der.SEQUENCE, full_name))
    )


def whole_seconds(moment: datetime) -> datetime:
    """Return ``moment`` without fractions: certificates know none."""
    return moment.replace(microsecond=0)


def plan_for(subject: bytes, key: LabKey, now: datetime, life: timedelta, extensions: tuple[Extension, ...]) -> Plan:
    """Return a plan for a certificate of the lab itself (CA, RA, device)."""
    start = whole_seconds(now)
    return Plan(
        serial=new_serial(),
        subject=subject,
        public_key=key.public_key,
        not_before=start,
        not_after=start + life,
        extensions=extensions,
    )
