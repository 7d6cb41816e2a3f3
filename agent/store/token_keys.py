"""Which keys were made on tokens for an identity: written down before they are made, and until they are destroyed.

A key on a token outlives whatever happens to the files that name it. With this list nothing is left behind there, and
nothing is destroyed that somebody else made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.errors import StateCorrupt
from agent.store import atomic, documents
from agent.store.credential import check_reference

if TYPE_CHECKING:
    from pathlib import Path

    from agent.store.documents import JSON

LEDGER: Final = "token-keys.json"
SUPERSEDED: Final = "superseded"
"""The mark of a generation that another one followed; its value is the time (ISO 8601)."""
KEY_DESTROYED: Final = "key-destroyed"
"""The mark of a generation whose key is gone from its token: there is no way back to it. Its value is the time."""


class TokenKeys:
    """The list of one identity, in its directory; written under the lock of the identity."""

    def __init__(self, directory: Path) -> None:
        """Keep where it is; nothing is touched yet."""
        self._path = directory / LEDGER

    def load(self) -> tuple[str, ...]:
        """Return the references. Raise :class:`agent.errors.StateError`."""
        data = atomic.read_if_present(self._path)
        if data is None:
            return ()
        remedy = f"remove {self._path}; 'enrollctl token list' then shows the keys that nobody uses"
        document = documents.decode(data, self._path, remedy=remedy)
        try:
            return tuple(check_reference(str(one)) for one in _list(document.get("keys")))
        except ValueError as error:
            raise StateCorrupt(f"{self._path} is not what was written: {error}", remedy=remedy) from error

    def add(self, reference: str) -> None:
        """Write down a key that is about to be made, durably. Raise :class:`agent.errors.StateError`."""
        self._write((*self.load(), check_reference(reference)))

    def remove(self, reference: str) -> None:
        """Strike out a key that is gone, durably. Raise :class:`agent.errors.StateError`."""
        self._write(tuple(one for one in self.load() if one != reference))

    def _write(self, references: tuple[str, ...]) -> None:
        keys: list[JSON] = list(dict.fromkeys(references))
        atomic.write_file(self._path, documents.encode({"keys": keys}))


def _list(value: JSON) -> list[JSON]:
    if not isinstance(value, list):
        raise ValueError("there is no list of keys")  # noqa: TRY004 - one kind of error for everything that is damaged
    return value
