"""Which keys were made on tokens for an identity: written down before they are made, and until they are destroyed.

A key on a token outlives whatever happens to the files that name it. With this list nothing is left behind there, and
nothing is destroyed that somebody else made.
"""

from __future__ import annotations

from datetime import datetime
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
        return self._read()[0]

    def add(self, reference: str) -> None:
        """Write down a key that is about to be made, durably. Raise :class:`agent.errors.StateError`."""
        keys, at = self._read()
        self._write((*keys, check_reference(reference)), at)

    def remove(self, reference: str) -> None:
        """Strike out a key that is gone, durably. Raise :class:`agent.errors.StateError`."""
        keys, at = self._read()
        self._write(tuple(one for one in keys if one != reference), at)

    def retire_at(self) -> datetime | None:
        """Return when the time of some key has come; None when none waits. Raise :class:`agent.errors.StateError`."""
        return self._read()[1]

    def plan(self, at: datetime | None) -> None:
        """Write down when to look for keys to destroy, durably. Raise :class:`agent.errors.StateError`."""
        keys, before = self._read()
        if at != before:
            self._write(keys, at)

    def _read(self) -> tuple[tuple[str, ...], datetime | None]:
        data = atomic.read_if_present(self._path)
        if data is None:
            return (), None
        remedy = f"remove {self._path}; 'enrollctl token list' then shows the keys that nobody uses"
        document = documents.decode(data, self._path, remedy=remedy)
        try:
            keys = tuple(check_reference(str(one)) for one in _list(document.get("keys")))
            return keys, _moment(document.get("retire-at"))
        except ValueError as error:
            raise StateCorrupt(f"{self._path} is not what was written: {error}", remedy=remedy) from error

    def _write(self, references: tuple[str, ...], at: datetime | None) -> None:
        keys: list[JSON] = list(dict.fromkeys(references))
        written = None if at is None else at.isoformat(timespec="seconds")
        atomic.write_file(self._path, documents.encode({"keys": keys, "retire-at": written}))


def _moment(value: JSON) -> datetime | None:
    if value is None:
        return None
    moment = datetime.fromisoformat(str(value))
    if moment.tzinfo is None:
        raise ValueError(f"{value} has no time zone")
    return moment


def _list(value: JSON) -> list[JSON]:
    if not isinstance(value, list):
        raise ValueError("there is no list of keys")  # noqa: TRY004 - one kind of error for everything that is damaged
    return value
