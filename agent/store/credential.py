"""One credential on disk: key, certificate, chain and trust anchors, which only make sense together.

::

    generations/000003/
        certificate.pem      what the CA issued
        chain.pem            its issuer first, without the root
        trust-anchors.pem    the roots it was accepted under
        private-key.pem      or private-key.uri: where the key is
        credential.json      SHA-256 of each file above, a description, and marks such as "confirmed"

The files never change once they are there; only the marks do. Every reading compares with the SHA-256, so a file that
was cut short, swapped or edited is found before it is used.
"""

from __future__ import annotations

import re
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from agent.digest import sha256_hex
from agent.errors import StateCorrupt
from agent.frozen import frozen
from agent.store import atomic, documents, pem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.store.documents import JSON

CERTIFICATE: Final = "certificate.pem"
CHAIN: Final = "chain.pem"
TRUST_ANCHORS: Final = "trust-anchors.pem"
PRIVATE_KEY: Final = "private-key.pem"
KEY_REFERENCE: Final = "private-key.uri"
DOCUMENT: Final = "credential.json"

REVOKED: Final = "revoked"
"""The mark of a certificate that was revoked, on our request or by a verified CRL; its value is the time (ISO 8601)."""

ON_HOLD: Final = "on-hold"
"""The mark of a certificate that a verified CRL says is on hold, with the time (ISO 8601); None once it is not."""

CONFIRMED: Final = "confirmed"
"""The mark of a certificate that the CA knows we accepted (pkiConf came, or implicit confirmation was granted)."""

_MAXIMUM_KEY: Final = 65_536
_REFERENCE: Final = re.compile(r"[a-z][a-z0-9+.-]*:[!-~]+", re.ASCII)


@frozen(kw_only=True)
class Credential:
    """What the CA issued, about to become a generation. Certificates are DER."""

    certificate: bytes
    chain: tuple[bytes, ...] = ()
    """From the issuer upwards, without the root."""
    trust_anchors: tuple[bytes, ...] = ()
    private_key: Path | None = None
    """PEM file of the key, durable, of which the generation has another name; or else ``key_reference``."""
    key_reference: str | None = None
    """URI of a key that stays where it is: on a token, or in a file made elsewhere."""
    description: dict[str, JSON] = field(default_factory=dict)
    """What people and programs want to know of it without reading X.509."""

    def __post_init__(self) -> None:
        """Raise :class:`ValueError` for what can be no credential: a defect of the caller."""
        if not all((self.certificate, *self.chain, *self.trust_anchors)):
            raise ValueError("a certificate is empty")
        if (self.private_key is None) == (self.key_reference is None):
            raise ValueError("a credential has either a key file or a key reference")
        if self.key_reference is not None:
            check_reference(self.key_reference)

    def files(self) -> dict[str, bytes]:
        """Build the files of the generation, by name, but for :attr:`links`.

        Raise :class:`agent.errors.StateError` for the key file.
        """
        files = {
            CERTIFICATE: pem.encode([self.certificate]),
            CHAIN: pem.encode(self.chain, nothing="no certificates between the trust anchor and ours"),
            TRUST_ANCHORS: pem.encode(self.trust_anchors, nothing="no trust anchors"),
        }
        if self.key_reference is not None:
            files[KEY_REFERENCE] = f"{self.key_reference}\n".encode("ascii")
        digests: dict[str, JSON] = {name: sha256_hex(data) for name, data in files.items()}
        digests |= {name: sha256_hex(_read_key(path)) for name, path in self.links.items()}
        document: dict[str, JSON] = {"sha256": digests, "description": self.description, "marks": {}}
        return files | {DOCUMENT: documents.encode(document)}

    @property
    def links(self) -> dict[str, Path]:
        """The file of the generation that is there already, if it is: no copy of a private key is made."""
        return {} if self.private_key is None else {PRIVATE_KEY: self.private_key}


@frozen
class Generation:
    """A credential on disk. Nothing is read before it is asked for; every reading is checked.

    All properties raise :class:`agent.errors.StateCorrupt` when a file is missing or not what was written, and
    :class:`agent.errors.StateError` when it cannot be read.
    """

    number: int
    path: Path

    @property
    def certificate(self) -> bytes:
        """The certificate, DER."""
        certificates = self._certificates(CERTIFICATE)
        if len(certificates) != 1:
            self._refuse(f"{self.path / CERTIFICATE} holds {len(certificates)} certificates")
        return certificates[0]

    @property
    def chain(self) -> tuple[bytes, ...]:
        """The certificates from the issuer upwards, without the root, DER."""
        return self._certificates(CHAIN)

    @property
    def trust_anchors(self) -> tuple[bytes, ...]:
        """The roots this credential was accepted under, DER."""
        return self._certificates(TRUST_ANCHORS)

    @property
    def private_key(self) -> Path | None:
        """The key file in this generation; None when the key is elsewhere (:attr:`key_reference`)."""
        return self.path / PRIVATE_KEY if PRIVATE_KEY in self._digests() else None

    @property
    def key_reference(self) -> str:
        """Where the key is, always as a URI: ``pkcs11:`` or ``file:``, the key file in this generation included."""
        digests = self._digests()
        if PRIVATE_KEY in digests:
            return file_reference(self.path / PRIVATE_KEY)
        return self._matching(KEY_REFERENCE, digests).decode("ascii").strip()

    @property
    def description(self) -> dict[str, JSON]:
        """What was said of the credential when it was written."""
        return self._section("description")

    @property
    def marks(self) -> dict[str, JSON]:
        """What happened to it since: see :meth:`agent.store.generations.IdentityStore.mark`."""
        return self._section("marks")

    @property
    def described(self) -> tuple[dict[str, JSON], dict[str, JSON]]:
        """:attr:`description` and :attr:`marks`, as they were at one moment."""
        document = self._document()
        return self._part(document, "description"), self._part(document, "marks")

    @property
    def confirmed(self) -> bool:
        """Whether the CA knows that we accepted the certificate: the mark :data:`CONFIRMED` is set."""
        return bool(self.marks.get(CONFIRMED))

    def check(self) -> None:
        """Read every file and compare it with what was written; raise :class:`agent.errors.StateCorrupt` if not."""
        digests = self._digests()
        names = set(digests)
        keys = names & {PRIVATE_KEY, KEY_REFERENCE}
        if names - keys != {CERTIFICATE, CHAIN, TRUST_ANCHORS} or len(keys) != 1:
            self._refuse(f"{self.path / DOCUMENT} does not list the files of a credential")
        for name in sorted(names):
            self._matching(name, digests)

    def marked(self, key: str, value: JSON) -> bytes:
        """Give what ``credential.json`` holds when the mark ``key`` is set to ``value``; nothing is written here."""
        document = self._document()
        marks: dict[str, JSON] = self._part(document, "marks") | {key: value}
        return documents.encode(document | {"marks": marks})

    def _certificates(self, name: str) -> tuple[bytes, ...]:
        try:
            return pem.decode(self._read(name))
        except ValueError as error:
            self._refuse(f"{self.path / name}: {error}", error)

    def _read(self, name: str) -> bytes:
        return self._matching(name, self._digests())

    def _matching(self, name: str, digests: Mapping[str, JSON]) -> bytes:
        """Return what is in the file ``name``; it must be what was written."""
        data = self._present(name)
        if sha256_hex(data) != digests.get(name):
            self._refuse(f"{self.path / name} is {'not what was written' if data else 'empty'}")
        return data

    def _present(self, name: str) -> bytes:
        data = atomic.read_if_present(f"{self.path}/{name}")
        if data is None:
            self._refuse(f"{self.path / name} is missing")
        return data

    def _digests(self) -> dict[str, JSON]:
        return self._section("sha256")

    def _section(self, name: str) -> dict[str, JSON]:
        return self._part(self._document(), name)

    def _part(self, document: Mapping[str, JSON], name: str) -> dict[str, JSON]:
        return documents.section(document, name, f"{self.path}/{DOCUMENT}", remedy=self._remedy)

    def _document(self) -> dict[str, JSON]:
        return documents.decode(self._present(DOCUMENT), f"{self.path}/{DOCUMENT}", remedy=self._remedy)

    @property
    def _remedy(self) -> str:
        identity = self.path.parts[-3]
        return (
            f"run 'enrollctl rollback {identity}' if an older certificate is still valid, "
            f"otherwise 'enrollctl enroll {identity}'; then see 'journalctl -k' for disk errors"
        )

    def _refuse(self, what: str, cause: Exception | None = None) -> NoReturn:
        raise StateCorrupt(what, remedy=self._remedy) from cause


def file_reference(path: Path) -> str:
    """Name a file by its ``file:`` URI (RFC 8089)."""
    return Path(path).absolute().as_uri()


def check_reference(reference: str) -> str:
    """Give back a key reference that is a URI on one line. Raise :class:`ValueError` for anything else."""
    if not _REFERENCE.fullmatch(reference):
        raise ValueError(f"{reference!a} is no URI of a key")
    return reference


def _read_key(path: Path) -> bytes:
    data = atomic.read_bounded(path, _MAXIMUM_KEY)
    if b"PRIVATE KEY-----" not in data:
        raise StateCorrupt(
            f"{path} holds no private key: it is empty or damaged",
            remedy="enroll again: the certificate cannot be used without its key",
        )
    return data
