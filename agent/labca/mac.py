"""The MAC of a request, and answers made with the same parameters, each key derived only once.

Ten thousand hash calls take milliseconds; a transaction of four messages would pay them four times. The keys are
kept in memory by secret and parameters, which only a CA for tests and demonstrations may do.
"""

from __future__ import annotations

import hmac
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from agent.cmp import algorithms, der, protection
from agent.cmp.errors import CmpError
from agent.cmp.protection import MacParameters, MacProtector, ProtectionRules
from agent.labca import encoding

if TYPE_CHECKING:
    from agent.cmp.messages import Message


def verify(message: Message, secret: bytes, rules: ProtectionRules) -> None:
    """Pass if ``message`` is protected by a MAC made with ``secret``.

    Raises:
        ProtectionError: for a refused algorithm, parameters out of bounds, or a wrong MAC.
    """
    twin = mirrored(message.header.protection_alg or b"", secret, rules)
    made = twin.protect(message.protected_part) if twin is not None else b""
    if not hmac.compare_digest(made, message.protection or b"") or not made:
        # The slow way round knows more parameters, and says what is wrong.
        protection.verify_mac(message, secret, rules)


def mirrored(algorithm: bytes, secret: bytes, rules: ProtectionRules) -> MacProtector | None:
    """Return a protector with ``secret`` that writes exactly this AlgorithmIdentifier.

    None where it is not allowed by ``rules``, or where we would write another one.
    """
    parameters = _read(algorithm)
    if parameters is None or not _allowed(parameters, rules):
        return None
    found = protector(secret, parameters)
    return found if found.algorithm == algorithm else None


@lru_cache(maxsize=4096)
def protector(secret: bytes, parameters: MacParameters) -> MacProtector:
    """Return the one protector for ``secret`` and ``parameters``."""
    return MacProtector(secret, parameters)


def name(algorithm: bytes) -> str:
    """Return ``pbm`` or ``pbmac1`` for the AlgorithmIdentifier of a request."""
    return "pbmac1" if algorithms.parse_algorithm(algorithm)[0] == protection.PBMAC1 else "pbm"


def _allowed(parameters: MacParameters, rules: ProtectionRules) -> bool:
    derives_by_hmac = parameters.algorithm == "pbmac1"
    return (
        rules.minimum_iterations <= parameters.iterations <= rules.maximum_iterations
        and len(parameters.salt) <= rules.maximum_salt
        and (rules.legacy or derives_by_hmac or not algorithms.HASHES[parameters.one_way_function].legacy)
        and (rules.legacy or rules.legacy_mac or not algorithms.MACS[parameters.mac].legacy)
    )


@lru_cache(maxsize=1024)
def _read(algorithm: bytes) -> MacParameters | None:
    """Return the parameters in an AlgorithmIdentifier; None for those that MacParameters cannot express."""
    try:
        oid, parameters = algorithms.parse_algorithm(algorithm)
        reader = _READERS.get(oid)
        return reader(_parts(parameters)) if reader is not None and parameters is not None else None
    except (CmpError, ValueError):
        return None


def _parts(octets: bytes) -> list[bytes]:
    der.unwrap(octets)
    return [octets[one.start : one.end] for one in der.children(octets)]


def _read_pbm(parts: list[bytes]) -> MacParameters:
    salt, one_way_function, iterations, mac = parts  # RFC 4211 4.4
    return MacParameters(
        algorithm="pbm",
        one_way_function=algorithms.hash_algorithm(one_way_function).name,
        mac=algorithms.mac_algorithm(mac).name,
        iterations=encoding.read_integer(iterations),
        salt=encoding.read_octet_string(salt),
    )


def _read_pbmac1(parts: list[bytes]) -> MacParameters:
    derivation, mac = parts  # RFC 8018 A.5
    _, parameters = algorithms.parse_algorithm(derivation)
    salt, iterations, _, function = _parts(parameters or b"")  # RFC 8018 A.2
    return MacParameters(
        algorithm="pbmac1",
        one_way_function=algorithms.mac_algorithm(function).hash,
        mac=algorithms.mac_algorithm(mac).name,
        iterations=encoding.read_integer(iterations),
        salt=encoding.read_octet_string(salt),
    )


_READERS: Final = {protection.PASSWORD_BASED_MAC: _read_pbm, protection.PBMAC1: _read_pbmac1}
