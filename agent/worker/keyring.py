"""The one place that knows which store holds a key: files below the state directory, or one of the job's tokens."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.errors import ConfigurationError
from agent.frozen import frozen
from agent.settings import SOFTWARE
from hsm import uri
from hsm.software import SoftwareKeyStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.contract import Job
    from agent.settings import TokenSettings
    from hsm.algorithms import KeyAlgorithm
    from hsm.keystore import Key
    from hsm.pkcs11 import TokenKeyStore

MEMORY: Final = "tokens"
"""The folder of the state directory that remembers what PIN a token refused, a file a token."""


@frozen
class Keyring:
    """Every key that a job can reach. No PKCS#11 module is loaded before a key on a token is asked for."""

    state_directory: Path
    tokens: Mapping[str, TokenSettings] = field(default_factory=dict)
    pins: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    insist: bool = False
    """Whether a person is there who wants a PIN tried although it was refused before."""
    _opened: dict[str, TokenKeyStore] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, job: Job, pins: Mapping[str, bytes] | None = None) -> Keyring:
        """Return the keys that ``job`` can reach; ``pins`` are those of its tokens, by their names."""
        return cls(job.state_directory, job.tokens, pins or {})

    @property
    def software(self) -> SoftwareKeyStore:
        """The store for keys in files."""
        return SoftwareKeyStore(self.state_directory)

    def token(self, name: str) -> TokenKeyStore:
        """Return the store that the configuration calls ``name``.

        Raises:
            ConfigurationError: there is none.
        """
        if name not in self._opened:
            self._opened[name] = self._open(name)
        return self._opened[name]

    def store_name(self, reference: str) -> str:
        """Return ``software``, or the name of the token that the key ``reference`` is on.

        Raises:
            ConfigurationError: no token of the configuration can be the one.
            KeyNotFound: it names no key.
        """
        if not uri.is_token_key(reference):
            return SOFTWARE
        where = uri.parse(reference)
        fitting = [
            name
            for name, token in self.tokens.items()
            if _may_be(where.token, token.label) and _may_be(where.serial, token.serial)
        ]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise ConfigurationError(
                f"the key {reference} may be on any of the tokens {', '.join(sorted(fitting))}",
                remedy="Add token= (its label) or serial= to the URI.",
            )
        raise ConfigurationError(
            f"the key {reference} is on a token that is not configured",
            remedy="Add the token under `tokens`: its module, label and where its PIN comes from.",
        )

    def find(self, reference: str) -> Key:
        """Open the key that ``reference`` names, wherever it is.

        Raises:
            ConfigurationError: it is on a token that is not configured.
            KeyStoreError: it cannot be used.
        """
        name = self.store_name(reference)
        return self.software.find(reference) if name == SOFTWARE else self.token(name).find(reference)

    def generate(self, name: str, algorithm: KeyAlgorithm, place: str | Path) -> Key:
        """Make a key in the store ``name``: at the path ``place``, or under the reference that a token proposed.

        Raises:
            ConfigurationError: there is no such store.
            KeyStoreError: it cannot be made.
        """
        store = self.software if name == SOFTWARE else self.token(name)
        return store.generate(algorithm, str(place))

    def _open(self, name: str) -> TokenKeyStore:
        from hsm.module import TokenAddress  # noqa: PLC0415 - most jobs have no token
        from hsm.pinmemory import PinMemory  # noqa: PLC0415 - as above
        from hsm.pkcs11 import TokenKeyStore  # noqa: PLC0415 - as above

        if name not in self.tokens:
            raise ConfigurationError(
                f"there is no token {name!r}", remedy=f"Choose one of {', '.join([SOFTWARE, *sorted(self.tokens)])}."
            )
        token = self.tokens[name]
        address = TokenAddress(name=name, module=token.module, label=token.label, serial=token.serial)
        memory = PinMemory(self.state_directory / MEMORY / f"{name}.json", insist=self.insist)
        return TokenKeyStore(address, self.pins.get(name), memory)


def _may_be(named: str | None, known: str | None) -> bool:
    return named is None or known is None or named == known
