"""PKIMessage as frozen dataclasses (RFC 9810 section 5): header, bodies, and how a message is taken apart.

Taking apart has two steps on purpose: :func:`parse` passes the strict gate, cuts the octets and reads the header
only; :meth:`Message.body` reads the body, and is called after the protection over the received octets is verified.
Names, keys, certificates, algorithm identifiers and extensions are complete DER values in ``bytes``.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Final

from agent.cmp import asn1, der
from agent.cmp.enclosed import enclosed_lists
from agent.cmp.header import (
    NULL_DN,
    PVNO_2,
    PVNO_3,
    Header,
    InfoTypeAndValue,
    generalized_time,
    moment,
    read_header,
    read_infos,
    write_header,
    write_infos,
)
from agent.cmp.sizes import MAXIMUM_CERTIFICATES
from agent.frozen import frozen

if TYPE_CHECKING:
    from agent.cmp.bodies import Body

__all__ = [
    "NULL_DN",
    "PVNO_2",
    "PVNO_3",
    "BodyType",
    "Header",
    "Info",
    "InfoTypeAndValue",
    "Message",
    "build",
    "generalized_time",
    "moment",
    "parse",
    "read_infos",
    "write_infos",
]


class BodyType(IntEnum):
    """Arms of PKIBody; the number is the context tag (RFC 9810 5.1.2)."""

    IR = 0
    IP = 1
    CR = 2
    CP = 3
    P10CR = 4
    POPDECC = 5
    POPDECR = 6
    KUR = 7
    KUP = 8
    KRR = 9
    KRP = 10
    RR = 11
    RP = 12
    CCR = 13
    CCP = 14
    CKUANN = 15
    CANN = 16
    RANN = 17
    CRLANN = 18
    PKICONF = 19
    NESTED = 20
    GENM = 21
    GENP = 22
    ERROR = 23
    CERTCONF = 24
    POLLREQ = 25
    POLLREP = 26

    @property
    def label(self) -> str:
        """The name as the RFC spells it."""
        return {"PKICONF": "pkiconf", "CERTCONF": "certConf", "POLLREQ": "pollReq", "POLLREP": "pollRep"}.get(
            self.name, self.name.lower()
        )


class Info(StrEnum):
    """OIDs of InfoTypeAndValue that we use: id-it (RFC 9810 5.3.19)."""

    IMPLICIT_CONFIRM = "1.3.6.1.5.5.7.4.13"
    CONFIRM_WAIT_TIME = "1.3.6.1.5.5.7.4.14"
    CURRENT_CRL = "1.3.6.1.5.5.7.4.6"
    CA_CERTS = "1.3.6.1.5.5.7.4.17"
    ROOT_CA_KEY_UPDATE = "1.3.6.1.5.5.7.4.18"
    CERT_REQ_TEMPLATE = "1.3.6.1.5.5.7.4.19"
    ROOT_CA_CERT = "1.3.6.1.5.5.7.4.20"
    CERT_PROFILE = "1.3.6.1.5.5.7.4.21"
    CRL_STATUS_LIST = "1.3.6.1.5.5.7.4.22"
    CRLS = "1.3.6.1.5.5.7.4.23"


@frozen(kw_only=True)
class Message:
    """A received PKIMessage: header read, body still octets.

    ``protected_part`` is the DER of ProtectedPart over the octets as received; ``extra_certs`` are not protected.
    """

    header: Header
    type: BodyType
    body_octets: bytes
    protected_part: bytes
    protection: bytes | None
    extra_certs: tuple[bytes, ...]

    def body(self) -> Body:
        """Read the body.

        Raises:
            MalformedMessage: when it does not fit its type.
        """
        from agent.cmp import codec  # noqa: PLC0415 - the codec is built on this module

        return codec.decode(self.type, self.body_octets)


def parse(octets: bytes, limits: der.Limits = der.LIMITS) -> Message:
    """Check ``octets`` against ``limits`` and canonical DER, cut them, and read the header.

    Raises:
        MalformedMessage: when they are not one PKIMessage.
    """
    der.check(octets, limits, enclosed_lists(octets))
    outer = der.read(octets)
    parts = der.children(octets, outer) if outer.tag == der.SEQUENCE else []
    if not 2 <= len(parts) <= 4:  # noqa: PLR2004 - header, body, protection, extraCerts
        raise der.malformed("it does not have the parts of a PKIMessage")
    header, body, *rest = parts
    number = body.tag - _CONTEXT
    if number not in BodyType.__members__.values() or len(der.children(octets, body)) != 1:
        raise der.malformed(f"its body (tag {body.tag:#04x}) is none of a PKIMessage")
    protection, extra_certs = _read_trailer(octets, rest)
    return Message(
        header=read_header(octets[header.start : header.end]),
        type=BodyType(number),
        body_octets=octets[body.contents : body.end],
        protected_part=der.wrap(der.SEQUENCE, octets[header.start : header.end], octets[body.start : body.end]),
        protection=protection,
        extra_certs=extra_certs,
    )


def build(
    header: Header, body: Body, *, protect: Callable[[bytes], bytes] | None = None, extra_certs: tuple[bytes, ...] = ()
) -> bytes:
    """Return the DER of a PKIMessage.

    ``protect`` gets the DER of ProtectedPart and returns the protection octets; ``header`` must already name the
    algorithm it uses. An empty ``extra_certs`` is left out, never sent as an empty list (RFC 9810 5.1).

    Raises:
        LocalError: when header or body hold what cannot be encoded.
    """
    from agent.cmp import codec  # noqa: PLC0415 - the codec is built on this module

    number, contents = codec.encode(body)
    covered = (write_header(header), der.wrap(_CONTEXT | number, contents))
    trailer = b""
    if protect is not None:
        bits = der.wrap(der.BIT_STRING, b"\x00", protect(der.wrap(der.SEQUENCE, *covered)))
        trailer += der.wrap(_CONTEXT, bits)
    if extra_certs:
        trailer += der.wrap(_CONTEXT | 1, der.wrap(der.SEQUENCE, *extra_certs))
    return der.wrap(der.SEQUENCE, *covered, trailer)


_CONTEXT: Final = 0xA0
"""Tag [0], explicit; the number is added."""


def _read_trailer(octets: bytes, rest: list[der.Element]) -> tuple[bytes | None, tuple[bytes, ...]]:
    # By position, not by tag alone: the body of an ir has the tag of the protection.
    protection: bytes | None = None
    extra_certs: tuple[bytes, ...] = ()
    for position, part in enumerate(rest):
        contents = octets[part.contents : part.end]
        if part.tag == _CONTEXT and position == 0:
            bits = der.unwrap(contents, der.BIT_STRING)
            if bits[0]:
                raise der.malformed("its protection is not a whole number of octets")
            protection = bits[1:]
        elif part.tag == _CONTEXT | 1 and position == len(rest) - 1:
            extra_certs = tuple(asn1.items(contents, MAXIMUM_CERTIFICATES))
        else:
            raise der.malformed(f"an unexpected part with tag {part.tag:#04x} follows its body")
    return protection, extra_certs
