"""CRLs inside a message: values with a cap of their own, which the strict gate does not walk through.

A CRL has an entry for every certificate that was revoked, seven values each: within the caps on a message there is room
for some three thousand. The protection of the message covers it, and whoever reads it (:mod:`agent.cmp.revocation`)
does so as if it had been fetched, with a library that takes a hundred thousand entries at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.cmp import der
from agent.cmp.errors import MalformedMessage
from agent.cmp.sizes import MAXIMUM_CERTIFICATES, MAXIMUM_LIST, SMALLER_LISTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.cmp.der import Element

_RP, _GENP = 0xA0 | 12, 0xA0 | 22
_CRLS_IN_RP: Final = 0xA1
_CRLS: Final = der.wrap(der.OBJECT_IDENTIFIER, der.oid_contents("1.3.6.1.5.5.7.4.23"))
"""id-it-crls (RFC 9810 5.3.19.16)."""
_MOST: Final = 64
"""Parts of a body that are looked at; honest ones have three at the most."""


def enclosed_lists(octets: bytes) -> tuple[Element, ...]:
    """Return the CRLs in ``octets``, of which nothing is known yet; () where that is no message that can hold any.

    Raises:
        MalformedMessage: they are larger than what is read of CRLs.
    """
    try:
        found = tuple(_found(octets))
    except MalformedMessage:
        return ()  # the gate says what is wrong with it
    size = sum(one.end - one.start for one in found)
    if size > MAXIMUM_LIST:
        raise MalformedMessage(
            f"the answer brings CRLs of {size} octets, more than the cap of {MAXIMUM_LIST}", remedy=SMALLER_LISTS
        )
    return found


def _found(octets: bytes) -> Iterator[Element]:
    parts = der.first_children(octets, der.read(octets), 2)
    if len(parts) < 2 or parts[1].tag not in _PLACES:  # noqa: PLR2004 - header and body
        return
    for content in _sequences(octets, parts[1], 1):
        for part in der.first_children(octets, content, _MOST):
            for value in _PLACES[parts[1].tag](octets, part):
                yield from _sequences(octets, value, MAXIMUM_CERTIFICATES)


def _in_general(octets: bytes, info: Element) -> list[Element]:
    """Return the value of an InfoTypeAndValue, if that is a list of CRLs."""
    kind, *value = (der.first_children(octets, info, 2) if info.tag == der.SEQUENCE else []) or [info]
    return [one for one in value if one.tag == der.SEQUENCE and octets[kind.start : kind.end] == _CRLS]


def _in_revocation(octets: bytes, part: Element) -> list[Element]:
    """Return the list of CRLs, if it is in this part of RevRepContent."""
    return _sequences(octets, part, 1) if part.tag == _CRLS_IN_RP else []


def _sequences(octets: bytes, parent: Element, most: int) -> list[Element]:
    """Return the SEQUENCEs directly inside ``parent``; what is none is left to the gate."""
    return [one for one in der.first_children(octets, parent, most) if one.tag == der.SEQUENCE]


_PLACES: Final[dict[int, Callable[[bytes, Element], list[Element]]]] = {_RP: _in_revocation, _GENP: _in_general}
"""Which part of a body has CRLs in it, by the tag of the body."""
