"""Who asks: the bootstrap, the present certificate or another identity's, and with which signature. Decisions only.

Files named in the configuration are read here; nothing is written and nothing is sent.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agent.cmp import profiles
from agent.cmp.certificates import load
from agent.cmp.errors import MalformedMessage
from agent.cmp.messages import BodyType
from agent.cmp.protection import MacParameters
from agent.cmp.request import Originator, by_certificate, by_secret
from agent.contract import Action
from agent.errors import ConfigurationError, SecretError, StateError
from agent.settings import KeyUsage, RenewalMethod
from agent.store import pem
from agent.store.atomic import read_bounded
from agent.store.credential import REVOKED, file_reference
from agent.store.generations import IdentityStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.contract import Job
    from agent.store.generations import Generation
    from agent.worker.keyring import Keyring
    from hsm.keystore import Key


def who_asks(
    job: Job,
    method: RenewalMethod,
    current: Generation | None,
    keys: Keyring,
    bootstrap: Callable[[], Originator],
) -> tuple[BodyType, Originator]:
    """Return the message to send and who vouches for it: the present key, another identity, or the bootstrap."""
    if job.action is Action.TEMPLATE and current is not None and REVOKED not in current.marks:
        return BodyType.GENM, by_current(job, current, keys)
    if method is RenewalMethod.KUR and current is not None:
        return BodyType.KUR, by_current(job, current, keys)
    if method is RenewalMethod.CR:
        return BodyType.CR, _by_signer(job, keys)
    return BodyType[job.identity.request.value.upper()], bootstrap()


def _by_signer(job: Job, keys: Keyring) -> Originator:
    """Return the other identity that ``renewal.signer`` names (RFC 9483 4.1.2)."""
    signer = job.identity.renewal.signer
    if signer is None:
        raise ConfigurationError(
            f"{job.name} is renewed by cr, and renewal.signer names nobody to sign it",
            remedy="Name the identity whose certificate signs in `renewal.signer`.",
        )
    other = IdentityStore(job.state_directory, signer).current
    if other is None or REVOKED in other.marks:
        raise ConfigurationError(
            f"{job.name} is renewed by the certificate of {signer}, which has none that could sign",
            remedy=f"Run 'enrollctl enroll {signer}' first; {job.name} is tried again later.",
        )
    return by_current(job, other, keys)


def demand_signing_key(job: Job, method: RenewalMethod) -> None:
    """A kur is signed with the key of the certificate it renews, which must be certified to sign (RFC 9483 4.1.3)."""
    if method is RenewalMethod.KUR and job.identity.key.usage is not KeyUsage.SIGNATURE:
        raise ConfigurationError(
            f"the key of {job.name} is for {job.identity.key.usage} and cannot sign its own key update",
            remedy="Set `renewal.method` of the identity to cr, with an identity that signs in `renewal.signer`, or to "
            "enroll.",
        )


def by_bootstrap(job: Job, secret: bytes | None, keys: Keyring, salt: bytes) -> Originator:
    """Return who we are before there is a certificate: the vendor's, or the holder of the one-time secret.

    Raises:
        ConfigurationError: a file of the vendor's, or its key, cannot be used.
        SecretError: the one-time secret is missing.
        KeyStoreError: the vendor's key cannot be used.
        LocalError: the profile does not allow the signature that its key makes.
    """
    bootstrap = job.identity.bootstrap
    if bootstrap.vendor_certificate is not None:
        vendor = bootstrap.vendor_certificate
        own, *rest = certificates_in(vendor.certificate, "the vendor certificate")
        chain = certificates_in(vendor.chain, "the vendor chain") if vendor.chain else ()
        key = keys.find(key_reference(vendor.key))
        return by_certificate(key, own, (*rest, *chain), scheme=signature_of(job, key))
    if bootstrap.shared_secret is None or not secret:
        raise SecretError(
            f"the one-time secret of {job.name} is missing",
            remedy="Ask the operator for reference and secret, and put the secret where the configuration says.",
        )
    mac = job.authority.mac
    parameters = MacParameters(
        algorithm=mac.algorithm.value,
        one_way_function=mac.one_way_function.value,
        mac=mac.mac.value,
        iterations=mac.iterations,
        salt=salt,
    )
    return by_secret(bootstrap.shared_secret.reference, secret, parameters)


def by_current(job: Job, current: Generation, keys: Keyring) -> Originator:
    """Return who we are once enrolled: the holder of the present certificate.

    Raises:
        KeyStoreError: its key cannot be used.
        StateError: it cannot be read.
        ConfigurationError, LocalError: the profile does not allow the key, or a signature it can make.
    """
    key = keys.find(current.key_reference)
    return by_certificate(key, current.certificate, current.chain, scheme=signature_of(job, key))


def signature_of(job: Job, key: Key) -> str:
    """Return the signature algorithm of ``key`` towards the authority: the configured one, or the profile's choice.

    Raises:
        ConfigurationError: the key is too weak for the profile.
        LocalError: the profile does not allow the configured algorithm, or the key cannot do any that is allowed.
    """
    _demand_strength(job, key)
    profile = profiles.PROFILES[job.authority.profile.value]
    return profile.signature_for(key.schemes, job.authority.signature.value if job.authority.signature else None)


def proving_scheme(job: Job, key: Key) -> str | None:
    """Return how ``key``, which is to be certified, proves that we have it; None for one that is not there to sign.

    Raises:
        ConfigurationError, LocalError: as for :func:`signature_of`.
    """
    _demand_strength(job, key)
    return signature_of(job, key) if job.identity.key.usage is KeyUsage.SIGNATURE else None


def _demand_strength(job: Job, key: Key) -> None:
    profile = profiles.PROFILES[job.authority.profile.value]
    if key.legacy and not profile.legacy:
        raise ConfigurationError(
            f"the key {key.reference} is too weak for the profile {profile.name}: it is of DSA, or of RSA with less "
            "than 2048 bits",
            remedy="Use a newer key; choose profile backhaul only for an RA that accepts nothing else.",
        )


def key_reference(configured: str) -> str:
    """Return the URI of a key that the configuration names by its path, or by a URI."""
    return configured if configured.startswith("pkcs11:") else file_reference(Path(configured))


def certificates_in(path: Path, what: str) -> tuple[bytes, ...]:
    """Return the DER of every certificate in a PEM file that the configuration names.

    Raises:
        ConfigurationError: when there is none, or the file or one of them cannot be read.
    """
    try:
        found = pem.decode(read_bounded(path.resolve()))  # certificates are often reached by links
        for one in found:
            load(one)
    except StateError as error:
        raise ConfigurationError(
            f"{what} cannot be used: {error}", remedy="Put the file there, or correct the path."
        ) from error
    except (ValueError, MalformedMessage) as error:
        raise ConfigurationError(
            f"{what} {path} is not a usable PEM file: {error}",
            remedy="Put the certificates there in PEM form (-----BEGIN CERTIFICATE-----).",
        ) from error
    if not found:
        raise ConfigurationError(
            f"{what} {path} holds no certificate", remedy="Put the certificates there in PEM form."
        )
    return found
