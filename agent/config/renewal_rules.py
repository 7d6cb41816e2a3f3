"""The rules about renewal, as rows for the tables of :mod:`agent.config.rules`."""

from __future__ import annotations

from typing import Final

from agent.config.findings import choose
from agent.config.rulebook import Identity, Rule
from agent.settings import IdentitySettings, KeyUsage, ProfileName, RenewalMethod

_KNOWN_TO_3GPP: Final = frozenset({ProfileName.THREE_GPP, ProfileName.THREE_GPP_STRICT})


def _cannot_sign_its_update(one: Identity) -> bool:
    return one.own.renewal.method == RenewalMethod.KUR and one.own.key.usage != KeyUsage.SIGNATURE


def _is_unknown_to_3gpp(one: Identity) -> bool:
    authority = one.settings.authorities.get(one.own.authority)
    return one.own.renewal.method == RenewalMethod.CR and authority is not None and authority.profile in _KNOWN_TO_3GPP


def _could_sign(name: str | None, one: Identity) -> bool:
    """Tell whether ``name`` is another identity that could sign for this one."""
    other = None if name is None else one.settings.identities.get(name)
    return (
        other is not None
        and name != one.name
        and other.authority == one.own.authority
        and other.key.usage == KeyUsage.SIGNATURE
    )


def _has_no_signer(one: Identity) -> bool:
    return one.own.renewal.method == RenewalMethod.CR and not _could_sign(one.own.renewal.signer, one)


def _nearest_signer(one: Identity) -> str:
    known = [name for name in one.settings.identities if _could_sign(name, one)]
    return choose(one.own.renewal.signer or "", known) if known else "add one, or choose method enroll"


def _needs_a_person(one: Identity) -> bool:
    return one.own.renewal.method == RenewalMethod.ENROLL and one.own.bootstrap.shared_secret is not None


MISTAKES: Final[tuple[Rule[IdentitySettings], ...]] = (
    Rule(
        "renewal.method",
        _cannot_sign_its_update,
        "must not be kur for a key that does not sign: a key update is signed with the old key",
        "choose cr and name an identity that signs in renewal.signer, or choose enroll",
    ),
    Rule(
        "renewal.method",
        _is_unknown_to_3gpp,
        "must not be cr with an authority of profile 3gpp: TS 33.310 knows ir and kur only",
        "choose kur for a key that signs, or enroll",
    ),
    Rule(
        "renewal.signer",
        _has_no_signer,
        "must be another identity of the same authority, with a key that signs",
        _nearest_signer,
    ),
)

WARNINGS: Final[tuple[Rule[IdentitySettings], ...]] = (
    Rule(
        "renewal.method",
        _needs_a_person,
        "takes a new one-time secret for each renewal, unless the operator's CA takes the same one again",
        "choose kur, or cr with an identity that signs in renewal.signer",
    ),
)
