"""Sessions with a token: found anew, logged in, closed after one operation, and what the module reports in our words.

Every operation has a session of its own: a TPM holds few keys loaded, a token may have been pulled out and put back
since the last one, and nothing is held open while a CA takes its time. The PIN is given to the token again each time,
but never after the token refused it (:mod:`hsm.pinmemory`).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pkcs11 import Attribute, ObjectClass
from pkcs11 import exceptions as ckr

from hsm import ckr as meanings
from hsm.errors import (
    KeyNotFound,
    KeyStoreError,
    KeyStoreUnwritable,
    KeyUnusable,
    PinRefused,
    TokenAbsent,
    TokenFailed,
)
from hsm.module import TokenAddress, TokenFacts, facts_of, reinitialised, tokens_at_once, tokens_of

if TYPE_CHECKING:
    from pathlib import Path

    from hsm.pinmemory import PinMemory
    from hsm.uri import KeyUri

_SHIFTING: Final = (
    ckr.GeneralError,
    ckr.DeviceError,
    ckr.FunctionFailed,
    ckr.ObjectHandleInvalid,
    ckr.KeyHandleInvalid,
)
"""Codes behind which the token may simply be gone."""

_T = TypeVar("_T")


class NotMadeForUs(Exception):
    """The token answered with a code that, where it came, is about what it was given."""


class Sessions:
    """The way to one token. Its module is loaded, and the PIN tried, at the first operation."""

    def __init__(self, address: TokenAddress, pin: bytes | None, memory: PinMemory) -> None:
        """Keep where the token is; ``pin`` is None where only what is public is asked for."""
        self._address = address
        self._pin = pin
        self._memory = memory
        self._pin_is_good = False

    @property
    def name(self) -> str:
        """What people call the token."""
        return self._address.name

    def demand_pin(self) -> None:
        """Raise :class:`hsm.errors.PinRefused` where no PIN is at hand."""
        if self._pin is None:
            raise PinRefused(
                f"the PIN of the token {self.name} is not at hand",
                remedy=f"put the user PIN of {self.name} where the configuration says",
            )

    def with_key(
        self,
        where: KeyUri,
        doing: str,
        work: Callable[[Any, Any], _T],
        *,
        write: bool = False,
        wrong: tuple[type[ckr.PKCS11Error], ...] = (),
    ) -> _T:
        """Let ``work`` have the private key that ``where`` names, and the session; for keys of this module."""
        with self.opened(doing, serial=where.serial, write=write) as session:
            found = list(private_keys(session, where))
            if len(found) != 1:
                raise self._not_one(where, len(found))
            try:
                return work(found[0], session)
            except wrong as error:
                if self._is_there(where.serial):
                    raise NotMadeForUs from error
                raise

    # --- sessions ---------------------------------------------------------------------------------------------------

    @contextmanager
    def opened(self, doing: str, *, serial: str | None = None, write: bool = False) -> Iterator[Any]:
        """Open a session, logged in if there is a PIN; turn what the module reports into our errors."""
        token = self.token(serial, doing)
        try:
            session = self._logged_in(token, write=write)
            try:
                yield session
            finally:
                _close(session)
        except ckr.PKCS11Error as error:
            if isinstance(error, _SHIFTING) and not self._is_there(serial):
                raise self._gone(doing) from error
            raise meanings.translated(error, token=self.name, doing=doing) from error

    def _logged_in(self, token: Any, *, write: bool) -> Any:
        if self._pin is None:
            return token.open(rw=write)
        try:
            pin = self._pin.decode()
        except UnicodeDecodeError:
            raise PinRefused(
                f"the PIN of the token {self.name} is not UTF-8", remedy="save the file with the PIN as plain text"
            ) from None
        if self._pin_is_good:
            return self._with_pin(token, pin, None, write=write)
        with self._trying() as room:
            self._demand_a_try(facts_of(token))
            session = self._with_pin(token, pin, room, write=write)
            self._pin_is_good = True
            with suppress(OSError):  # it is another PIN that stays in memory then
                self._memory.accepted()
            return session

    def _with_pin(self, token: Any, pin: str, room: Path | None, *, write: bool) -> Any:
        try:
            return token.open(rw=write, user_pin=pin)
        except ckr.UserAlreadyLoggedIn:
            return token.open(rw=write)
        except (ckr.PinIncorrect, ckr.PinInvalid, ckr.PinLenRange):
            facts = facts_of(token)
            _close_all(self._address.module)
            self._pin_is_good = False
            self._remember_refusal(facts, room)
            raise

    @contextmanager
    def _trying(self) -> Iterator[Path | None]:
        """Have the PIN tried by us alone, and only while a refusal could be written down, or a person is there."""
        with ExitStack() as stack:
            room = None
            try:
                room = stack.enter_context(self._memory.trying())
            except OSError as error:
                if not self._memory.insist and self._memory.has_place:
                    raise self._no_try(error) from error
            yield room

    def _no_try(self, error: OSError) -> KeyStoreError:
        if error.errno == errno.EBUSY:
            return TokenFailed(f"the token {self.name} is busy: {error.strerror}", remedy="try again in a minute")
        folder = self._memory.path.parent
        return KeyStoreUnwritable(
            f"the PIN of the token {self.name} is not tried, because a refusal could not be written down: "
            f"{error.strerror}",
            remedy=f"make room for a small file in {folder}, or make it writable; then try again",
        )

    def _demand_a_try(self, facts: TokenFacts) -> None:
        assert self._pin is not None  # noqa: S101 - asked by the caller
        if self._memory.was_refused(self._pin, facts.serial):
            raise PinRefused(
                f"the token {self.name} refused this PIN before; it is not tried again, lest the token locks",
                remedy=f"find out the user PIN of {self.name} and put it where the configuration says; when this one "
                f"is right after all, run 'enrollctl token probe {self.name}'",
            )
        if facts.pin_nearly_locked and not self._memory.insist:
            raise PinRefused(
                f"one more wrong PIN locks the token {self.name}, so none is tried without a person",
                remedy=f"make sure that the PIN is right, then run 'enrollctl token probe {self.name}'",
            )

    def _remember_refusal(self, facts: TokenFacts, room: Path | None) -> None:
        assert self._pin is not None  # noqa: S101 - it was just refused
        try:
            with nullcontext(room) if room else self._memory.trying() as place:
                self._memory.refused(self._pin, facts.serial, place)
        except OSError as error:
            raise PinRefused(
                f"the token {self.name} refuses the PIN, and that cannot be written down: {error.strerror}",
                remedy=f"stop enrolld before it tries again and the token locks; make {self._memory.path.parent} "
                "writable, and put the right PIN where the configuration says",
            ) from error

    def token(self, serial: str | None, doing: str) -> Any:
        """Return the token, looked up anew. Raise a :class:`hsm.errors.TokenError`."""
        module = str(self._address.module)
        trouble: list[ckr.PKCS11Error] = []
        try:
            tokens = tokens_at_once(module)
            if not any(self._is_meant(one, serial) for one in tokens):
                tokens = tokens_of(reinitialised(module), trouble)  # what was plugged in since is seen only then
        except ckr.PKCS11Error as error:
            bad = meanings.unloadable(module, error)
            if bad is not None:
                raise bad from error
            raise self._gone(doing, because=meanings.code_of(error)) from error
        meant = [one for one in tokens if self._is_meant(one, serial)]
        if len(meant) == 1:
            return meant[0]
        if trouble and not meant:
            raise self._gone(doing, because=meanings.code_of(trouble[0]))
        raise self._not_there([facts_of(one) for one in tokens], serial, many=bool(meant))

    def _is_meant(self, token: Any, serial: str | None) -> bool:
        facts = facts_of(token)
        wanted = {one for one in (serial, self._address.serial) if one is not None}
        return facts.initialised and facts.label == self._address.label and wanted <= {facts.serial}

    def _is_there(self, serial: str | None) -> bool:
        try:
            reinitialised(str(self._address.module))
            self.token(serial, "looked for it")
        except (TokenAbsent, ckr.PKCS11Error):
            return False
        return True

    # --- what went wrong --------------------------------------------------------------------------------------------

    def _not_there(self, seen: list[TokenFacts], serial: str | None, *, many: bool) -> TokenAbsent:
        address = self._address
        if many:
            numbers = ", ".join(one.serial for one in seen if one.label == address.label)
            return TokenAbsent(
                f"several tokens have the label {address.label}: {numbers}",
                remedy=f"name the serial number of {self.name} in the configuration, under tokens.{self.name}.serial",
            )
        wanted = serial or address.serial
        others = [one.serial for one in seen if one.initialised and one.label == address.label]
        if others:
            return TokenAbsent(
                f"the token labelled {address.label} is another one: its serial number is {', '.join(others)}, and "
                f"{wanted} is wanted",
                remedy=f"plug in the token {wanted}; where a new token took its place for good, correct "
                f"tokens.{self.name}.serial and enroll again",
            )
        present = ", ".join(sorted(one.label for one in seen if one.initialised)) or "none"
        blank = "; one there is not initialised yet" if any(not one.initialised for one in seen) else ""
        return TokenAbsent(
            f"there is no token labelled {address.label} (present: {present}{blank})",
            remedy=f"plug in the token {self.name}, or correct its label; a new one is set up by "
            "'pkcs11-tool --init-token --label LABEL' (see docs/tokens.md)",
        )

    def _gone(self, doing: str, *, because: str = "") -> TokenAbsent:
        gone = ckr.DeviceRemoved(because)
        return TokenAbsent(
            str(meanings.translated(gone, token=self.name, doing=doing)) + (f" ({because})" if because else ""),
            remedy=meanings.translated(gone, token=self.name, doing=doing).remedy,
        )

    def _not_one(self, where: KeyUri, count: int) -> KeyNotFound | KeyUnusable:
        if count:
            return KeyUnusable(f"{count} keys are called {where}", remedy="add the key's id= to the URI")
        return KeyNotFound(
            f"there is no key {where} on the token {self.name}",
            remedy=f"see what 'enrollctl token list' shows; a key that was destroyed cannot be brought back: enroll "
            f"again, with the vendor's certificate or a new secret (was {self.name} initialised anew?)",
        )


def _close(session: Any) -> None:
    with suppress(ckr.PKCS11Error):  # the token is gone, and its sessions with it
        session.close()


def _close_all(module: Path) -> None:
    """Leave no session behind: the library hands out none when the login fails, but the module keeps it."""
    with suppress(ckr.PKCS11Error):  # the refusal of the PIN is what is reported
        reinitialised(str(module))


def private_keys(session: Any, where: KeyUri) -> Iterator[Any]:
    """Return the private keys that ``where`` may name."""
    wanted: dict[Attribute, Any] = {Attribute.CLASS: ObjectClass.PRIVATE_KEY}
    if where.id is not None:
        wanted[Attribute.ID] = where.id
    if where.object is not None:
        wanted[Attribute.LABEL] = where.object
    yield from list(session.get_objects(wanted))
