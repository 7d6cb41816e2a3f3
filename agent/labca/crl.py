"""The CRL of the issuing CA: signed when something changed or it grows old, and handed out from memory."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from agent.labca import certificates

if TYPE_CHECKING:
    from agent.labca.certificates import Credential
    from agent.labca.database import Database
    from agent.labca.settings import LabCaSettings

_NUMBER: Final = "crl"


class RevocationList:
    """Makes CRLs. Called with the CA's lock held, inside a database transaction."""

    def __init__(self, settings: LabCaSettings, database: Database, issuer: Credential) -> None:
        """Take the settings, the record of certificates, and who signs."""
        self._settings = settings
        self._database = database
        self._issuer = issuer
        self._octets = b""
        self._this_update = self._next_update = datetime.min.replace(tzinfo=UTC)

    def invalidate(self) -> None:
        """Forget the CRL at hand: something was revoked."""
        self._octets = b""

    def current(self, now: datetime) -> bytes:
        """Return the DER of the present CRL."""
        if not self._octets or not self._this_update <= now < self._next_update:
            number = self._database.number(_NUMBER) + 1
            self._database.set_number(_NUMBER, number)
            self._this_update = certificates.whole_seconds(now)
            self._next_update = self._this_update + self._settings.crl_life
            revoked = tuple(
                (one.serial, datetime.fromtimestamp(one.revoked or 0, UTC), one.reason)
                for one in self._database.revoked()
            )
            self._octets = certificates.sign_crl(self._issuer, revoked, number, self._this_update, self._next_update)
        return self._octets

    def newer_than(self, known: datetime | None, now: datetime) -> bytes | None:
        """Return the present CRL if its thisUpdate is after ``known``; None when the asker has it already."""
        octets = self.current(now)
        return octets if known is None or self._this_update > known else None
