"""Certificates that come along with answers: raw material for paths, trusted for nothing but what a path proves.

extraCerts are not protected: anybody on the way can add, drop and reorder them. So rubbish among them is left out
instead of being an error, lists stay bounded, and what was proven stands before what was not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding

from agent.cmp.certificates import load_all, read, signature_verifies
from agent.cmp.sizes import MAXIMUM_ALONG, MAXIMUM_CERTIFICATES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography.x509 import Certificate


def roots(octets: Iterable[bytes]) -> tuple[bytes, ...]:
    """Return those that can be trust anchors: self-signed CA certificates (RFC 9483 4.1.1); expired ones too."""
    facts = map(read, load_all(octets))
    return tuple(one.octets for one in facts if one.is_ca and one.self_issued and signature_verifies(one, one))


def merged(*lists: Iterable[bytes], room: int = MAXIMUM_ALONG) -> tuple[bytes, ...]:
    """Return all of ``lists`` without repeats, the most valuable list first; what is too many or too large is left out.

    ``room`` is in octets. All of it is kept in every snapshot, and anybody may add to it.
    """
    kept: list[bytes] = []
    for one in dict.fromkeys(one for octets in lists for one in octets):
        if len(one) <= room and len(kept) < MAXIMUM_CERTIFICATES:
            kept.append(one)
            room -= len(one)
    return tuple(kept)


def der_of(certificates: Iterable[Certificate]) -> tuple[bytes, ...]:
    """Return the DER of ``certificates``."""
    return tuple(one.public_bytes(Encoding.DER) for one in certificates)
