"""What can be configured, as frozen dataclasses: the one table behind the YAML file, its schema and its manual.

Every field carries its explanation (``doc``), bounds where it has any, and an ``example`` where the default does not
show the form. The loader (``agent.config``), the JSON Schema, the commented example file and the manual are all made
from here. Field names are kebab-case in YAML. This module imports nothing heavy: worker and supervisor both use it.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeVar, dataclass_transform

T = TypeVar("T")

NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""What an authority, identity or token may be called: it becomes a directory and appears in messages."""

SOFTWARE: Final = "software"
"""The key store that is always there: files of the agent's own."""


class Format(StrEnum):
    """Extra rules for the text of a setting (``agent.config.formats``)."""

    URL = "url"
    PROXY = "proxy"
    IP_ADDRESS = "ip-address"
    DISTINGUISHED_NAME = "distinguished-name"
    ALTERNATIVE_NAME = "alternative-name"
    REGULAR_EXPRESSION = "regular-expression"
    SECRET_SOURCE = "secret-source"  # noqa: S105 - the name of a format
    KEY_SOURCE = "key-source"
    SOCKET = "socket"
    DURATION = "duration"
    PERCENT = "percent"
    MODE = "mode"
    KEY_HASH = "key-hash"


def setting(
    doc: str,
    *,
    default: Any = MISSING,
    factory: Any = MISSING,
    example: Any = None,
    format: Format | None = None,
    bounds: tuple[float, float] | None = None,
    word: str | None = None,
) -> Any:
    """Declare one configurable field: its explanation, default, example, and the rules for its value.

    ``bounds`` are the least and the greatest value allowed: of a number as it stands, of a duration in seconds, of a
    percentage in percent. A list with bounds has at least that many entries. ``word`` is the text that stands for
    None. The ``example`` of a table of named things is the name of its example entry.
    """
    metadata = {"doc": doc, "example": example, "format": format, "bounds": bounds, "word": word}
    if factory is not MISSING:
        return field(default_factory=factory, metadata=metadata)
    return field(default=default, metadata=metadata)


class _Section:
    """What every section inherits instead of having it generated.

    ``dataclass`` compiles ``__repr__``, ``__eq__`` and ``__hash__`` anew for each class. Written once they save a fifth
    of the time to import this module, 5 of 25 ms of CPU at every start of ``enrollctl``, ``enrolld`` and a worker.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        names = type(self).__dataclass_fields__  # type: ignore[attr-defined]
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    def __eq__(self, other: object) -> bool:
        return _values(self) == _values(other) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(_values(self))


def _values(section: Any) -> tuple[Any, ...]:
    return tuple(getattr(section, name) for name in type(section).__dataclass_fields__)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(setting,))
def section(cls: type[T]) -> type[T]:
    """Make a section of the configuration: an immutable dataclass with keywords only."""
    return dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)(cls)


class ProfileName(StrEnum):
    """Which set of rules an authority is spoken to with (``agent.cmp.profiles``)."""

    LIGHTWEIGHT = "lightweight"
    THREE_GPP = "3gpp"
    THREE_GPP_STRICT = "3gpp-strict"
    BACKHAUL = "backhaul"


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


class MacAlgorithm(StrEnum):
    """How a shared secret protects messages: PasswordBasedMac (RFC 9810 5.1.3.1) or PBMAC1 (RFC 9481 6.1.2)."""

    PBM = "pbm"
    PBMAC1 = "pbmac1"


class HashName(StrEnum):
    """One-way functions of PasswordBasedMac and PBMAC1."""

    SHA1 = "sha1"
    SHA224 = "sha224"
    SHA256 = "sha256"
    SHA384 = "sha384"
    SHA512 = "sha512"


class HmacName(StrEnum):
    """Message authentication codes; ``hmac-sha1-ietf`` is the same code under its other OID (1.3.6.1.5.5.8.1.2)."""

    HMAC_SHA1 = "hmac-sha1"
    HMAC_SHA1_IETF = "hmac-sha1-ietf"
    HMAC_SHA224 = "hmac-sha224"
    HMAC_SHA256 = "hmac-sha256"
    HMAC_SHA384 = "hmac-sha384"
    HMAC_SHA512 = "hmac-sha512"


class KeyAlgorithm(StrEnum):
    """Keys we can make; those of 1024 bits for profile ``backhaul`` only."""

    RSA_2048 = "rsa-2048"
    RSA_3072 = "rsa-3072"
    RSA_4096 = "rsa-4096"
    EC_P256 = "ec-p256"
    EC_P384 = "ec-p384"
    EC_P521 = "ec-p521"
    ED25519 = "ed25519"
    ED448 = "ed448"
    ML_DSA_44 = "ml-dsa-44"
    ML_DSA_65 = "ml-dsa-65"
    ML_DSA_87 = "ml-dsa-87"
    X25519 = "x25519"
    RSA_1024 = "rsa-1024"
    DSA_1024 = "dsa-1024"


class KeyUsage(StrEnum):
    """What a key is certified for (keyUsage, RFC 5280 4.2.1.3)."""

    SIGNATURE = "signature"
    ENCIPHERMENT = "encipherment"
    AGREEMENT = "agreement"


class ExtendedKeyUsage(StrEnum):
    """Purposes a certificate can name (extKeyUsage, RFC 5280 4.2.1.12, RFC 4945 5.1.3.12)."""

    SERVER_AUTH = "server-auth"
    CLIENT_AUTH = "client-auth"
    IPSEC_IKE = "ipsec-ike"
    IKE_INTERMEDIATE = "ike-intermediate"


class SignatureName(StrEnum):
    """Signature algorithms (RFC 9481 section 3, RFC 9881); those with MD5, SHA-1 or DSA for ``backhaul`` only."""

    RSA_PKCS1_SHA256 = "rsa-pkcs1-sha256"
    RSA_PKCS1_SHA384 = "rsa-pkcs1-sha384"
    RSA_PKCS1_SHA512 = "rsa-pkcs1-sha512"
    RSA_PSS_SHA256 = "rsa-pss-sha256"
    RSA_PSS_SHA384 = "rsa-pss-sha384"
    RSA_PSS_SHA512 = "rsa-pss-sha512"
    ECDSA_SHA256 = "ecdsa-sha256"
    ECDSA_SHA384 = "ecdsa-sha384"
    ECDSA_SHA512 = "ecdsa-sha512"
    ED25519 = "ed25519"
    ED448 = "ed448"
    ML_DSA_44 = "ml-dsa-44"
    ML_DSA_65 = "ml-dsa-65"
    ML_DSA_87 = "ml-dsa-87"
    RSA_PKCS1_SHA1 = "rsa-pkcs1-sha1"
    RSA_PKCS1_MD5 = "rsa-pkcs1-md5"
    ECDSA_SHA1 = "ecdsa-sha1"
    DSA_SHA1 = "dsa-sha1"


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
class EnrollmentAnchorsSettings(_Section):
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
class MacSettings(_Section):
    """How a shared secret protects messages. No setting suits every server: see docs/interop.md."""

    algorithm: MacAlgorithm = setting("PasswordBasedMac (RFC 9810) or PBMAC1 (RFC 9481)", default=MacAlgorithm.PBM)
    one_way_function: HashName = setting("hash that turns the secret into a key", default=HashName.SHA256)
    mac: HmacName = setting("message authentication code", default=HmacName.HMAC_SHA256)
    iterations: int = setting("how often the hash is applied", default=10_000, bounds=(100, 1_000_000))
    salt_length: int = setting("octets of random salt", default=16, bounds=(8, 64))


@section
class HttpSettings(_Section):
    """How messages travel (RFC 9811)."""

    connect_timeout: float = setting(
        "how long to wait for a connection to one address", default=10.0, format=Format.DURATION, bounds=(0.1, 600)
    )
    response_timeout: float = setting(
        "how long to wait for an answer", default=60.0, format=Format.DURATION, bounds=(0.1, 3600)
    )
    maximum_response: int = setting(
        "octets an answer may have; a larger one is refused unread", default=1_048_576, bounds=(1024, 67_108_864)
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
class PollingSettings(_Section):
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
        "when to abandon an undecided request", default=2_592_000.0, format=Format.DURATION, bounds=(1, 31_536_000)
    )


class RevocationCheck(StrEnum):
    """Whether CRLs are looked up, and what it means if they say nothing (RFC 5280 section 6.3)."""

    OFF = "off"
    REPORT = "report"
    REQUIRE = "require"


@section
class CrlSettings(_Section):
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
class AuthoritySettings(_Section):
    """A CA or RA that speaks CMP: where it is, whom to trust, and how to talk to it."""

    urls: tuple[str, ...] = setting(
        "addresses, tried in order",
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


@section
class KeySettings(_Section):
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
class SharedSecretSettings(_Section):
    """A one-time secret given by the operator together with its reference."""

    reference: str = setting("which secret it is: the operator's reference number or name", example="enb-4711")
    secret: str = setting(
        "where the secret comes from: a systemd credential, a file, or a person who types it; never the secret itself",
        example="credential:ike-secret",
        format=Format.SECRET_SOURCE,
    )


@section
class VendorCertificateSettings(_Section):
    """The certificate the vendor gave the device in the factory (TS 33.310 clause 9)."""

    certificate: Path = setting("the certificate, PEM", example="vendor.pem")
    key: str = setting("its key, PEM", example="vendor.key", format=Format.KEY_SOURCE)
    chain: Path | None = setting(
        "the certificates between it and the vendor's root, PEM", default=None, example="vendor-chain.pem"
    )


@section
class BootstrapSettings(_Section):
    """How the first certificate is authenticated: exactly one of the two."""

    shared_secret: SharedSecretSettings | None = setting("by a one-time secret", default=None)
    vendor_certificate: VendorCertificateSettings | None = setting("by the vendor's certificate", default=None)


@section
class RenewalSettings(_Section):
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


class OnFailure(StrEnum):
    """What becomes of the old credential when a consumer refuses the new one."""

    ROLLBACK = "rollback"
    KEEP = "keep"


class Layout(StrEnum):
    """Which files a consumer gets (``agent.deploy.layouts``)."""

    FILES = "files"
    SWANCTL = "swanctl"
    BUNDLE = "bundle"
    PKCS12 = "pkcs12"


class Switching(StrEnum):
    """How several files change together."""

    LINK = "link"
    FILES = "files"


_ON_FAILURE: Final = (
    "when the consumer refuses the new credential: bring the old one back everywhere and try again later, or keep the "
    "new one and go on trying"
)


@section
class StrongswanTarget(_Section):
    """Give the credential to strongSwan over vici."""

    vici: str = setting("charon's vici socket", default="/run/charon.vici", format=Format.SOCKET)
    connections: tuple[str, ...] = setting(
        "connections to re-authenticate with the new certificate, which proves it", default=(), example=["backhaul"]
    )
    initiate: bool = setting("start a connection that is down, where its peer's address is known", default=True)
    timeout: float = setting(
        "how long a new tunnel may take to come up", default=30.0, format=Format.DURATION, bounds=(1, 600)
    )
    module: str | None = setting(
        "for a key on a token: what strongswan.conf calls its PKCS#11 module", default=None, example="softhsm"
    )
    on_failure: OnFailure = setting(_ON_FAILURE, default=OnFailure.ROLLBACK)


@section
class FileNames(_Section):
    """What the files are called, below the directory; subdirectories must exist unless the layout makes them."""

    certificate: str | None = setting("the certificate", default=None, example="tls.crt")
    chain: str | None = setting("the certificates above it, without the root", default=None, example="chain.pem")
    full_chain: str | None = setting("the certificate and the chain in one file", default=None, example="fullchain.pem")
    trust_anchors: str | None = setting("the roots", default=None, example="ca.crt")
    private_key: str | None = setting("the private key, PKCS#8", default=None, example="tls.key")
    bundle: str | None = setting("key, certificate and chain in one file", default=None, example="server.pem")
    pkcs12: str | None = setting("everything in one PKCS#12 file", default=None, example="server.p12")


@section
class DirectoryTarget(_Section):
    """Write the credential as files for a consumer."""

    path: Path = setting("directory to write to; it must exist", example="/etc/ike")
    layout: Layout = setting(
        "which files: one each (and the full chain), those of swanctl, one PEM bundle, or PKCS#12", default=Layout.FILES
    )
    names: FileNames = setting("other names for the files; only those that the layout has", factory=FileNames)
    mode: str = setting("mode of the files", default="0640", format=Format.MODE)
    owner: str | None = setting("owner of the files; only root can give files away", default=None, example="root")
    group: str | None = setting(
        "group of the files; the user enrolld must be a member of it", default=None, example="ipsec"
    )
    switching: Switching = setting(
        "`link`: the names are links into a directory that is switched by one rename; `files`: each file is renamed "
        "into place, trust anchors first, then chain and key, the certificate last",
        default=Switching.LINK,
    )
    password: str | None = setting(
        "where the password of the PKCS#12 file comes from; never the password itself",
        default=None,
        example="credential:p12-password",
        format=Format.SECRET_SOURCE,
    )
    on_failure: OnFailure = setting(_ON_FAILURE, default=OnFailure.KEEP)


@section
class HookTarget(_Section):
    """Run a command when a new credential is installed."""

    command: tuple[str, ...] = setting(
        "program and arguments; no shell", example=["/usr/libexec/reload-ike"], bounds=(1, 64)
    )
    timeout: str = setting("how long it may take", default="30s", format=Format.DURATION, bounds=(1, 3600))
    user: str | None = setting(
        "user to run it as, where enrolld itself runs as root; never root without need", default=None, example="nobody"
    )
    on_failure: OnFailure = setting(_ON_FAILURE, default=OnFailure.KEEP)


@section
class DeployTarget(_Section):
    """One consumer of the credential: exactly one of the three."""

    strongswan: StrongswanTarget | None = setting("strongSwan over vici", default=None)
    directory: DirectoryTarget | None = setting("files in a directory", default=None)
    hook: HookTarget | None = setting("a command", default=None)

    @property
    def chosen(self) -> StrongswanTarget | DirectoryTarget | HookTarget:
        """The one that is given."""
        return next(one for one in (self.strongswan, self.directory, self.hook) if one is not None)

    @property
    def label(self) -> str:
        """What it is called in records and messages: ``strongswan /run/charon.vici``."""
        match self.chosen:
            case StrongswanTarget(vici=vici):
                return f"strongswan {vici}"
            case DirectoryTarget(path=path):
                return f"directory {path}"
            case HookTarget(command=command):
                return f"hook {command[0]}"


@section
class TokenSettings(_Section):
    """A PKCS#11 token that holds keys."""

    module: Path = setting("the vendor's PKCS#11 module, a shared object", example="/usr/lib/softhsm/libsofthsm2.so")
    label: str = setting("label of the token", example="enb")
    serial: str | None = setting(
        "serial number of the token, where several have the same label", default=None, example="1f2843585a9029db"
    )
    pin: str = setting(
        "where the PIN comes from; never the PIN itself",
        example="credential:hsm-pin",
        format=Format.SECRET_SOURCE,
    )
    retire_after: float = setting(
        "how long a key stays on the token after its successor is in use; until then 'enrollctl rollback' can go back",
        default=604_800.0,
        format=Format.DURATION,
        bounds=(0, 31_536_000),
    )


@section
class IdentitySettings(_Section):
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


@section
class RecordingSettings(_Section):
    """Messages kept for a support bundle (``enrollctl capture``), without what a secret made in them."""

    transactions: int = setting(
        "how many of the last transactions of each identity are kept; 0 keeps none", default=0, bounds=(0, 100)
    )
    maximum: int = setting(
        "octets that the kept messages of one identity may take", default=1_048_576, bounds=(16_384, 67_108_864)
    )


@section
class DaemonSettings(_Section):
    """How the daemon works."""

    workers: int = setting("how many jobs run at a time", default=2, bounds=(1, 64))
    metrics: Path | None = setting(
        "where to write figures for Prometheus, as a file for node_exporter's textfile collector",
        default=None,
        example="/var/lib/prometheus/node-exporter/enrolld.prom",
    )
    worker_memory: int = setting(
        "MiB of memory that one job may address; one that wants more fails alone", default=1024, bounds=(256, 65_536)
    )


@section
class Settings(_Section):
    """What enrolld does: one file for all of it."""

    state_directory: Path = setting("credentials and open transactions", default=Path("/var/lib/enrolld"))
    runtime_directory: Path = setting("sockets and locks", default=Path("/run/enrolld"))
    authorities: dict[str, AuthoritySettings] = setting("CAs and RAs, by name", example="operator")
    identities: dict[str, IdentitySettings] = setting("certificates to keep alive, by name", example="ike")
    tokens: dict[str, TokenSettings] = setting("PKCS#11 tokens, by name", factory=dict, example="hsm")
    recording: RecordingSettings = setting("messages kept for a support bundle", factory=RecordingSettings)
    daemon: DaemonSettings = setting("how the daemon works", factory=DaemonSettings)


EXACTLY_ONE: Final[frozenset[type]] = frozenset({BootstrapSettings, DeployTarget})
"""Sections of which exactly one key is given: the others are alternatives to it."""
