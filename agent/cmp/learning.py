"""Trust anchors that come with the first answer, where the configuration knows none and says what to believe.

Two sources, each an explicit choice. caPubs of an answer that a MAC protects: whoever knew the one-time secret sent it
(RFC 9810 5.3.2). Or the root among extraCerts of the first ip, for devices that were given no root of the operator
(TS 33.310 9.5.4.3): nothing proves that one, since extraCerts are not protected and a signature only proves what its
own root says. What is learned binds the rest of the transaction, and is kept with the certificate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.cmp import material
from agent.cmp.certificates import load_all, read
from agent.cmp.messages import BodyType
from agent.cmp.protection import Kind
from agent.cmp.sizes import MAXIMUM_LEARNED
from agent.cmp.terms import Source
from agent.digest import sha256

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography.x509 import Certificate

    from agent.cmp.memory import Memory
    from agent.cmp.messages import Message
    from agent.cmp.peer import Proof
    from agent.cmp.terms import Terms

_TEACHES: Final = frozenset({BodyType.IP, BodyType.CP})
"""Answers whose caPubs may bring anchors: not kup, which must have none (RFC 9483 4.1.3)."""


def provisional(message: Message, memory: Memory, terms: Terms) -> tuple[Certificate, ...]:
    """Return the roots that ``message`` brings and may be verified with; () unless it is an ip that may bring its own.

    Once something is trusted, configured or learned from an earlier message, no other root gets this far.
    """
    if (
        not _learns(terms, Source.EXTRA_CERTS)
        or terms.rules.anchors
        or memory.learned
        or message.type is not BodyType.IP
    ):
        return ()
    return load_all(_pinned(material.roots(message.extra_certs), terms))


def bound(proof: Proof, memory: Memory, candidates: Iterable[Certificate]) -> tuple[bytes, ...]:
    """Return what is trusted for the rest of the transaction, after ``proof``: the one root it ends in, if new."""
    if proof.path and proof.path[-1] in set(candidates):
        return material.der_of(proof.path[-1:])
    return memory.learned


def from_body(
    ca_pubs: tuple[bytes, ...], kind: BodyType, proof: Proof, memory: Memory, terms: Terms
) -> tuple[bytes, ...]:
    """Return what is trusted after the caPubs of a certificate response of ``kind``, which ``proof`` protects."""
    by_secret = _learns(terms, Source.CA_PUBS) and proof.kind is Kind.MAC
    # Its signer stands under the root that this very transaction took on trust: his word is worth as much.
    by_root = _learns(terms, Source.EXTRA_CERTS) and proof.kind is Kind.SIGNATURE and bool(memory.learned)
    if kind in _TEACHES and (by_secret or by_root):
        return material.merged(memory.learned, _pinned(material.roots(ca_pubs), terms), room=MAXIMUM_LEARNED)
    return memory.learned


def _learns(terms: Terms, source: Source) -> bool:
    return terms.learning is not None and terms.learning.source is source


def _pins(terms: Terms) -> frozenset[bytes]:
    return terms.learning.root_pins if terms.learning else frozenset()


def _pinned(roots: tuple[bytes, ...], terms: Terms) -> tuple[bytes, ...]:
    pins = _pins(terms)
    if not pins:
        return roots
    return tuple(one.octets for one in map(read, load_all(roots)) if sha256(one.spki).digest() in pins)
