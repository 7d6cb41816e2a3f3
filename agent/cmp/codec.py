"""Bodies of a PKIMessage to octets and back: one table, BodyType -> reader and writer.

The table is written by family: :mod:`agent.cmp.codec_enrollment`, :mod:`agent.cmp.codec_support`.

Readers take the DER of a body without its outer context tag, already through the strict gate; they raise
``MalformedMessage`` for what does not fit. Writers return such DER.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.cmp import codec_enrollment, codec_support
from agent.cmp.bodies import Body, Unread
from agent.cmp.crmf import decode_cert_id, decode_template, encode_cert_id, encode_request, encode_template
from agent.cmp.errors import defect

if TYPE_CHECKING:
    from agent.cmp.messages import BodyType

__all__ = [
    "decode",
    "decode_cert_id",
    "decode_template",
    "encode",
    "encode_cert_id",
    "encode_request",
    "encode_template",
]

_CODECS: Final = codec_enrollment.CODECS | codec_support.CODECS


def encode(body: Body) -> tuple[BodyType, bytes]:
    """Return the type of ``body`` and its DER without the outer context tag.

    Raises:
        LocalError: when the body cannot be built, or carries a type that is not its own.
    """
    if isinstance(body, Unread):
        return body.type, body.octets
    codec = _CODECS.get(body.type)
    if codec is None or not isinstance(body, codec.body):
        raise defect(f"a {type(body).__name__} cannot be sent as {body.type.label}")
    return body.type, codec.write(body)


def decode(kind: BodyType, octets: bytes) -> Body:
    """Read the DER of a body without its outer context tag.

    Raises:
        MalformedMessage: when it does not fit.
    """
    codec = _CODECS.get(kind)
    if codec is None:
        return Unread(kind, octets)
    body: Body = codec.read(kind, octets)
    return body
