"""The rules about keys and signatures, as rows for the tables of :mod:`agent.config.rules`.

What is legacy stands in the tables of the key stores; a test holds that these rules and ``agent.cmp.profiles`` agree.
That module is not asked here because it loads the whole protocol, and this one is read whenever a file is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

from agent.config.rulebook import Authority, Identity, Rule
from agent.settings import (
    AuthoritySettings,
    IdentitySettings,
    KeySettings,
    KeyUsage,
    ProfileName,
    RequestType,
    SignatureName,
)
from agent.settings import KeyAlgorithm as MadeHere
from hsm.algorithms import KEY_PARAMETERS, SCHEMES, Family, KeyAlgorithm, KeyParameters, Scheme

_ABILITY: Final[dict[KeyUsage, Callable[[KeyParameters], object]]] = {
    KeyUsage.SIGNATURE: lambda kind: kind.schemes,
    KeyUsage.ENCIPHERMENT: lambda kind: kind.ciphers,
    KeyUsage.AGREEMENT: lambda kind: kind.agrees,
}
_PROFILES_OF_3GPP: Final = frozenset({ProfileName.THREE_GPP, ProfileName.THREE_GPP_STRICT})
_OF_3GPP: Final = frozenset({Family.RSA, Family.EC})


def _kind(key: KeySettings) -> KeyParameters | None:
    """Return what is known of the key; None for one made elsewhere, which only its file can tell."""
    return _parameters(key.algorithm) if key.existing is None else None


@cache
def _parameters(algorithm: MadeHere) -> KeyParameters:
    return KEY_PARAMETERS[KeyAlgorithm(algorithm.value)]


def _family(signature: SignatureName) -> Family:
    return SCHEMES[Scheme(signature.value)].family


def _profile_of(one: Identity) -> ProfileName | None:
    authority = one.settings.authorities.get(one.own.authority)
    return authority.profile if authority is not None else None


def _signs_weakly(one: Authority) -> bool:
    signature = one.own.signature
    weak = signature is not None and SCHEMES[Scheme(signature.value)].legacy
    return weak and one.own.profile != ProfileName.BACKHAUL


def _is_of_another_kind(signature: SignatureName | None) -> bool:
    return signature is not None and _family(signature) not in _OF_3GPP


def _signature_changes_nothing(one: Authority) -> bool:
    """Tell whether no key that could be used with the authority is of the kind that the signature is for."""
    signature = one.own.signature
    users = [identity for identity in one.settings.identities.values() if identity.authority == one.name]
    return signature is not None and bool(users) and not any(_may_sign(user, _family(signature)) for user in users)


def _may_sign(user: IdentitySettings, family: Family) -> bool:
    kind = _kind(user.key)
    return kind is None or kind.family is family or user.bootstrap.vendor_certificate is not None


def _is_weak(one: Identity) -> bool:
    kind = _kind(one.own.key)
    return kind is not None and kind.legacy and _profile_of(one) not in {ProfileName.BACKHAUL, None}


def _cannot_do_that(one: Identity) -> bool:
    kind = _kind(one.own.key)
    return kind is not None and not _ABILITY[one.own.key.usage](kind)


def _is_certified_for_what_it_cannot(one: Identity) -> bool:
    kind = _kind(one.own.key)
    return kind is not None and not all(_ABILITY[usage](kind) for usage in one.own.key.certified_for)


def _usages(one: Identity) -> str:
    kind = _kind(one.own.key)
    return f"choose {' or '.join(usage for usage, can in _ABILITY.items() if kind is not None and can(kind))}"


def _is_unknown_to_3gpp(one: Identity) -> bool:
    kind = _kind(one.own.key)
    return kind is not None and kind.family not in _OF_3GPP and _profile_of(one) == ProfileName.THREE_GPP


def _is_unknown_to_strict_3gpp(one: Identity) -> bool:
    kind = _kind(one.own.key)
    return kind is not None and kind.family not in _OF_3GPP and _profile_of(one) == ProfileName.THREE_GPP_STRICT


AUTHORITY_MISTAKES: Final[tuple[Rule[AuthoritySettings], ...]] = (
    Rule(
        "signature",
        _signs_weakly,
        "may be one with MD5, SHA-1 or DSA in profile backhaul only: such signatures can be forged",
        "choose one with SHA-2, such as rsa-pkcs1-sha256, or leave it out",
    ),
    Rule(
        "signature",
        lambda one: one.own.profile == ProfileName.THREE_GPP_STRICT and _is_of_another_kind(one.own.signature),
        "must be of RSA or EC in profile 3gpp-strict: TS 33.310 names no other kind",
        "choose ecdsa-sha256, or leave it out",
    ),
)

IDENTITY_MISTAKES: Final[tuple[Rule[IdentitySettings], ...]] = (
    Rule(
        "key.algorithm",
        _is_weak,
        "may have 1024 bits only with an authority of profile backhaul: such keys can be broken",
        "choose ec-p256 or rsa-3072",
    ),
    Rule(
        "key.algorithm",
        _is_unknown_to_strict_3gpp,
        "must be RSA or EC with an authority of profile 3gpp-strict: TS 33.310 names no other kind",
        "choose ec-p256, or profile 3gpp",
    ),
    Rule(
        "key.usage",
        lambda one: one.own.key.usage != KeyUsage.SIGNATURE and _profile_of(one) == ProfileName.THREE_GPP_STRICT,
        "must be signature with an authority of profile 3gpp-strict: TS 33.310 has the new key sign its own request",
        "choose signature, or profile 3gpp",
    ),
    Rule(
        "key.usage",
        _cannot_do_that,
        "must be what such a key can do: RSA signs and deciphers, EC signs and agrees, X25519 only agrees, all others "
        "only sign",
        _usages,
    ),
    Rule(
        "key.certified-for",
        _is_certified_for_what_it_cannot,
        "must be what such a key can do",
        "RSA keys encipher, EC keys agree; remove the other",
    ),
    Rule(
        "request",
        lambda one: one.own.request == RequestType.P10CR and one.own.key.usage != KeyUsage.SIGNATURE,
        "must not be p10cr for a key that does not sign: a PKCS#10 request is signed by the key it is about",
        "choose ir",
    ),
    Rule(
        "request",
        lambda one: one.own.request != RequestType.IR and _profile_of(one) in _PROFILES_OF_3GPP,
        "must be ir with an authority of profile 3gpp: TS 33.310 knows no other first request",
        "choose ir, or profile lightweight",
    ),
)

AUTHORITY_WARNINGS: Final[tuple[Rule[AuthoritySettings], ...]] = (
    Rule(
        "profile",
        lambda one: one.own.profile == ProfileName.BACKHAUL,
        "allows SHA-1, MD5, DSA and RSA with 1024 bits, which can be forged today",
        "choose lightweight as soon as the operator's RA knows better",
    ),
    Rule(
        "signature",
        _signature_changes_nothing,
        "is for another kind of key than those of its identities, so it changes nothing",
        "choose one that fits the keys, or leave it out",
    ),
)

IDENTITY_WARNINGS: Final[tuple[Rule[IdentitySettings], ...]] = (
    Rule(
        "key.algorithm",
        _is_unknown_to_3gpp,
        "is not RSA or EC, the only kinds TS 33.310 names for profile 3gpp, so the operator's RA may not know it",
        "choose ec-p256, unless the operator asked for it",
    ),
)
