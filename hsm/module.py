"""A PKCS#11 module: the tokens behind it, and what each tells of itself. No PIN is needed for that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pkcs11
from pkcs11 import Mechanism, TokenFlag
from pkcs11 import exceptions as ckr

from hsm import ckr as meanings


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAddress:
    """Where a token is: ``name`` is what people call it, ``serial`` None where the label is enough."""

    name: str
    module: Path
    label: str
    serial: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFacts:
    """What a token tells of itself."""

    label: str
    serial: str
    manufacturer: str
    model: str
    initialised: bool
    write_protected: bool
    pin_is_set: bool
    pin_locked: bool
    pin_nearly_locked: bool
    """One try is left."""
    pin_was_wrong: bool
    """A wrong one was given since the last login that went well."""


def facts_of(token: Any) -> TokenFacts:
    """Return what a token tells of itself."""
    flags = TokenFlag(int(token.flags))
    return TokenFacts(
        label=token.label,
        serial=token.serial.decode("ascii", "replace").strip(" \0"),
        manufacturer=token.manufacturer_id,
        model=token.model,
        initialised=TokenFlag.TOKEN_INITIALIZED in flags,
        write_protected=TokenFlag.WRITE_PROTECTED in flags,
        pin_is_set=TokenFlag.USER_PIN_INITIALIZED in flags,
        pin_locked=TokenFlag.USER_PIN_LOCKED in flags,
        pin_nearly_locked=TokenFlag.USER_PIN_FINAL_TRY in flags,
        pin_was_wrong=TokenFlag.USER_PIN_COUNT_LOW in flags,
    )


def tokens_behind(module: Path) -> tuple[TokenFacts, ...]:
    """Return every token that a module shows. Raise a :class:`hsm.errors.TokenError`."""
    trouble: list[ckr.PKCS11Error] = []
    try:
        found = tokens_of(pkcs11.lib(str(module)), trouble)
        if trouble and not found:
            raise trouble[0]
        return tuple(facts_of(one) for one in found)
    except ckr.PKCS11Error as error:
        bad = meanings.unloadable(str(module), error)
        raise bad or meanings.translated(error, token=str(module), doing="asked for its tokens") from error


def tokens_of(library: Any, trouble: list[ckr.PKCS11Error] | None = None) -> list[Any]:
    """Return the tokens behind a loaded module. Raise :class:`pkcs11.exceptions.PKCS11Error`.

    One that fails does not take the others along: why it does is added to ``trouble``, for whoever misses his own.
    """
    found = []
    for slot in library.get_slots(token_present=True):
        try:
            found.append(slot.get_token())
        except (ckr.TokenNotPresent, ckr.TokenNotRecognised):  # pulled out this moment, or an empty reader
            continue
        except ckr.PKCS11Error as error:
            if trouble is not None:
                trouble.append(error)
    return found


def tokens_at_once(module: str) -> list[Any]:
    """Return the tokens the module knows of; none where what it knows is out of date."""
    library = pkcs11.lib(module)
    try:
        return tokens_of(library)
    except ckr.PKCS11Error:
        return []  # whoever asked looks again, with a module that starts afresh


def reinitialised(module: str) -> Any:
    """Return the module, started afresh: what was plugged in since is seen only then, and no session is left."""
    library = pkcs11.lib(module)
    library.reinitialize()
    return library


def limits(slot: Any, mechanism: Mechanism) -> tuple[int, int]:
    """Return the smallest and largest size of keys for ``mechanism``; (0, 0) where that is not told."""
    try:
        info = slot.get_mechanism_info(mechanism)
    except ckr.MechanismInvalid:
        return 0, 0
    return info.min_key_length, info.max_key_length
