"""A new root certificate on the authority of the old one (RFC 9483 4.3.2, RFC 9810 4.4). Decided here, not stored.

The message that brings it proves nothing about the new root. What counts is ``newWithOld``: the new key, certified by
the root that is trusted already. Old and new are then trusted side by side, until the old one ends by itself.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from pyasn1_modules import rfc8649

from agent.cmp import algorithms, by_schema, der, schema
from agent.cmp.certificates import AlgorithmRules, Facts, load, read, signature_verifies, when
from agent.cmp.errors import CmpError, MalformedMessage, UntrustedPeer
from agent.frozen import frozen

HASH_OF_ROOT_KEY: Final = str(rfc8649.id_ce_hashOfRootKey)
"""Extension of a root that announces its successor's key (RFC 8649)."""
_AHEAD: Final = timedelta(days=90)
"""A new root may begin this much later than now: it is handed out before it is used."""


@frozen(kw_only=True)
class RootUpdate:
    """RootCaKeyUpdateContent: certificates as DER; the two cross certificates may be missing."""

    new_with_new: bytes
    new_with_old: bytes | None = None
    old_with_new: bytes | None = None


def decode(octets: bytes) -> RootUpdate:
    """Read the DER of RootCaKeyUpdateContent.

    Raises:
        MalformedMessage: when it is none.
    """
    value = by_schema.decode(octets, schema.RootCaKeyUpdateContent())

    def certificate(name: str) -> bytes | None:
        return der.wrap(der.SEQUENCE, bytes(value[name])) if value[name].isValue else None

    return RootUpdate(
        new_with_new=certificate("newWithNew") or b"",
        new_with_old=certificate("newWithOld"),
        old_with_new=certificate("oldWithNew"),
    )


def accept(update: RootUpdate, old: x509.Certificate, *, now: datetime, rules: AlgorithmRules) -> x509.Certificate:
    """Return the new root if the trusted root ``old`` vouches for it.

    Raises:
        UntrustedPeer: it does not, or the new root is unfit; the text says why.
    """
    trusted, new = read(old), _read(update.new_with_new, "the new root certificate")
    if update.new_with_old is None:
        raise _refused("it came without newWithOld, so nothing we trust vouches for it")
    cross = _read(update.new_with_old, "newWithOld")
    checks = (
        (new.self_issued and signature_verifies(new, new), "the new root is not signed with its own key"),
        (new.is_ca and _may_sign(new), "the new root certificate is not that of a CA"),
        (rules.key_problem(new) is None, f"the new root has {rules.key_problem(new)}"),
        (rules.signature_problem(new) is None, f"the new root has {rules.signature_problem(new)}"),
        (now < new.not_after, f"the new root ended on {when(new.not_after)}"),
        (new.not_before <= now + _AHEAD, f"the new root begins only on {when(new.not_before)}"),
        (cross.identity == new.identity, "newWithOld certifies another name or key than that of the new root"),
        (cross.issuer_key == trusted.subject_key, "newWithOld was not issued by the root we trust"),
        (rules.signature_problem(cross) is None, f"newWithOld has {rules.signature_problem(cross)}"),
        (signature_verifies(cross, trusted), "the signature of newWithOld was not made by the root we trust"),
        (cross.is_ca and _may_sign(cross), "newWithOld does not certify a CA"),
        (cross.not_before <= now < cross.not_after, f"newWithOld is valid only until {when(cross.not_after)}"),
        (trusted.not_before <= now < trusted.not_after, f"the root we trust ended on {when(trusted.not_after)}"),
        (_announced(trusted, new), "the root we trust announced another successor (RFC 8649)"),
        (_matches_old(update, trusted, new), "oldWithNew does not certify the root we trust with the new key"),
    )
    for holds, objection in checks:
        if not holds:
            raise _refused(objection)
    return new.certificate


def _read(octets: bytes, what: str) -> Facts:
    try:
        return read(load(octets))
    except MalformedMessage as error:
        raise _refused(f"{what} cannot be read") from error


def _may_sign(facts: Facts) -> bool:
    return facts.key_usage is None or "keyCertSign" in facts.key_usage


def _announced(old: Facts, new: Facts) -> bool:
    """Hold the new root to HashOfRootKey of the old one, where that is present (RFC 8649 section 2)."""
    for extension in old.certificate.extensions:
        if extension.oid.dotted_string == HASH_OF_ROOT_KEY and isinstance(extension.value, x509.UnrecognizedExtension):
            try:
                announced = by_schema.decode(extension.value.value, rfc8649.HashedRootKey())
                hash_ = algorithms.hash_algorithm(by_schema.encode(announced["hashAlg"]))
            except CmpError:
                return False  # an announcement that nobody can read forbids every successor
            return hash_.digest(new.spki) == bytes(announced["hashValue"])
    return True


def _matches_old(update: RootUpdate, old: Facts, new: Facts) -> bool:
    if update.old_with_new is None:
        return True
    cross = _read(update.old_with_new, "oldWithNew")
    return cross.identity == old.identity and signature_verifies(cross, new)


def _refused(why: str) -> UntrustedPeer:
    return UntrustedPeer(
        f"the CA offers a new root certificate that is not accepted: {why}",
        remedy="The present trust anchors stay in use. Ask the operator; a new root can be added to `trust-anchors` by "
        "hand.",
    )
