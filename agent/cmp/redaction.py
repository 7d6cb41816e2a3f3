"""A message that may be given away: the octets that a shared secret made are taken out, everything else stays.

Whoever has a message with its MAC can try secrets at his leisure, and one-time secrets are often short enough for that.
So the protection of MAC-protected messages goes (its parameters, salt and iterations tell nothing), and so does
whatever else a secret makes or is: publicKeyMAC in a proof of possession, and the regToken and authenticator controls
(RFC 4211 4.1, 6.1, 6.2). The result is DER with the same structure; it no longer verifies, of course.
"""

from __future__ import annotations

from typing import Final

from agent.cmp import der
from agent.cmp.protection import PASSWORD_BASED_MAC, PBMAC1

_DH_BASED_MAC: Final = "1.2.840.113533.7.66.30"
_MACS: Final = frozenset({PASSWORD_BASED_MAC, PBMAC1, _DH_BASED_MAC})
_REGISTRATION_TOKEN: Final = "1.3.6.1.5.5.7.5.1.1"  # noqa: S105 - an OID
_AUTHENTICATOR: Final = "1.3.6.1.5.5.7.5.1.2"
_CHALLENGE_PASSWORD: Final = "1.2.840.113549.1.9.7"  # noqa: S105 - an OID
_SECRETS: Final = frozenset({_REGISTRATION_TOKEN, _AUTHENTICATOR, _CHALLENGE_PASSWORD})
_CONSTRUCTED: Final = 0x20
_OID: Final = 0x06
_UTF8: Final = 0x0C
_CONTEXT: Final = 0xA0
_SET: Final = 0x31
_HIGH_TAG: Final = 0x1F
_PROTECTION_ALG: Final = _CONTEXT | 1
_REMOVED: Final = der.wrap(_UTF8, b"removed")
_NO_BITS: Final = der.wrap(der.BIT_STRING, b"\x00")


def without_macs(message: bytes) -> bytes:
    """Return the DER ``message`` without anything that a shared secret made.

    Raises:
        MalformedMessage: it is no canonical DER; then nobody can say what is in it, and it should not be given away.
    """
    der.check(message)
    parts = der.values(message)
    if not parts:
        raise der.malformed("it is empty")
    rest = [_cleaned(one) for one in parts]
    # The protection stands beside the header that names its algorithm: header, body, [0] protection, [1] extraCerts.
    if _by_mac(parts[0]):
        rest = [*rest[:2], *(_unprotected(one) for one in rest[2:])]
    return der.wrap(message[0], *rest)


def _unprotected(part: bytes) -> bytes:
    return der.wrap(_CONTEXT, _NO_BITS) if part[0] == _CONTEXT else part


def _by_mac(header: bytes) -> bool:
    """Tell whether the header's protectionAlg is a MAC; one that cannot be read counts as one."""
    if header[0] != der.SEQUENCE:
        return True
    named = [one for one in der.values(header) if one[0] == _PROTECTION_ALG]
    algorithms = [_algorithm(der.unwrap(one, _PROTECTION_ALG)) for one in named]
    return not algorithms or any(one is None or one in _MACS for one in algorithms)


def _algorithm(value: bytes) -> str | None:
    """Return the OID of an AlgorithmIdentifier; None when ``value`` is none."""
    if value[:1] != bytes((der.SEQUENCE,)):
        return None
    first = next(iter(der.values(value)), b"\x00")
    return der.oid(der.unwrap(first, _OID)) if first[0] == _OID else None


def _cleaned(value: bytes) -> bytes:
    """Return ``value`` with every secret's work inside it taken out."""
    if not value[0] & _CONSTRUCTED:
        return value
    if value[0] & _HIGH_TAG == _HIGH_TAG:
        raise der.malformed("it holds a tag of several octets, which no CMP message has")
    inner = der.values(value)
    if _is_mac_value(inner):  # PKMACValue
        return der.wrap(value[0], _cleaned(inner[0]), _NO_BITS)
    if len(inner) >= 2 and inner[0][0] == _OID and der.oid(der.unwrap(inner[0], _OID)) in _SECRETS:  # noqa: PLR2004
        gone = (der.wrap(_SET, _REMOVED) if one[0] == _SET else _REMOVED for one in inner[1:])
        return der.wrap(value[0], inner[0], *gone)
    return der.wrap(value[0], *(_cleaned(one) for one in inner))


def _is_mac_value(inner: list[bytes]) -> bool:
    return len(inner) == 2 and inner[1][0] == der.BIT_STRING and _algorithm(inner[0]) in _MACS  # noqa: PLR2004
