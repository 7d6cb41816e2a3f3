"""What the lab CA remembers, in SQLite: secrets, transactions, every message, every certificate, the CRL number.

One exchange is one database transaction, and it is on the disk before the answer leaves: a CA that was killed goes on
where it was, in the middle of a transaction too. One connection, used under the caller's lock.
"""

from __future__ import annotations

import contextlib
import sqlite3
import weakref
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from agent.cmp.messages import BodyType
from agent.errors import StateError
from agent.labca.records import Certificate, CertificateStatus, LoggedMessage, Transaction, TransactionState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS secrets (reference TEXT PRIMARY KEY, secret BLOB NOT NULL, uses INTEGER);
CREATE TABLE IF NOT EXISTS transactions (
    id BLOB PRIMARY KEY, state TEXT NOT NULL, type INTEGER NOT NULL, identity TEXT NOT NULL, opened REAL NOT NULL,
    first_nonce BLOB NOT NULL, nonces BLOB NOT NULL, signer BLOB NOT NULL, cert_req_id INTEGER NOT NULL, serial TEXT,
    pending BLOB, pending_id INTEGER NOT NULL, polls INTEGER NOT NULL, ready_at REAL NOT NULL, decision TEXT NOT NULL,
    confirm_by REAL, last_request BLOB NOT NULL, last_answer BLOB NOT NULL, challenge TEXT);
CREATE TABLE IF NOT EXISTS certificates (
    serial TEXT PRIMARY KEY, octets BLOB NOT NULL UNIQUE, subject TEXT NOT NULL, status TEXT NOT NULL,
    owner TEXT NOT NULL, key BLOB NOT NULL, transaction_id BLOB NOT NULL, issued REAL NOT NULL, revoked REAL,
    reason INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS certificates_by_key ON certificates (key);
CREATE TABLE IF NOT EXISTS messages (
    number INTEGER PRIMARY KEY, transaction_id BLOB, at REAL NOT NULL, sent INTEGER NOT NULL, type INTEGER,
    octets BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS messages_by_transaction ON messages (transaction_id);
CREATE TABLE IF NOT EXISTS numbers (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""

_TRANSACTION_FIELDS: Final = tuple(field.name for field in fields(Transaction))
_SAVE: Final = (
    f"INSERT OR REPLACE INTO transactions ({', '.join(_TRANSACTION_FIELDS)}) "  # noqa: S608 - our own field names
    f"VALUES ({', '.join('?' * len(_TRANSACTION_FIELDS))})"
)
_NEWEST: Final = 16 * 32
"""Octets of unacknowledged nonces kept: a client that polls 32 times without ever hearing us is lost anyway."""


class Database:
    """The SQLite file. All methods are called with the CA's lock held; writes happen inside :meth:`exchange`."""

    def __init__(self, path: Path | None, *, durable: bool = True) -> None:
        """Open or make the file; None keeps everything in memory.

        Raises:
            StateError: when the file cannot be opened or is no database of ours.
        """
        try:
            self._connection = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
            # A CA in memory that nobody closes is closed with its last reference, without a warning.
            weakref.finalize(self, self._connection.close)
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
            self._connection.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise StateError(
                f"the lab CA cannot use its database {path}: {error}",
                remedy="Check that no other lab CA runs on this directory; if the file is damaged, delete it.",
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextlib.contextmanager
    def exchange(self) -> Iterator[None]:
        """Make everything written inside durable at once, or nothing of it."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    # --- secrets -----------------------------------------------------------------------------------------------------

    def add_secret(self, reference: str, secret: bytes, uses: int | None) -> None:
        """Add or replace a secret; ``uses`` is how many certificates it is good for, None for any number."""
        self._connection.execute("INSERT OR REPLACE INTO secrets VALUES (?, ?, ?)", (reference, secret, uses))

    def secret(self, reference: str) -> tuple[bytes, int | None] | None:
        """Return the secret and its uses left; None for an unknown reference."""
        row = self._one("SELECT secret, uses FROM secrets WHERE reference = ?", reference)
        return (row["secret"], row["uses"]) if row else None

    def spend_secret(self, reference: str) -> None:
        """Count one use of a secret."""
        self._connection.execute("UPDATE secrets SET uses = uses - 1 WHERE reference = ?", (reference,))

    # --- transactions ------------------------------------------------------------------------------------------------

    def transaction(self, identifier: bytes) -> Transaction | None:
        """Return the transaction with this transactionID."""
        row = self._one("SELECT * FROM transactions WHERE id = ?", identifier)
        return _transaction(row) if row else None

    def transactions(self) -> list[Transaction]:
        """Return all transactions, oldest first."""
        return [
            _transaction(row) for row in self._connection.execute("SELECT * FROM transactions ORDER BY opened, rowid")
        ]

    def overdue(self, now: float) -> list[Transaction]:
        """Return the transactions whose certificate was not confirmed in time."""
        rows = self._connection.execute("SELECT * FROM transactions WHERE state = 'issued' AND confirm_by < ?", (now,))
        return [_transaction(row) for row in rows]

    def save(self, transaction: Transaction) -> None:
        """Write ``transaction``."""
        transaction.nonces = transaction.nonces[-_NEWEST:]
        self._connection.execute(_SAVE, [getattr(transaction, name) for name in _TRANSACTION_FIELDS])

    # --- certificates ------------------------------------------------------------------------------------------------

    def add_certificate(self, certificate: Certificate) -> None:
        """Keep a certificate that is about to be handed out."""
        self._connection.execute(
            "INSERT INTO certificates VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                f"{certificate.serial:x}",
                certificate.octets,
                certificate.subject,
                certificate.status,
                certificate.owner,
                certificate.key,
                certificate.transaction_id,
                certificate.issued,
                certificate.revoked,
                certificate.reason,
            ),
        )

    def certificate(self, serial: int) -> Certificate | None:
        """Return the certificate with this serial number."""
        row = self._one("SELECT * FROM certificates WHERE serial = ?", f"{serial:x}")
        return _certificate(row) if row else None

    def certificate_by_octets(self, octets: bytes) -> Certificate | None:
        """Return what is known of exactly this certificate."""
        row = self._one("SELECT * FROM certificates WHERE octets = ?", octets)
        return _certificate(row) if row else None

    def knows_key(self, key: bytes) -> bool:
        """Tell whether this SubjectPublicKeyInfo was certified before."""
        return self._one("SELECT 1 FROM certificates WHERE key = ?", key) is not None

    def certificates(self) -> list[Certificate]:
        """Return all certificates, oldest first."""
        return [_certificate(row) for row in self._connection.execute("SELECT * FROM certificates ORDER BY rowid")]

    def revoked(self) -> list[Certificate]:
        """Return the revoked certificates."""
        rows = self._connection.execute("SELECT * FROM certificates WHERE status = 'revoked' ORDER BY rowid")
        return [_certificate(row) for row in rows]

    def set_status(self, serial: int, status: CertificateStatus) -> None:
        """Say what became of a certificate."""
        self._connection.execute("UPDATE certificates SET status = ? WHERE serial = ?", (status, f"{serial:x}"))

    def revoke(self, serial: int, at: float, reason: int) -> None:
        """Mark a certificate as revoked, with the CRLReason of RFC 5280 5.3.1."""
        self._connection.execute(
            "UPDATE certificates SET status = 'revoked', revoked = ?, reason = ? WHERE serial = ?",
            (at, reason, f"{serial:x}"),
        )

    # --- messages and numbers ----------------------------------------------------------------------------------------

    def log(
        self, transaction_id: bytes | None, at: datetime, kind: BodyType | None, octets: bytes, *, sent: bool
    ) -> None:
        """Keep one message."""
        self._connection.execute(
            "INSERT INTO messages (transaction_id, at, sent, type, octets) VALUES (?, ?, ?, ?, ?)",
            (transaction_id, at.timestamp(), sent, kind, octets),
        )

    def messages(self) -> list[LoggedMessage]:
        """Return all messages, oldest first."""
        return [_message(row) for row in self._connection.execute("SELECT * FROM messages ORDER BY number")]

    def answer_of_another(self, transaction_id: bytes, kind: BodyType) -> bytes | None:
        """Return the newest message of type ``kind`` that was sent in another transaction."""
        row = self._one(
            "SELECT octets FROM messages WHERE sent AND type = ? AND transaction_id <> ? ORDER BY number DESC LIMIT 1",
            kind,
            transaction_id,
        )
        return row["octets"] if row else None

    def number(self, name: str) -> int:
        """Return a number that is kept, 0 before it was set."""
        row = self._one("SELECT value FROM numbers WHERE name = ?", name)
        return int(row["value"]) if row else 0

    def set_number(self, name: str, value: int) -> None:
        """Keep a number."""
        self._connection.execute("INSERT OR REPLACE INTO numbers VALUES (?, ?)", (name, value))

    def _one(self, statement: str, *arguments: Any) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._connection.execute(statement, arguments).fetchone()
        return row


def _transaction(row: sqlite3.Row) -> Transaction:
    values = {name: row[name] for name in _TRANSACTION_FIELDS}
    values["type"] = BodyType(values["type"])
    values["state"] = TransactionState(values["state"])
    return Transaction(**values)


def _certificate(row: sqlite3.Row) -> Certificate:
    return Certificate(
        serial=int(row["serial"], 16),
        status=CertificateStatus(row["status"]),
        **{
            name: row[name]
            for name in ("octets", "subject", "owner", "key", "transaction_id", "issued", "revoked", "reason")
        },
    )


def _message(row: sqlite3.Row) -> LoggedMessage:
    return LoggedMessage(
        time=datetime.fromtimestamp(row["at"], UTC),
        sent=bool(row["sent"]),
        type=None if row["type"] is None else BodyType(row["type"]),
        octets=row["octets"],
        transaction_id=row["transaction_id"],
    )
