"""What is kept on disk for an authority: roots that followed the configured ones, and its CA certificates.

::

    authorities/<name>/
        lock
        trust-anchors.pem      roots accepted on the authority of a configured or earlier one; trusted
        ca-certificates.pem    certificates the CA sent for building paths; not trusted
        crls/                  CRLs as they came, by issuer and scope; whoever reads one verifies it
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from agent.digest import sha256_hex
from agent.errors import ConfigurationError, StateCorrupt, StateError
from agent.store import atomic, pem
from agent.store.faults import reported
from agent.store.generations import IDENTITY_NAME
from agent.store.locking import exclusive_lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRUST_ANCHORS: Final = "trust-anchors.pem"
CA_CERTIFICATES: Final = "ca-certificates.pem"
CRLS: Final = "crls"
MAXIMUM_LISTS: Final = 16
"""CRLs that are kept for one authority; a path has at most eight certificates."""


class AuthorityStore:
    """What is kept for the authority ``name``. Opening it touches nothing; certificates are DER."""

    def __init__(self, state_directory: Path, name: str) -> None:
        """Keep where it lives. Raise :class:`ConfigurationError` when ``name`` is no safe file name."""
        if not IDENTITY_NAME.fullmatch(name):
            raise ConfigurationError(
                f"{name!a} cannot be the name of an authority",
                remedy="use 1 to 64 letters, digits, dots, hyphens and underscores, with a letter or digit first",
            )
        self.directory = state_directory / "authorities" / name

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold this authority for the block; make its directory and remove what a crash left half done."""
        atomic.make_directory(self.directory.parent)
        atomic.make_directory(self.directory)
        with exclusive_lock(self.directory / "lock", f"authority {self.directory.name}"):
            atomic.sweep(self.directory)
            yield

    @property
    def trust_anchors(self) -> tuple[bytes, ...]:
        """Roots that were accepted after the configured ones, oldest first."""
        return self._read(TRUST_ANCHORS)

    @property
    def ca_certificates(self) -> tuple[bytes, ...]:
        """CA certificates for building paths; nothing makes them trusted."""
        return self._read(CA_CERTIFICATES)

    def add_trust_anchor(self, certificate: bytes) -> None:
        """Keep a root beside those there are, durably; under the lock. Adding it twice changes nothing."""
        present = self.trust_anchors
        if certificate not in present:
            atomic.write_file(self.directory / TRUST_ANCHORS, pem.encode((*present, certificate)))

    def save_ca_certificates(self, certificates: tuple[bytes, ...]) -> None:
        """Replace the CA certificates, durably; under the lock."""
        if certificates != self.ca_certificates:
            data = pem.encode(certificates, nothing="the CA sent none")
            atomic.write_file(self.directory / CA_CERTIFICATES, data)

    @property
    def lists(self) -> tuple[bytes, ...]:
        """The CRLs at hand, DER; they prove nothing before they are verified. What cannot be read is left out."""
        try:
            names = sorted(os.listdir(self.directory / CRLS))
        except OSError:
            return ()  # none yet, or none to be had: then they are fetched
        found = []
        for name in [one for one in names if not atomic.is_temporary(one)][:MAXIMUM_LISTS]:
            with suppress(StateError):
                found.append(atomic.read_bounded(self.directory / CRLS / name))
        return tuple(found)

    def save_list(self, place: bytes, octets: bytes) -> None:
        """Keep a CRL instead of the earlier one of the same ``place`` (issuer and scope), durably; under the lock.

        Beyond the number that is kept, the one that was written first goes.
        """
        directory = self.directory / CRLS
        atomic.make_directory(directory)
        atomic.sweep(directory)
        path = directory / f"{sha256_hex(place)}.crl"
        with reported("tidy", directory):
            others = sorted((one for one in directory.iterdir() if one != path), key=lambda one: one.stat().st_mtime)
            for one in others[: max(len(others) + 1 - MAXIMUM_LISTS, 0)]:
                one.unlink(missing_ok=True)
        atomic.write_file(path, octets)

    def _read(self, name: str) -> tuple[bytes, ...]:
        path = self.directory / name
        data = atomic.read_if_present(path)
        try:
            return pem.decode(data) if data is not None else ()
        except ValueError as error:
            raise StateCorrupt(
                f"{path} is damaged: {error}",
                remedy=f"remove {path}; 'enrollctl refresh' brings it back from the CA",
            ) from error
