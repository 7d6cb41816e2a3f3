"""Settings of an authority: a CA or RA that speaks CMP."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from agent.settings.algorithms import HashName, HmacName, MacAlgorithm, SignatureName
from agent.settings.declaring import Format, section, setting


class ProfileName(StrEnum):
    """Which set of rules an authority is spoken to with (``agent.cmp.profiles``)."""

    LIGHTWEIGHT = "lightweight"
    THREE_GPP = "3gpp"
    THREE_GPP_STRICT = "3gpp-strict"
    BACKHAUL = "backhaul"


class Quirk(StrEnum):
    """Named deviations of real servers (``agent.cmp.peer``); each weakens one check and says so when used."""

    SIGNED_RESPONSE_TO_MAC = "signed-response-to-mac"
    MISSING_SENDER_NONCE = "missing-sender-nonce"
    IGNORE_KEY_USAGE = "ignore-key-usage"
    ERROR_WITH_PVNO_1 = "error-with-pvno-1"


class AnchorSource(StrEnum):
    """Where the first trust anchors come from when none is configured (RFC 9810 5.3.2, TS 33.310 clause 9.5.4.3)."""

    CA_PUBS = "ca-pubs"
    EXTRA_CERTS = "extra-certs"


@section
class EnrollmentAnchorsSettings:
    """What `trust-anchors: enrollment` believes. Learned once, kept with the certificate, strict from then on."""

    source: AnchorSource = setting(
        "ca-pubs: from caPubs of a MAC-protected answer, which the one-time secret proves; extra-certs: the root that "
        "came along with the first ip, unproven, for devices that TS 33.310 gives no root of the operator: whoever is "
        "on the way may pose as the operator then, unless root-pins or https prevent it",
        default=AnchorSource.CA_PUBS,
    )
    root_pins: tuple[str, ...] = setting(
        "SHA-256 of the SubjectPublicKeyInfo of each root that may be learned; without it, any may",
        default=(),
        example=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
        format=Format.KEY_HASH,
    )


@section
class MacSettings:
    """How a shared secret protects messages. No setting suits every server: see docs/interop.md."""

    algorithm: MacAlgorithm = setting("PasswordBasedMac (RFC 9810) or PBMAC1 (RFC 9481)", default=MacAlgorithm.PBM)
    one_way_function: HashName = setting("hash that turns the secret into a key", default=HashName.SHA256)
    mac: HmacName = setting("message authentication code", default=HmacName.HMAC_SHA256)
    iterations: int = setting("how often the hash is applied", default=10_000, bounds=(100, 1_000_000))
    salt_length: int = setting("octets of random salt", default=16, bounds=(8, 64))


@section
class HttpSettings:
    """How messages travel (RFC 9811)."""

    connect_timeout: float = setting(
        "how long to wait for a connection to one address", default=10.0, format=Format.DURATION, bounds=(0.1, 600)
    )
    response_timeout: float = setting(
        "how long to wait for an answer", default=60.0, format=Format.DURATION, bounds=(0.1, 3600)
    )
    maximum_response: int = setting(
        "octets an answer may have beside a CRL that was asked for; a larger one is refused unread",
        default=1_048_576,
        bounds=(1024, 67_108_864),
    )
    proxy: str | None = setting(
        "HTTP proxy; environment variables are ignored",
        default=None,
        example="http://proxy.example:3128",
        format=Format.PROXY,
    )
    source_address: str | None = setting(
        "local IP address to connect from (which interface or VRF)",
        default=None,
        example="192.0.2.7",
        format=Format.IP_ADDRESS,
    )
    tls_trust_anchors: tuple[Path, ...] = setting(
        "PEM files that vouch for an https server; without them https is refused", default=(), example=["tls-root.pem"]
    )
    tls_certificate: Path | None = setting("client certificate chain for https, PEM", default=None, example="tls.pem")
    tls_key: Path | None = setting(
        "key of the client certificate, PEM; without it the key is in the certificate's file",
        default=None,
        example="tls.key",
    )


@section
class PollingSettings:
    """What to do while the CA is undecided."""

    minimum: float = setting(
        "never ask again sooner than this", default=1.0, format=Format.DURATION, bounds=(0.1, 86_400)
    )
    maximum: float = setting(
        "ask at least this often, whatever checkAfter says",
        default=86_400.0,
        format=Format.DURATION,
        bounds=(1, 2_592_000),
    )
    give_up_after: float = setting(
        "when to abandon a request that the CA does not decide, or no longer answers while another can be made",
        default=2_592_000.0,
        format=Format.DURATION,
        bounds=(1, 31_536_000),
    )


class RevocationCheck(StrEnum):
    """Whether CRLs are looked up, and what it means if they say nothing (RFC 5280 section 6.3)."""

    OFF = "off"
    REPORT = "report"
    REQUIRE = "require"


@section
class CrlSettings:
    """CRLs, over http and https from the addresses in certificates, and by genm from the CA."""

    signer: RevocationCheck = setting(
        "whether those who sign the CA's answers may have been revoked: off; report what is revoked or cannot be told, "
        "and refuse the first; require that CRLs say no, and refuse anything else",
        default=RevocationCheck.REPORT,
    )
    own: RevocationCheck = setting(
        "whether our certificate was revoked, looked up at each refresh: off; report it, and that it cannot be told; "
        "with require, the refresh counts as failed if it cannot be told",
        default=RevocationCheck.REPORT,
    )
    timeout: float = setting("how long to wait for one CRL", default=10.0, format=Format.DURATION, bounds=(0.1, 600))


@section
class AuthoritySettings:
    """A CA or RA that speaks CMP: where it is, whom to trust, and how to talk to it."""

    urls: tuple[str, ...] = setting(
        "addresses of one CA, tried in order until one takes the request: the one inside the tunnel first, one outside "
        "it for when there is no valid certificate",
        example=["http://ra1.operator.example/.well-known/cmp", "http://ra2.operator.example/.well-known/cmp"],
        format=Format.URL,
        bounds=(1, 32),
    )
    profile: ProfileName = setting(
        "set of rules for the messages: RFC 9483; TS 33.310 as RAs live it, or to the letter (3gpp-strict); or what "
        "old backhaul RAs expect",
        default=ProfileName.LIGHTWEIGHT,
    )
    trust_anchors: tuple[Path, ...] | None = setting(
        "PEM files with the operator's root certificates; or learn them from the first answer, store them and be "
        "strict from then on",
        example=["operator-root.pem"],
        bounds=(1, 64),
        word="enrollment",
    )
    enrollment_anchors: EnrollmentAnchorsSettings = setting(
        "what `trust-anchors: enrollment` believes", factory=EnrollmentAnchorsSettings
    )
    sender: str | None = setting(
        "who may answer; needed unless the issuing CA itself answers or its certificate carries cmcRA or cmcCA",
        default=None,
        example="CN=Operator RA,O=Operator",
        format=Format.DISTINGUISHED_NAME,
    )
    pins: tuple[str, ...] = setting(
        "whose key may sign answers, besides the issuing CA's and `sender`: SHA-256 of the DER of its "
        "SubjectPublicKeyInfo",
        default=(),
        example=["2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"],
        format=Format.KEY_HASH,
    )
    recipient: str | None = setting(
        "whom to address in the header",
        default=None,
        example="CN=Operator RA,O=Operator",
        format=Format.DISTINGUISHED_NAME,
    )
    mac: MacSettings = setting("protection by shared secret", factory=MacSettings)
    signature: SignatureName | None = setting(
        "how keys of the kind it names sign messages and requests; the others, and all keys without this setting, sign "
        "as the profile prefers: RSA with PKCS#1 v1.5 and SHA-256, in profile backhaul with SHA-1; EC with SHA-2",
        default=None,
        example="rsa-pss-sha256",
    )
    certificate_profile: str | None = setting("certProfile sent in the header", default=None, example="gnb")
    request_template: bool = setting(
        "ask the CA before each request what it wants in one (certReqTemplate), hold the request to it and complete it",
        default=False,
    )
    implicit_confirmation: bool = setting("ask the CA to skip certConf", default=False)
    refresh_every: float | None = setting(
        "how often to ask what changed: CA certificates, a new root, CRLs; sooner if a CRL ends before",
        default=604_800.0,
        format=Format.DURATION,
        bounds=(3600, 31_536_000),
        word="never",
    )
    crls: CrlSettings = setting("what is looked up in CRLs", factory=CrlSettings)
    http: HttpSettings = setting("how messages travel", factory=HttpSettings)
    polling: PollingSettings = setting("what to do while the CA is undecided", factory=PollingSettings)
    quirks: tuple[Quirk, ...] = setting(
        "deviations of this server to put up with, each of which weakens one check: a signed answer to a MAC-protected "
        "request; messages without senderNonce; a signer whose key usage lacks digitalSignature; an error in version "
        "1 of CMP, taken as the CA's no if its protection is good",
        default=(),
    )
