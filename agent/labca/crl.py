"""The CRLs of root and issuing CA: signed when something changed or it grows old, and handed out from memory."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agent.labca import certificates

if TYPE_CHECKING:
    from agent.labca.certificates import Credential
    from agent.labca.database import Database
    from agent.labca.settings import LabCaSettings


class RevocationList:
    """Makes CRLs. Called with the CA's lock held, inside a database transaction."""

    def __init__(self, settings: LabCaSettings, database: Database, issuer: Credential, *, name: str = "crl") -> None:
        """Take the settings, the record of certificates, who signs, and what its numbers are kept under."""
        self._name = name
        self._own: dict[int, tuple[datetime, int]] = {}
        self.issued_here = True
        """Whether the record of certificates is of this issuer's."""
        self._settings = settings
        self._database = database
        self._issuer = issuer
        self._octets = b""
        self._this_update = self._next_update = datetime.min.replace(tzinfo=UTC)

    def invalidate(self) -> None:
        """Forget the CRL at hand: something was revoked."""
        self._octets = b""

    def revoke(self, serial: int, now: datetime, reason: int | None) -> None:
        """Put a certificate of the lab's own on the list with a CRLReason, or take it off again (None)."""
        self._own.pop(serial, None)
        if reason is not None:
            self._own[serial] = (now, reason)
        self.invalidate()

    def current(self, now: datetime) -> bytes:
        """Return the DER of the present CRL."""
        if not self._octets or not self._this_update <= now < self._next_update:
            number = self._database.number(self._name) + 1
            self._database.set_number(self._name, number)
            self._this_update = certificates.whole_seconds(now)
            self._next_update = self._this_update + self._settings.crl_life
            devices = self._database.revoked() if self.issued_here else ()
            revoked = (
                *((one.serial, datetime.fromtimestamp(one.revoked or 0, UTC), one.reason) for one in devices),
                *((serial, when, reason) for serial, (when, reason) in self._own.items()),
            )
            self._octets = certificates.sign_crl(self._issuer, revoked, number, self._this_update, self._next_update)
        return self._octets

    def newer_than(self, known: datetime | None, now: datetime) -> bytes | None:
        """Return the present CRL if its thisUpdate is after ``known``; None when the asker has it already."""
        octets = self.current(now)
        return octets if known is None or self._this_update > known else None
