"""Codes of PKCS#11 modules with their numbers (PKCS #11 3.0, annex B), and what each means for us: for ``explain``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hsm.ckr import Meaning

CODES: Final = {
    "HOST_MEMORY": 0x02, "SLOT_ID_INVALID": 0x03, "GENERAL_ERROR": 0x05, "FUNCTION_FAILED": 0x06,
    "ARGUMENTS_BAD": 0x07, "ATTRIBUTE_READ_ONLY": 0x10, "ATTRIBUTE_SENSITIVE": 0x11, "ATTRIBUTE_TYPE_INVALID": 0x12,
    "ATTRIBUTE_VALUE_INVALID": 0x13, "DATA_INVALID": 0x20, "DATA_LEN_RANGE": 0x21, "DEVICE_ERROR": 0x30,
    "DEVICE_MEMORY": 0x31, "DEVICE_REMOVED": 0x32, "ENCRYPTED_DATA_INVALID": 0x40, "ENCRYPTED_DATA_LEN_RANGE": 0x41,
    "FUNCTION_NOT_SUPPORTED": 0x54, "KEY_SIZE_RANGE": 0x62, "KEY_TYPE_INCONSISTENT": 0x63, "MECHANISM_INVALID": 0x70,
    "MECHANISM_PARAM_INVALID": 0x71, "PIN_INCORRECT": 0xA0, "PIN_INVALID": 0xA1, "PIN_LEN_RANGE": 0xA2,
    "PIN_EXPIRED": 0xA3, "PIN_LOCKED": 0xA4, "SESSION_COUNT": 0xB1, "SESSION_READ_ONLY": 0xB5,
    "TEMPLATE_INCOMPLETE": 0xD0, "TEMPLATE_INCONSISTENT": 0xD1, "TOKEN_NOT_PRESENT": 0xE0,
    "TOKEN_NOT_RECOGNIZED": 0xE1, "TOKEN_WRITE_PROTECTED": 0xE2, "USER_NOT_LOGGED_IN": 0x101,
    "USER_PIN_NOT_INITIALIZED": 0x102, "DOMAIN_PARAMS_INVALID": 0x130,
    "FUNCTION_REJECTED": 0x200,
}  # fmt: skip
"""Name without CKR_ -> number."""


def meanings() -> Iterator[tuple[str, int, Meaning]]:
    """Yield each code by its name in the standard, with its number and its meaning."""
    from hsm.ckr import MEANINGS, UNKNOWN  # noqa: PLC0415 - brings a compiled library along

    known = {_squeezed(kind.__name__): meaning for kinds, meaning in MEANINGS for kind in kinds}
    for name, number in CODES.items():
        yield f"CKR_{name}", number, known.get(_squeezed(name), UNKNOWN)


def _squeezed(name: str) -> str:
    """Return a name as the standard and python-pkcs11 agree on it (SLOT_ID_INVALID, SlotIDInvalid)."""
    return name.replace("_", "").lower().replace("recognised", "recognized")
