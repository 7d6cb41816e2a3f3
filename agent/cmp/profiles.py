"""The profiles an authority can be spoken to with, as data: what is asked, how we sign, and what is accepted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from agent.cmp.algorithms import SIGNATURES
from agent.cmp.certificates import MODERN, AlgorithmRules
from agent.cmp.errors import LocalError
from agent.cmp.messages import BodyType
from agent.cmp.possession import PopMethod
from agent.cmp.protection import ProtectionRules
from agent.frozen import frozen


@frozen(kw_only=True)
class Profile:
    """One set of rules; ``source`` says where it is written down. Keys and signatures have the key stores' names."""

    name: str
    source: str
    requests: frozenset[BodyType]
    implicit_confirmation: bool
    """Whether certConf may be left out if the CA agrees."""
    shared_secrets: bool = True
    """Whether a shared secret may protect messages; otherwise signatures only."""
    names_itself: bool = True
    """Whether a first request asks for a subject. If not, the CA gives the name, and the request says by whose
    certificate it is signed (poposkInput with authInfo.sender)."""
    protection: ProtectionRules
    """How answers may be protected."""
    algorithms: AlgorithmRules
    """What certificates may be made of, ours and the CA's."""
    keys: frozenset[str]
    """Kinds of keys we may have certified."""
    signatures: frozenset[str]
    """Algorithms we may sign with: messages, proof of possession, PKCS#10."""
    preferred: tuple[str, ...] = ()
    """Of these, the ones taken wherever a key can, before what the key does best."""
    by_name_only: frozenset[str] = frozenset()
    """Of these, the ones taken only when the configuration names them."""
    proof: PopMethod = PopMethod.ENCRYPTED_CERTIFICATE
    """How a key that does not sign proves itself; RFC 9810 5.2.8.3 would rather have it so."""
    enveloped: bool = True
    """Whether what is encrypted for an RSA key comes as EnvelopedData (pvno 3), or in the forms of RFC 4210."""
    sends_error: bool = False
    """Whether the CA is told when we give a request up (RFC 9810 5.3.21); RFC 9483 3.6.1 has us fall silent."""
    legacy: bool = False
    """Whether keys and algorithms may be used that can be broken today: DSA, RSA below 2048 bits, SHA-1, MD5."""
    warning: str = ""
    """Why nobody should use it who does not have to."""

    def signature_for(self, schemes: Sequence[str], wanted: str | None = None) -> str:
        """Return the algorithm a key signs with here; ``schemes`` are those it can do, best first.

        ``wanted`` is the one the configuration names. It is for keys of its kind: the vendor's key and the new one may
        be of two kinds, and then the other signs as the profile prefers.

        Raises:
            LocalError: when the profile does not allow ``wanted``, a key of its kind cannot do it, or nothing that the
                key can do is allowed.
        """
        if wanted is not None and wanted not in self.signatures:
            raise LocalError(
                f"the profile {self.name} does not allow the signature algorithm {wanted}",
                remedy="Choose one with SHA-2 for `signature` of the authority, or remove it; only the profile "
                "`backhaul` allows older ones.",
            )
        if wanted is not None and wanted in schemes:
            return wanted
        if wanted is not None and SIGNATURES[wanted].family in {SIGNATURES[name].family for name in schemes}:
            raise LocalError(
                f"the key does not sign with {wanted}",
                remedy=f"Choose one of {', '.join(schemes)} for `signature` of the authority.",
            )
        allowed = [name for name in schemes if name in self.signatures and name not in self.by_name_only]
        chosen = next((name for name in self.preferred if name in allowed), next(iter(allowed), None))
        if chosen is None:
            can = f"signs with {', '.join(schemes)} only" if schemes else "does not sign"
            raise LocalError(
                f"the key {can}, which the profile {self.name} does not allow",
                remedy="Use an EC, RSA (2048 bits or more), Ed25519 or ML-DSA key; `key` of the identity says which "
                "is made.",
            )
        return chosen


_MODERN_KEYS: Final = frozenset(
    {
        *("rsa-2048", "rsa-3072", "rsa-4096", "ec-p256", "ec-p384", "ec-p521"),
        *("ed25519", "ed448", "ml-dsa-44", "ml-dsa-65", "ml-dsa-87", "x25519"),
    }
)
_MODERN_SIGNATURES: Final = frozenset(name for name, rule in SIGNATURES.items() if not rule.legacy)
_LEGACY_ALGORITHMS: Final = replace(MODERN, hashes=MODERN.hashes | {"sha1", "md5"}, rsa_bits=1024, dsa_bits=1024)

PROFILES: Final = {
    profile.name: profile
    for profile in (
        Profile(
            name="lightweight",
            source="RFC 9483",
            requests=frozenset({BodyType.IR, BodyType.CR, BodyType.P10CR, BodyType.KUR}),
            implicit_confirmation=True,
            protection=ProtectionRules(),
            algorithms=MODERN,
            keys=_MODERN_KEYS,
            signatures=_MODERN_SIGNATURES,
        ),
        Profile(
            name="3gpp",
            source="TS 33.310 clauses 9 and 10",
            requests=frozenset({BodyType.IR, BodyType.KUR}),
            implicit_confirmation=False,
            protection=ProtectionRules(),
            algorithms=MODERN,
            keys=_MODERN_KEYS,
            signatures=_MODERN_SIGNATURES,
        ),
        Profile(
            name="3gpp-strict",
            source="TS 33.310 clause 9.5.4, to the letter",
            requests=frozenset({BodyType.IR, BodyType.KUR}),
            implicit_confirmation=False,
            shared_secrets=False,
            names_itself=False,
            protection=ProtectionRules(),
            algorithms=replace(MODERN, others=frozenset()),
            keys=frozenset(name for name in _MODERN_KEYS if name.startswith(("rsa-", "ec-"))),
            signatures=frozenset(name for name in _MODERN_SIGNATURES if name.startswith(("rsa-", "ecdsa-"))),
        ),
        Profile(
            name="backhaul",
            source="3GPP contribution: CMPv2 profile for the backhaul",
            requests=frozenset({BodyType.IR, BodyType.CR, BodyType.P10CR, BodyType.KUR}),
            implicit_confirmation=False,
            protection=ProtectionRules(legacy=True),
            algorithms=_LEGACY_ALGORITHMS,
            keys=_MODERN_KEYS | {"rsa-1024", "dsa-1024"},
            signatures=frozenset(SIGNATURES),
            preferred=("rsa-pkcs1-sha1", "dsa-sha1"),
            by_name_only=frozenset({"rsa-pkcs1-md5"}),
            proof=PopMethod.CHALLENGE,
            enveloped=False,
            sends_error=True,
            legacy=True,
            warning="the profile backhaul allows SHA-1, MD5, DSA and RSA with 1024 bits, which can be forged today; "
            "choose lightweight as soon as the operator's RA knows better",
        ),
    )
}
