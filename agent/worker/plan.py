"""From settings to a transaction: what is asked for, who may answer, and what is acceptable. Decisions only.

Who asks is decided in :mod:`agent.worker.originator`.

Files named in the configuration are read here; nothing is written and nothing is sent.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from cryptography import x509

from agent.cmp import names, profiles
from agent.cmp.acceptance import DIGITAL_SIGNATURE, Expectation
from agent.cmp.bodies import CertId
from agent.cmp.certificates import load, load_all, read
from agent.cmp.messages import NULL_DN, BodyType
from agent.cmp.peer import PeerRules
from agent.cmp.possession import PopMethod
from agent.cmp.request import Originator, Wanted, wanted_extensions
from agent.cmp.revocation import Checking, Mode
from agent.cmp.terms import Learning, Source
from agent.contract import Action
from agent.errors import NoCertificate, StateError
from agent.frozen import frozen
from agent.settings import ExtendedKeyUsage, KeyUsage, RenewalContents, RenewalMethod
from agent.store.authorities import AuthorityStore
from agent.worker.originator import by_bootstrap, certificates_in, demand_signing_key, proving_scheme, who_asks

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from agent.contract import Job
    from agent.store.generations import Generation
    from agent.worker.keyring import Keyring
    from hsm.keystore import Key

_COPIED_EXTENSIONS: Final = (
    x509.SubjectAlternativeName,
    x509.KeyUsage,
    x509.ExtendedKeyUsage,
)
"""What a key update asks for again; the others are the CA's to make (RFC 9483 4.1.3)."""

_KEY_USAGE: Final = {
    KeyUsage.SIGNATURE: DIGITAL_SIGNATURE,
    KeyUsage.ENCIPHERMENT: frozenset({"keyEncipherment"}),
    KeyUsage.AGREEMENT: frozenset({"keyAgreement"}),
}
"""What the certificate must allow, by the RFC's names (RFC 5280 4.2.1.3)."""


_PURPOSES: Final = {
    ExtendedKeyUsage.SERVER_AUTH: "1.3.6.1.5.5.7.3.1",
    ExtendedKeyUsage.CLIENT_AUTH: "1.3.6.1.5.5.7.3.2",
    ExtendedKeyUsage.IPSEC_IKE: "1.3.6.1.5.5.7.3.17",
    ExtendedKeyUsage.IKE_INTERMEDIATE: "1.3.6.1.5.5.8.2.2",
}


@frozen(kw_only=True)
class Plan:
    """All that a transaction needs apart from the key to be certified."""

    type: BodyType
    scheme: Callable[[Key], str | None]
    """How a key proves that we have it; None for one that is not there to sign."""
    proof: PopMethod
    enveloped: bool
    subject: bytes | None
    """None: the CA gives the name."""
    extensions: bytes | None
    old: CertId | None
    originator: Originator
    rules: PeerRules
    expectation: Callable[[Key, datetime], Expectation]
    recipient: bytes
    certificate_profile: str | None
    implicit_confirmation: bool
    learning: Learning | None
    warning: str
    """Why nobody should use the authority's profile who does not have to; mostly empty."""

    def wanted(self, key: Key) -> Wanted:
        """Return the request for ``key``."""
        return Wanted(
            type=self.type,
            signer=key,
            scheme=self.scheme(key),
            subject=self.subject,
            vouched_by=self.originator.sender if self.subject is None else None,
            extensions=self.extensions,
            old=self.old,
            proof=self.proof,
            decryptor=key,
            # What RFC 4210 knows beside EnvelopedData is for keys that decrypt; those that agree need it.
            enveloped=self.enveloped or not key.ciphers,
            recipient=self.recipient,
            certificate_profile=self.certificate_profile,
            implicit_confirmation=self.implicit_confirmation,
        )


def make_plan(
    job: Job,
    *,
    secret: bytes | None,
    current: Generation | None,
    keys: Keyring,
    salt: bytes,
    clock_trusted: bool,
) -> Plan:
    """Return the plan for ``job``.

    Raises:
        ConfigurationError: a file or setting cannot be used; ``NoCertificate``: there is nothing to renew.
        SecretError: the one-time secret is needed and missing.
        KeyStoreError: a key the plan needs cannot be used.
        LocalError: a key cannot sign as the profile and the configuration want it.
    """
    profile = profiles.PROFILES[job.authority.profile.value]
    rules = peer_rules(job, current)
    old = load(current.certificate) if job.action is Action.RENEW and current else None
    if job.action is Action.RENEW and old is None:
        raise NoCertificate(
            "there is no certificate yet that could be renewed",
            remedy=f"Run 'enrollctl enroll {job.name}' first.",
        )
    method = job.identity.renewal.method if old else RenewalMethod.ENROLL
    demand_signing_key(job, method)
    type_, originator = who_asks(job, method, current, keys, lambda: by_bootstrap(job, secret, keys, salt))
    copied = old if job.identity.renewal.contents is RenewalContents.CERTIFICATE else None
    copied = None if method is RenewalMethod.ENROLL else copied
    subject = copied.subject.public_bytes() if copied else names.name_from_text(job.identity.subject)
    alternatives = (
        _alternatives(copied) if copied else [names.alternative_name(one) for one in job.identity.alternative_names]
    )

    learns = job.authority.trust_anchors is None and not rules.anchors
    key_usage = _KEY_USAGE[job.identity.key.usage]
    if not copied:
        key_usage = key_usage.union(*(_KEY_USAGE[one] for one in job.identity.key.certified_for))
    purposes = (
        read(copied).extended_key_usage or frozenset()
        if copied
        else frozenset(_PURPOSES[one] for one in job.identity.extended_key_usage)
    )
    proof = PopMethod.SIGNATURE if job.identity.key.usage is KeyUsage.SIGNATURE else profile.proof
    skips_confirmation = job.authority.implicit_confirmation and profile.implicit_confirmation

    def expectation(key: Key, now: datetime) -> Expectation:
        return Expectation(
            public_key=key.public_key,
            subject=names.parse_name(subject),
            subject_pattern=None if copied else job.identity.subject_pattern,
            alternative_names=frozenset(alternatives),
            key_usage=key_usage,
            extended_key_usage=purposes,
            anchors=rules.anchors,
            intermediates=rules.intermediates,
            rules=rules.algorithms,
            now=now,
            clock_trusted=clock_trusted,
            old=old,
        )

    return Plan(
        type=type_,
        scheme=lambda key: proving_scheme(job, key),
        proof=proof,
        enveloped=profile.enveloped,
        subject=subject if method is not RenewalMethod.ENROLL or profile.names_itself else None,
        extensions=_extensions_again(copied) if copied else wanted_extensions(alternatives, key_usage, purposes),
        old=_old_cert_id(job, method, old),
        originator=originator,
        rules=rules,
        expectation=expectation,
        recipient=recipient(job, old),
        certificate_profile=job.authority.certificate_profile,
        # An encrypted certificate proves the key by being confirmed.
        implicit_confirmation=skips_confirmation and proof is not PopMethod.ENCRYPTED_CERTIFICATE,
        learning=_learning(job) if learns else None,
        warning=profile.warning,
    )


def _old_cert_id(job: Job, method: RenewalMethod, old: x509.Certificate | None) -> CertId | None:
    if old is None or method is not RenewalMethod.KUR or not job.identity.renewal.old_cert_id:
        return None
    return CertId(names.directory_name(old.issuer.public_bytes()), old.serial_number)


def peer_rules(job: Job, current: Generation | None) -> PeerRules:
    """Return who may answer, and how.

    Raises:
        ConfigurationError: a trust anchor file cannot be used.
    """
    profile = profiles.PROFILES[job.authority.profile.value]
    return PeerRules(
        anchors=_anchors(job, current),
        expected_sender=names.name_from_text(job.authority.sender) if job.authority.sender else None,
        pins=frozenset(map(bytes.fromhex, job.authority.pins)),
        protection=profile.protection,
        algorithms=profile.algorithms,
        quirks=frozenset(one.value for one in job.authority.quirks),
        intermediates=_links(job, current),
        revocation=Checking(mode=Mode(job.authority.crls.signer.value)),
    )


def _learning(job: Job) -> Learning:
    chosen = job.authority.enrollment_anchors
    return Learning(Source(chosen.source.value), frozenset(map(bytes.fromhex, chosen.root_pins)))


def _anchors(job: Job, current: Generation | None) -> tuple[x509.Certificate, ...]:
    if job.authority.trust_anchors is None:
        # Learned from the first answer, kept with the credential, strict from then on.
        if current is None:
            return ()
        followers = AuthorityStore(job.state_directory, job.identity.authority).trust_anchors
        return tuple(load(one) for one in dict.fromkeys((*current.trust_anchors, *followers)))
    paths = job.authority.trust_anchors
    configured = [one for path in paths for one in certificates_in(path, "the trust anchor file")]
    followers = AuthorityStore(job.state_directory, job.identity.authority).trust_anchors
    return tuple(load(one) for one in dict.fromkeys((*configured, *followers)))


def _links(job: Job, current: Generation | None) -> tuple[x509.Certificate, ...]:
    """Return CA certificates known from before: those above ours, and what the CA sent when asked (caCerts).

    The CA's certificate is often the same for years and not always sent again.
    """
    kept: tuple[bytes, ...] = ()
    with suppress(StateError):  # damaged, they are missed at most; the next refresh says so and brings them back
        kept = AuthorityStore(job.state_directory, job.identity.authority).ca_certificates
    return load_all((*(current.chain if current else ()), *kept))


def recipient(job: Job, old: x509.Certificate | None) -> bytes:
    """Return whom to address: the configured name, else who is to answer, else our issuer."""
    if job.authority.recipient:
        return names.directory_name(names.name_from_text(job.authority.recipient))
    if job.authority.sender:
        return names.directory_name(names.name_from_text(job.authority.sender))
    return names.directory_name(old.issuer.public_bytes()) if old else NULL_DN


def _alternatives(old: x509.Certificate) -> list[x509.GeneralName]:
    try:
        return list(old.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def _extensions_again(old: x509.Certificate) -> bytes | None:
    return names.extensions(
        (one.value, one.critical) for one in old.extensions if isinstance(one.value, _COPIED_EXTENSIONS)
    )
