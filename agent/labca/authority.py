"""The lab CA as one object: what tests, the demonstration and the HTTP server hold in their hands."""

from __future__ import annotations

import secrets
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509

from agent.cmp.failures import PKIFailureInfo
from agent.cmp.protection import ProtectionRules
from agent.errors import ConfigurationError
from agent.frozen import frozen
from agent.labca import fault, pki
from agent.labca.answering import Secretary
from agent.labca.crl import RevocationList
from agent.labca.database import Database
from agent.labca.fault import Fault, Misbehaviour
from agent.labca.gate import Gate
from agent.labca.misbehaviour import Faults
from agent.labca.office import Office
from agent.labca.records import APPROVED, UNDECIDED, Certificate, LoggedMessage, Transaction, TransactionState
from agent.labca.responder import Responder
from agent.labca.settings import CRL_PATH, LabCaSettings, address

if TYPE_CHECKING:
    from agent.cmp.messages import BodyType
    from agent.labca.certificates import Credential
    from agent.labca.keys import LabKey
    from agent.labca.outgoing import Reply
    from agent.labca.pki import Pki, RootUpdate


class ConnectionDropped(ConnectionError):
    """The CA was told to close the connection instead of answering."""


@frozen(kw_only=True)
class RecordedTransaction:
    """A transaction and every message that carried its transactionID, oldest first."""

    id: bytes
    state: TransactionState
    type: BodyType
    identity: str
    serial: int | None
    messages: tuple[LoggedMessage, ...]


@frozen(kw_only=True)
class Record:
    """Everything the CA has done. ``messages`` holds also those that belong to no transaction."""

    transactions: tuple[RecordedTransaction, ...]
    certificates: tuple[Certificate, ...]
    messages: tuple[LoggedMessage, ...]


class LabCa:
    """A CMP CA that really issues. Safe to use from several threads."""

    def __init__(self, settings: LabCaSettings | None = None, *, now: datetime | None = None) -> None:
        """Open the CA, and make its keys and certificates when there are none.

        Raises:
            StateError: when its directory or database cannot be used.
            ConfigurationError: when a vendor root cannot be read, or the keys cannot sign as they should.
        """
        self.settings = settings or LabCaSettings()
        self.url = ""
        """Where it is served; empty while it is not."""
        self._lock = threading.RLock()
        now = now or datetime.now(UTC)
        directory = self.settings.directory
        if directory is None:
            self.pki: Pki = pki.make(
                self.settings.key,
                now,
                intermediate=self.settings.intermediate,
                scheme=self.settings.signature,
                crl_base=_crl_base(self.settings),
            )
        else:
            self.pki = pki.load_or_make(
                directory,
                self.settings.key,
                now,
                intermediate=self.settings.intermediate,
                scheme=self.settings.signature,
                crl_base=_crl_base(self.settings),
            )
        self._database = Database(directory / "labca.sqlite" if directory else None, durable=self.settings.durable)
        self._faults = Faults()
        rules = ProtectionRules(legacy=self.settings.legacy_algorithms)
        crl = root_crl = RevocationList(self.settings, self._database, self.pki.issuing)
        if self.pki.has_intermediate:
            root_crl = RevocationList(self.settings, self._database, self.pki.root, name="root-crl")
            root_crl.issued_here = False
        self._office = Office(
            settings=self.settings,
            pki=self.pki,
            database=self._database,
            faults=self._faults,
            crl=crl,
            root_crl=root_crl,
            rules=rules,
            root_update=pki.load_root_update(directory) if directory else None,
        )
        self._responder = Responder(
            self._office,
            Gate(
                self.settings, self._database, (self.pki.vendor_root.loaded, *_vendor_roots(self.settings.vendor_roots))
            ),
            Secretary(self.settings, self.pki, rules),
        )
        for reference, secret in self.settings.secrets.items():
            self.add_secret(reference, secret)

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._database.close()

    # --- answering ---------------------------------------------------------------------------------------------------

    def answer(self, octets: bytes, now: datetime | None = None) -> bytes:
        """Return the answer to the octets of one message, as over HTTP but without it.

        Raises:
            ConnectionDropped: when the CA misbehaves that way.
        """
        reply = self.respond(octets, now)
        if reply.dropped:
            raise ConnectionDropped("the lab CA closed the connection, as it was told to")
        return reply.octets

    def respond(self, octets: bytes, now: datetime | None = None) -> Reply:
        """Return the whole HTTP answer to the octets of one message."""
        with self._lock:
            return self._responder.respond(octets, now or datetime.now(UTC))

    def crl(self, now: datetime | None = None, *, of_root: bool = False) -> bytes:
        """Return the DER of the present CRL of the issuing CA, or of the root."""
        with self._lock, self._database.exchange():
            return (self._office.root_crl if of_root else self._office.crl).current(now or datetime.now(UTC))

    def revoke(self, certificate: bytes, reason: int | None = 0, now: datetime | None = None) -> None:
        """Put a certificate on its issuer's CRL by the operator's hand: a device's, the RA's or the issuing CA's.

        ``reason`` is a CRLReason (RFC 5280 5.3.1); None takes it off again, as only a hold (6) is in earnest.
        """
        loaded = x509.load_der_x509_certificate(certificate)
        of_root = self.pki.has_intermediate and loaded.issuer == self.pki.root.loaded.subject
        with self._lock, self._database.exchange():
            crl = self._office.root_crl if of_root else self._office.crl
            crl.revoke(loaded.serial_number, now or datetime.now(UTC), reason)

    def served_at(self, url: str, crl_url: str) -> None:
        """Note where the CA and its CRL can be reached."""
        self.url, self._office.crl_url = url, crl_url

    # --- the operator's hand -----------------------------------------------------------------------------------------

    def add_secret(self, reference: str, secret: str | bytes, uses: int | None = None) -> None:
        """Add or replace a shared secret, good for ``uses`` certificates (None: any number)."""
        octets = secret.encode() if isinstance(secret, str) else secret
        with self._lock, self._database.exchange():
            self._database.add_secret(reference, octets, uses)

    def secret(self, reference: str) -> str:
        """Return the secret of ``reference``; a new random one, for any number of uses, when there is none."""
        with self._lock, self._database.exchange():
            found = self._database.secret(reference)
            if found is None:
                made = secrets.token_urlsafe(18)
                self._database.add_secret(reference, made.encode(), None)
                return made
        return found[0].decode("utf-8", "replace")

    def approve(self, transaction_id: bytes | None = None) -> int:
        """Approve a waiting request, or all that nobody has decided yet; return how many."""
        return self._settle(transaction_id, APPROVED)

    def decline(
        self, transaction_id: bytes | None = None, failure: PKIFailureInfo = PKIFailureInfo.NOT_AUTHORIZED
    ) -> int:
        """Decline a waiting request with ``failure``, or all that nobody has decided yet; return how many."""
        return self._settle(transaction_id, failure.label)

    def make_device(
        self,
        name: str,
        *,
        key: LabKey | None = None,
        life: timedelta = timedelta(days=3650),
        issuer: Credential | None = None,
        now: datetime | None = None,
    ) -> Credential:
        """Make a vendor certificate for a device called ``name``; ``issuer`` defaults to the lab's vendor root."""
        return pki.make_device(self.pki, name, now or datetime.now(UTC), key=key, life=life, issuer=issuer)

    def prepare_root_update(self, now: datetime | None = None) -> RootUpdate:
        """Make a new root and offer it to whoever asks for a root update (RFC 9483 4.3.2)."""
        with self._lock:
            update = pki.make_root_update(
                self.pki, self.settings.key, now or datetime.now(UTC), self.settings.signature
            )
            if self.settings.directory is not None:
                pki.keep_root_update(self.settings.directory, update)
            self._office.root_update = update
            return update

    # --- misbehaviour ------------------------------------------------------------------------------------------------

    def misbehave(
        self, kind: Misbehaviour | str, value: object = "", *, on: BodyType | None = None, times: int | None = None
    ) -> None:
        """Do something wrong from now on: to requests of type ``on``, ``times`` times; both default to all.

        ``kind`` may be the whole text of :func:`agent.labca.fault.parse`, as ``reject=badPOP@ir*1``.

        Raises:
            ConfigurationError: for an unknown fault or an unusable value.
        """
        if isinstance(kind, Misbehaviour):
            self._faults.add(Fault(kind=kind, value=str(value), on=on, times=times))
        else:
            self._faults.add(fault.parse(kind))

    def behave(self) -> None:
        """Do everything right again."""
        self._faults.clear()

    # --- the record --------------------------------------------------------------------------------------------------

    def record(self, now: datetime | None = None) -> Record:
        """Return everything the CA has done; what should have been confirmed by ``now`` counts as refused."""
        with self._lock, self._database.exchange():
            self._responder.expire(now or datetime.now(UTC))
            messages = tuple(self._database.messages())
            transactions = self._database.transactions()
            certificates = tuple(self._database.certificates())
        by_transaction: dict[bytes | None, list[LoggedMessage]] = {}
        for message in messages:
            by_transaction.setdefault(message.transaction_id, []).append(message)
        return Record(
            transactions=tuple(_recorded(one, by_transaction.get(one.id, [])) for one in transactions),
            certificates=certificates,
            messages=messages,
        )

    def _settle(self, transaction_id: bytes | None, decision: str) -> int:
        with self._lock, self._database.exchange():
            waiting = [
                one
                for one in self._database.transactions()
                if one.state is TransactionState.WAITING and _is_meant(one, transaction_id)
            ]
            for one in waiting:
                one.decision = decision
                self._database.save(one)
        return len(waiting)


def _crl_base(settings: LabCaSettings) -> str | None:
    """Return where the CRLs will be, for the certificates of RA and issuing CA; None where nobody knows yet."""
    if not (settings.crl_distribution_point and settings.port):
        return None
    return f"{address(settings.bind, settings.port)}{CRL_PATH}"


def _is_meant(one: Transaction, transaction_id: bytes | None) -> bool:
    """Tell whether a decision about ``transaction_id``, or about all, is one about this waiting transaction.

    Who decides about all leaves alone what is decided and only waits for its asker, who may never come back.
    """
    return one.id == transaction_id if transaction_id is not None else one.decision == UNDECIDED


def _recorded(transaction: Transaction, messages: list[LoggedMessage]) -> RecordedTransaction:
    return RecordedTransaction(
        id=transaction.id,
        state=transaction.state,
        type=transaction.type,
        identity=transaction.identity,
        serial=int(transaction.serial, 16) if transaction.serial else None,
        messages=tuple(messages),
    )


def _vendor_roots(paths: tuple[Path, ...]) -> list[x509.Certificate]:
    found: list[x509.Certificate] = []
    for path in paths:
        try:
            found += x509.load_pem_x509_certificates(path.read_bytes())
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"the vendor root {path} cannot be read: {error}", remedy="Name a PEM file with CA certificates."
            ) from error
    return found
