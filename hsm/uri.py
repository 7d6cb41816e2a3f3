"""``pkcs11:`` URIs (RFC 7512): which key, on which token. Nothing here loads a PKCS#11 module."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from hsm.errors import KeyNotFound

SCHEME: Final = "pkcs11:"

OURS: Final = "enrolld:"
"""How the labels of the keys that we make begin: only these are ever destroyed."""

_UNESCAPED: Final = ":[]@!$'()*+,"
"""What stands as it is in a value that we write, beside letters, digits and ``-._~``: what may (pk11-pchar, RFC 7512
2.3), but ``=`` and ``&``, so that no value looks like an attribute."""

_LONGEST: Final = 4096
_PAIR: Final = re.compile(r"([A-Za-z0-9_-]+)=((?:[A-Za-z0-9._~:\[\]@!$'()*+,=&/?|-]|%[0-9A-Fa-f]{2})*)", re.ASCII)
_FOR_OTHERS: Final = frozenset({"manufacturer", "model", "slot-id", "slot-description", "slot-manufacturer"})
_PIN: Final = re.compile(r"[:;?&]pin-(value|source)=", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUri:
    """The attributes of a URI that decide which key is meant; None where the URI leaves it open.

    ``token`` is the label of the token, ``serial`` its serial number, ``object`` the label of the key (CKA_LABEL),
    ``id`` its identifier (CKA_ID).
    """

    token: str | None = None
    serial: str | None = None
    object: str | None = None
    id: bytes | None = None

    def __str__(self) -> str:
        """Write the URI; :func:`parse` reads it back."""
        named = (("token", self.token), ("serial", self.serial))
        parts = [f"{name}={_text(value)}" for name, value in named if value is not None]
        if self.id is not None:
            parts.append("id=" + "".join(f"%{octet:02X}" for octet in self.id))
        if self.object is not None:
            parts.append(f"object={_text(self.object)}")
        return SCHEME + ";".join((*parts, "type=private"))

    @property
    def names_a_key(self) -> bool:
        """Whether it says which of a token's keys is meant."""
        return self.id is not None or self.object is not None


def is_token_key(reference: str) -> bool:
    """Tell whether ``reference`` names a key on a token."""
    return reference.startswith(SCHEME)


def parse(text: str) -> KeyUri:
    """Read a ``pkcs11:`` URI that names a private key.

    ``manufacturer``, ``model``, ``slot-*``, ``library-*`` and ``module-*`` are for whoever has no configuration: the
    token's entry there decides. Unknown attributes are refused, as RFC 7512 section 2.4 wants it.

    Raises:
        KeyNotFound: it is none, names something else than a key, or holds a PIN.
    """
    if not text.startswith(SCHEME) or len(text) > _LONGEST:
        raise _refusal(text, "it is no pkcs11: URI")
    if _PIN.search(text):  # first of all: no other refusal may show it
        raise _refusal("pkcs11:...", "it holds a PIN")
    path, _, query = text.removeprefix(SCHEME).partition("?")
    found = KeyUri()
    seen: set[str] = set()
    for part in filter(None, path.split(";")):
        name, value = _pair(text, part)
        if name in seen:
            raise _refusal(text, f"it names {name} twice")
        seen.add(name)
        found = _with(found, name, value, text)
    asked: set[str] = set()
    for part in filter(None, query.split("&")):
        name, _ = _pair(text, part)
        if name.startswith("x-"):
            continue  # a vendor's may come more than once
        if name not in {"module-name", "module-path"}:
            raise _refusal(text, f"nobody here knows {name}")
        if name in asked:
            raise _refusal(text, f"it names {name} twice")
        asked.add(name)
    return found


def _pair(text: str, part: str) -> tuple[str, bytes]:
    pair = _PAIR.fullmatch(part)
    if pair is None:
        raise _refusal(text, f"{part!a} is not of the form name=value")
    return pair[1], unquote_to_bytes(pair[2])


def _with(found: KeyUri, name: str, value: bytes, text: str) -> KeyUri:
    match name:
        case "id":
            return replace(found, id=value)
        case "type":
            if value != b"private":
                raise _refusal(text, "a private key is wanted")
            return found
        case "token":
            return replace(found, token=_decoded(name, value, text))
        case "serial":
            return replace(found, serial=_decoded(name, value, text))
        case "object":
            return replace(found, object=_decoded(name, value, text))
    if name in _FOR_OTHERS or name.startswith(("library-", "x-")):
        return found
    raise _refusal(text, f"nobody here knows {name}")


def _decoded(name: str, value: bytes, text: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise _refusal(text, f"{name} is not UTF-8") from None


def _text(value: str) -> str:
    return quote_from_bytes(value.encode(), safe=_UNESCAPED)


def _refusal(text: str, why: str) -> KeyNotFound:
    return KeyNotFound(
        f"{text!a} does not name a key: {why}",
        remedy="write it like pkcs11:token=enb;object=ike, and nothing of the PIN",
    )
