"""What is tried with each peer, as a table: operation, protection, kind of key, and how it goes.

The tests of the peers run exactly these, ``python -m tests.interop.report`` records which passed, and docs/interop.md
shows them. Other tests in this folder look closer at single things.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final


class Peer(StrEnum):
    """Who is on the other side, and in which direction requests go."""

    OPENSSL_SERVER = "the agent asks OpenSSL's server (`openssl cmp -port`)"
    OPENSSL_CLIENT = "OpenSSL's client (`openssl cmp`) asks the lab CA"
    BOUNCY_CASTLE = "the agent asks a CA that stands on Bouncy Castle"


class Course(StrEnum):
    """How a transaction goes and ends; the value stands in the document."""

    PLAIN = "granted and confirmed"
    POLLED = "granted after polling, confirmed"
    IMPLICIT = "granted, confirmation left out"
    REJECTED = "rejected, nothing installed"
    ERROR = "answered by an error message, nothing installed"
    REVOKED = "revoked"
    ANSWERED = "answered"
    OLD_ONE = "kup verified; refused, since this server can only hand out the old certificate again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """How messages are protected: ``mac`` by settings of an authority, or a key of ``kind`` that signs ``scheme``."""

    name: str
    mac: tuple[tuple[str, Any], ...] = ()
    kind: str = ""
    scheme: str = ""

    @property
    def by_mac(self) -> bool:
        """Whether a shared secret protects."""
        return bool(self.mac)


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """One thing that is tried. ``key`` is the kind of key in the certificate that it is about; none for genm."""

    peer: Peer
    operation: str
    protection: Protection
    key: str
    course: Course = Course.PLAIN
    answers: Protection | None = None
    """How answers are protected where it matters; otherwise as the peer likes, by the same kind."""

    @property
    def id(self) -> str:
        """The name of the test, and of the row in the record."""
        course = "" if self.course is Course.PLAIN else self.course.name.lower()
        answers = self.answers.name if self.answers else ""
        words = (self.peer.name, self.operation, self.protection.name, self.key, answers, course)
        return re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")


def _pbm(one_way_function: str, mac: str, iterations: int = 1000) -> Protection:
    settings = {"algorithm": "pbm", "one-way-function": one_way_function, "mac": mac, "iterations": iterations}
    return Protection(name=f"PasswordBasedMac, {one_way_function}, {mac}", mac=tuple(settings.items()))


def _pbmac1(hash_: str) -> Protection:
    settings = {"algorithm": "pbmac1", "one-way-function": hash_, "mac": f"hmac-{hash_}", "iterations": 1000}
    return Protection(name=f"PBMAC1, hmac-{hash_}", mac=tuple(settings.items()))


def _signature(name: str, kind: str, scheme: str = "") -> Protection:
    return Protection(name=f"signature, {name}", kind=kind, scheme=scheme)


PBM: Final = _pbm("sha256", "hmac-sha256")
_PBMS: Final = (
    *(_pbm(f"sha{bits}", f"hmac-sha{bits}") for bits in (256, 384, 512)),
    _pbm("sha256", "hmac-sha1"),
    _pbm("sha512", "hmac-sha256"),
)
PBM_WITH_SHA1: Final = _pbm("sha1", "hmac-sha1-ietf")
_PKCS1: Final = _signature("RSA PKCS #1", "rsa-2048")
PSS: Final = _signature("RSA PSS", "rsa-2048", "rsa-pss-sha256")
_P256: Final = _signature("ECDSA P-256", "ec-p256")
_P384, _P521 = _signature("ECDSA P-384", "ec-p384"), _signature("ECDSA P-521", "ec-p521")
_ED25519, _ED448 = _signature("Ed25519", "ed25519"), _signature("Ed448", "ed448")
_SIGNATURES: Final = (_PKCS1, PSS, _P256, _P384, _P521, _ED25519, _ED448)
_ONE_OF_EACH: Final = (_PKCS1, _P256, _ED25519)
_EITHER: Final = (PBM, _P256)
_NO_KEY: Final = ""
_KEYS: Final = tuple(dict.fromkeys(one.kind for one in _SIGNATURES))


def _of(
    peer: Peer,
    operations: tuple[str, ...],
    protections: tuple[Protection, ...],
    key: str | None = None,
    course: Course = Course.PLAIN,
) -> tuple[Combination, ...]:
    """Return every operation under every protection; without ``key`` it is of the kind that signs."""
    return tuple(
        Combination(
            peer=peer,
            operation=operation,
            protection=protection,
            key=(protection.kind or "ec-p256") if key is None else key,
            course=course,
        )
        for operation in operations
        for protection in protections
    )


def _openssl_server() -> tuple[Combination, ...]:
    peer = Peer.OPENSSL_SERVER
    return (
        *_of(peer, ("ir", "cr", "p10cr"), (PBM,)),
        *(one for key in _KEYS if key != "ec-p256" for one in _of(peer, ("ir",), (PBM,), key)),
        *_of(peer, ("ir",), tuple(one for one in _PBMS if one != PBM)),
        *_of(peer, ("ir",), _SIGNATURES),
        *_of(peer, ("cr", "p10cr"), _ONE_OF_EACH),
        *_of(peer, ("kur",), _ONE_OF_EACH, course=Course.OLD_ONE),
        *_of(peer, ("rr",), (_PKCS1, _P256, _P384, _P521, _ED25519, _ED448), course=Course.REVOKED),
        *_of(peer, ("genm",), _EITHER, _NO_KEY, Course.ANSWERED),
        *_of(peer, ("ir",), _EITHER, course=Course.POLLED),
        *_of(peer, ("p10cr",), (PBM,), course=Course.POLLED),
        *_of(peer, ("ir",), _EITHER, course=Course.IMPLICIT),
        *_of(peer, ("ir",), _EITHER, course=Course.REJECTED),
        *_of(peer, ("ir", "cr", "p10cr"), _EITHER, course=Course.ERROR),
    )


def _openssl_client() -> tuple[Combination, ...]:
    peer = Peer.OPENSSL_CLIENT
    # The command cannot be told to use PSS, and OpenSSL 3.0 protects no message by EdDSA: it insists on a digest.
    by_client = (_PKCS1, _P256, _P384, _P521)
    return (
        *_of(peer, ("ir", "cr", "p10cr", "kur"), _EITHER),
        *_of(peer, ("ir",), tuple(one for one in _PBMS if one != PBM)),
        *_of(peer, ("ir", "kur"), tuple(one for one in by_client if one != _P256)),
        *(one for key in _KEYS if key != "ec-p256" for one in _of(peer, ("ir", "p10cr"), (PBM,), key)),
        *(replace(one, answers=by) for by in (PSS, _ED25519) for one in _of(peer, ("ir",), (_P256,))),
        *_of(peer, ("rr",), (PBM, *by_client), course=Course.REVOKED),
        *_of(peer, ("genm",), _EITHER, _NO_KEY, Course.ANSWERED),
        *_of(peer, ("ir", "cr"), _EITHER, course=Course.POLLED),
        *_of(peer, ("ir",), _EITHER, course=Course.IMPLICIT),
        *_of(peer, ("ir", "p10cr"), _EITHER, course=Course.REJECTED),
        *_of(peer, ("ir",), (_P256,), course=Course.ERROR),
    )


def _bouncy_castle() -> tuple[Combination, ...]:
    peer = Peer.BOUNCY_CASTLE
    return (
        *_of(peer, ("ir", "cr", "p10cr"), (PBM,)),
        *_of(
            peer, ("ir",), (*(one for one in _PBMS if one != PBM), PBM_WITH_SHA1, _pbmac1("sha256"), _pbmac1("sha512"))
        ),
        *_of(peer, ("ir", "kur"), _SIGNATURES),
        *_of(peer, ("cr", "p10cr"), _ONE_OF_EACH),
        *_of(peer, ("rr",), _ONE_OF_EACH, course=Course.REVOKED),
        *_of(peer, ("ir", "p10cr"), (PBM,), course=Course.POLLED),
        *_of(peer, ("ir",), _EITHER, course=Course.IMPLICIT),
    )


COMBINATIONS: Final = (*_openssl_server(), *_openssl_client(), *_bouncy_castle())


def of(peer: Peer) -> list[Combination]:
    """Return what is tried with one peer."""
    return [one for one in COMBINATIONS if one.peer is peer]
