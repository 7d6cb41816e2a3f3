"""Settings of an identity: one certificate with its key, how it is first got and how it is renewed."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from agent.settings.algorithms import ExtendedKeyUsage, KeyAlgorithm, KeyUsage
from agent.settings.declaring import SOFTWARE, Format, section, setting
from agent.settings.delivery import DeployTarget


class RequestType(StrEnum):
    """How the first certificate is asked for (RFC 9810 section 5.3)."""

    IR = "ir"
    CR = "cr"
    P10CR = "p10cr"


class RenewalMethod(StrEnum):
    """How a certificate is renewed, and who vouches for it (RFC 9483 4.1)."""

    KUR = "kur"
    CR = "cr"
    ENROLL = "enroll"


class RenewalContents(StrEnum):
    """Where names and usages of the next certificate come from."""

    CERTIFICATE = "certificate"
    CONFIGURATION = "configuration"


class RenewalKey(StrEnum):
    """Whether renewal makes a new key pair or certifies the old one again."""

    NEW = "new"
    SAME = "same"


@section
class KeySettings:
    """The key of an identity: made by us, or made elsewhere (``existing``)."""

    algorithm: KeyAlgorithm = setting("what to make: kind and size", default=KeyAlgorithm.EC_P256)
    usage: KeyUsage = setting(
        "what the key is for; one for encipherment (RSA) or agreement (EC, X25519) does not sign, and proves itself by "
        "decrypting what the CA sends",
        default=KeyUsage.SIGNATURE,
    )
    certified_for: tuple[KeyUsage, ...] = setting(
        "what else the certificate must allow (keyUsage), beside usage; TS 33.310 wants encipherment too for the RSA "
        "key of a security gateway",
        default=(),
        example=["encipherment"],
    )
    store: str = setting("`software`, or the name of a token", default=SOFTWARE)
    existing: str | None = setting(
        "a key made elsewhere, PEM; it is used and never changed",
        default=None,
        example="factory.key",
        format=Format.KEY_SOURCE,
    )


@section
class SharedSecretSettings:
    """A one-time secret given by the operator together with its reference."""

    reference: str = setting("which secret it is: the operator's reference number or name", example="enb-4711")
    secret: str = setting(
        "where the secret comes from: a systemd credential, a file, or a person who types it; never the secret itself",
        example="credential:ike-secret",
        format=Format.SECRET_SOURCE,
    )


@section
class VendorCertificateSettings:
    """The certificate the vendor gave the device in the factory (TS 33.310 clause 9)."""

    certificate: Path = setting("the certificate, PEM", example="vendor.pem")
    key: str = setting("its key, PEM", example="vendor.key", format=Format.KEY_SOURCE)
    chain: Path | None = setting(
        "the certificates between it and the vendor's root, PEM", default=None, example="vendor-chain.pem"
    )


@section
class BootstrapSettings:
    """How the first certificate is authenticated: exactly one of the two."""

    shared_secret: SharedSecretSettings | None = setting("by a one-time secret", default=None)
    vendor_certificate: VendorCertificateSettings | None = setting("by the vendor's certificate", default=None)


@section
class RenewalSettings:
    """When and how a certificate is renewed."""

    method: RenewalMethod = setting(
        "kur: a key update, signed with the present key; cr: a request signed by another identity's certificate, for "
        "keys that do not sign; enroll: asked for anew, by what the first certificate came by",
        default=RenewalMethod.KUR,
    )
    signer: str | None = setting(
        "for method cr: the identity of the same authority whose certificate signs", default=None, example="ike"
    )
    contents: RenewalContents = setting(
        "where names and usages come from: from the present certificate, or from this file, for RAs that let a renewal "
        "change them",
        default=RenewalContents.CERTIFICATE,
    )
    old_cert_id: bool = setting("name the certificate that a kur renews (oldCertID); some RAs refuse it", default=True)
    key: RenewalKey = setting("a new key pair each time, or the same key certified again", default=RenewalKey.NEW)
    at: str = setting(
        "how much of its life a certificate lives before renewal", default="66%", format=Format.PERCENT, bounds=(1, 95)
    )
    jitter: str = setting(
        "spread over a fleet, stable for a device; it only ever renews earlier",
        default="5%",
        format=Format.PERCENT,
        bounds=(0, 20),
    )


@section
class IdentitySettings:
    """One certificate that is kept alive for one consumer."""

    authority: str = setting("name of the authority that certifies it", example="operator")
    subject: str = setting(
        "distinguished name to ask for",
        example="CN=enb-4711.ran.operator.example,O=Operator",
        format=Format.DISTINGUISHED_NAME,
    )
    alternative_names: tuple[str, ...] = setting(
        "other names to ask for (subjectAltName)",
        default=(),
        example=["dns:enb-4711.ran.operator.example", "ip:192.0.2.7"],
        format=Format.ALTERNATIVE_NAME,
    )
    extended_key_usage: tuple[ExtendedKeyUsage, ...] = setting(
        "purposes to ask for (extKeyUsage); IKE peers need none, TLS peers mostly do",
        default=(),
        example=["server-auth", "client-auth"],
    )
    subject_pattern: str | None = setting(
        "what the CA may give as subject instead of the one asked for; matched against the whole RFC 4514 text",
        default=None,
        example=r"CN=enb-4711\..*,O=Operator",
        format=Format.REGULAR_EXPRESSION,
    )
    key: KeySettings = setting("its key pair", factory=KeySettings)
    bootstrap: BootstrapSettings = setting("how the first certificate is authenticated")
    recovery: BootstrapSettings | None = setting(
        "how to come back after the certificate has expired or was damaged, when no CA renews it; without this key as "
        "the first time, which a one-time secret that is spent does not allow",
        default=None,
        example={"vendor-certificate": {"certificate": "vendor.pem", "key": "vendor.key"}},
    )
    request: RequestType = setting("message for the first certificate", default=RequestType.IR)
    renewal: RenewalSettings = setting("when and how it is renewed", factory=RenewalSettings)
    deploy: tuple[DeployTarget, ...] = setting("who gets the credential, in this order", default=())
    deploy_check: float = setting(
        "how often to ask the consumers whether they still have the credential",
        default=300.0,
        format=Format.DURATION,
        bounds=(5, 86_400),
    )
