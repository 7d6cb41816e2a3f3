"""What a PKCS#11 module reports (CKR codes), as our errors with their remedies: one table, first match wins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from pkcs11 import exceptions as ckr

from hsm.errors import (
    KeyStoreError,
    KeyStoreUnwritable,
    KeyUnusable,
    ModuleUnusable,
    PeerDataUnusable,
    PinRefused,
    TokenAbsent,
    TokenFailed,
    UnsupportedAlgorithm,
)


@dataclass(frozen=True, slots=True)
class Meaning:
    """``text`` continues "the token enb ..."; in both, ``{token}`` is the token's name and ``{doing}`` what we did."""

    error: type[KeyStoreError]
    text: str
    remedy: str


_PLUG: Final = "plug the token {token} in again, wait for 'enrollctl token list' to show it; nothing is lost"
_UNLOCK: Final = "unlock it with the SO PIN or PUK (pkcs11-tool --init-pin --login-type so, tpm2_dictionarylockout -c)"
_RETRY: Final = (
    "trying again is safe; if it repeats, insert the token anew, run 'enrollctl token probe {token}', and look into "
    "the vendor's log"
)
_SPACE: Final = (
    "free space on the token: 'enrollctl token list' shows keys nobody uses, '--remove-orphans' removes them"
)
_OTHER_KEY: Final = "choose an algorithm that 'enrollctl token probe {token}' lists"

MEANINGS: Final[tuple[tuple[tuple[type[ckr.PKCS11Error], ...], Meaning], ...]] = (
    (
        (ckr.PinIncorrect, ckr.PinInvalid, ckr.PinLenRange),
        Meaning(
            PinRefused,
            "refuses the PIN; it was tried once and is not tried again",
            "find out the user PIN of {token}, put it where the configuration says, then run "
            "'enrollctl token probe {token}'",
        ),
    ),
    ((ckr.PinLocked,), Meaning(PinRefused, "has locked its PIN after too many wrong ones", _UNLOCK)),
    (
        (ckr.PinExpired, ckr.PinTooWeak),
        Meaning(
            PinRefused, "wants a new PIN: this one has expired", "set another one: pkcs11-tool --login --change-pin"
        ),
    ),
    (
        (ckr.UserPinNotInitialized,),
        Meaning(
            PinRefused,
            "has no user PIN yet",
            "set one: pkcs11-tool --module MODULE --token-label {token} --login --login-type so --init-pin",
        ),
    ),
    (
        (ckr.TokenNotPresent, ckr.DeviceRemoved, ckr.NoSuchToken, ckr.SlotIDInvalid),
        Meaning(TokenAbsent, "is gone: it was pulled out or lost its connection while we {doing}", _PLUG),
    ),
    (
        (ckr.TokenNotRecognised,),
        Meaning(
            TokenAbsent,
            "is in its slot, but its module does not recognise it",
            "take it out and insert it the right way round; if it is not that, it is another card, or `module` in the "
            "configuration is for another one",
        ),
    ),
    ((ckr.DeviceMemory,), Meaning(KeyStoreUnwritable, "is full", _SPACE)),
    (
        (ckr.TokenWriteProtected, ckr.SessionReadOnly),
        Meaning(
            KeyStoreUnwritable,
            "is write-protected, and we {doing}",
            "lift the protection with the vendor's tool, or use a key made there beforehand (key.existing)",
        ),
    ),
    (
        (ckr.KeySizeRange, ckr.MechanismInvalid, ckr.DomainParamsInvalid, ckr.FunctionNotSupported),
        Meaning(UnsupportedAlgorithm, "cannot do that: we {doing}", _OTHER_KEY),
    ),
    (
        (ckr.MechanismParamInvalid, ckr.ArgumentsBad),
        Meaning(UnsupportedAlgorithm, "does not know these parameters: we {doing}", _OTHER_KEY),
    ),
    (
        (
            ckr.AttributeReadOnly,
            ckr.AttributeTypeInvalid,
            ckr.AttributeValueInvalid,
            ckr.TemplateIncomplete,
            ckr.TemplateInconsistent,
        ),
        Meaning(UnsupportedAlgorithm, "does not take a key or certificate as we describe it: we {doing}", _OTHER_KEY),
    ),
    (
        (ckr.EncryptedDataInvalid, ckr.EncryptedDataLenRange, ckr.DataInvalid, ckr.DataLenRange, ckr.PublicKeyInvalid),
        Meaning(
            PeerDataUnusable,
            "cannot use what the other side sent: we {doing}",
            "ask the sender which key and which algorithm he uses",
        ),
    ),
    (
        (ckr.FunctionRejected, ckr.UserNotLoggedIn, ckr.KeyTypeInconsistent, ckr.AttributeSensitive),
        Meaning(
            KeyUnusable,
            "does not let us use the key: we {doing}",
            "look at the key's attributes: pkcs11-tool --module MODULE --login --list-objects",
        ),
    ),
    (
        (ckr.SessionCount,),
        Meaning(TokenFailed, "has no session free: other programs hold them all", "end what else uses the token"),
    ),
    ((ckr.HostMemory,), Meaning(TokenFailed, "ran out of memory of this machine", "see 'free -m', then try again")),
)

UNKNOWN: Final = Meaning(TokenFailed, "failed ({code}) while we {doing}", _RETRY)
"""Of every other code."""
_UNLOADABLE: Final = "OS exception while loading"


def translated(error: ckr.PKCS11Error, *, token: str, doing: str) -> KeyStoreError:
    """Return what ``error`` means for the token called ``token``; ``doing`` is in the past tense: "signed"."""
    words = {"token": token, "doing": doing, "code": code_of(error)}
    meaning = next((meaning for kinds, meaning in MEANINGS if isinstance(error, kinds)), UNKNOWN)
    text = f"the token {token} {meaning.text.format_map(words)}"
    return meaning.error(text, remedy=meaning.remedy.format_map(words))


def unloadable(module: str, error: ckr.PKCS11Error) -> ModuleUnusable | None:
    """Return the error for a module that is not there or no PKCS#11 module; None when it is something else."""
    if _UNLOADABLE not in str(error) and "Unknown exception while loading" not in str(error):
        return None
    return ModuleUnusable(
        f"the PKCS#11 module {module} cannot be loaded: {str(error).rpartition(': ')[2]}",
        remedy="install the vendor's package for this machine's architecture, and correct `module` under tokens",
    )


def code_of(error: ckr.PKCS11Error) -> str:
    """Return how a code is called: ``DeviceError``, or what the library says of a vendor's own code."""
    name = type(error).__name__
    said = str(error)
    if type(error) is ckr.PKCS11Error:
        return said or "an unknown code"
    return f"{name}: {said}" if said else name


@contextmanager
def reported(token: str, doing: str) -> Iterator[None]:
    """Turn what the module reports within the block into our errors."""
    try:
        yield
    except ckr.PKCS11Error as error:
        raise translated(error, token=token, doing=doing) from error
