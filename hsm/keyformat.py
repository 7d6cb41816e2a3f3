"""Private keys as they stand in files: PKCS#8, PKCS#1 or SEC 1, in PEM or DER."""

from __future__ import annotations

import re
import shlex
from base64 import b64decode
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import UnsupportedAlgorithm as NotSupported
from cryptography.hazmat.primitives import serialization

from hsm.errors import KeyUnusable, UnsupportedAlgorithm

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

_EXPANDED_ML_DSA: Final = re.compile(
    rb"\x30\x82(?P<length>..)(?P<head>\x02\x01\x00\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03[\x11-\x13])"
    rb"\x04\x82..(?:\x30\x82..\x04\x20(?P<seed>.{32}))?\x04\x82",
    re.DOTALL,
)
"""The beginning of a PrivateKeyInfo with ML-DSA-44, -65 or -87 in the forms ``both`` and ``expandedKey``: DER, and as
long as their sizes make it."""

_PEM_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


def decode(data: bytes, path: Path) -> PrivateKeyTypes:
    """Read the one private key in ``data``: a PEM block, or else DER. ``path`` is for the messages.

    Raises:
        KeyUnusable: when there is none, more than one, or an encrypted or damaged one.
        UnsupportedAlgorithm: when the installed library does not know such keys.
    """
    block = _private_block(data, path) if b"-----BEGIN " in data else None
    try:
        if seeded := _seed_alone(data if block is None else _octets_in(block), path):
            return serialization.load_der_private_key(seeded, password=None)
        if block is None:
            return serialization.load_der_private_key(data, password=None)
        return serialization.load_pem_private_key(block, password=None)
    except TypeError as error:  # so cryptography says that a pass phrase is missing
        raise _encrypted(path) from error
    except NotSupported as error:
        raise UnsupportedAlgorithm(
            f"{path} holds a key of a kind that the installed Python package cryptography does not know",
            remedy="install cryptography 50 or later from its own wheels, or use a key of another kind",
        ) from error
    except ValueError as error:
        raise _damaged(path) from error


def _octets_in(block: bytes) -> bytes:
    """Return what is in a PEM block, b"" where it is not plain base64: the library will say what is wrong."""
    try:
        return b64decode(b"".join(block.split(b"-----")[2].split()), validate=True)
    except ValueError:
        return b""


def _seed_alone(der: bytes, path: Path) -> bytes | None:
    """Return an ML-DSA key in the one form that the library reads; None where nothing needs to be done.

    RFC 9881 section 6 knows three: the seed, the key expanded from it, or both, which is what OpenSSL writes.
    """
    found = _EXPANDED_ML_DSA.match(der)
    if found is None or int.from_bytes(found["length"], "big") != len(der) - 4:
        return None
    if found["seed"] is None:
        raise KeyUnusable(
            f"{path} holds an ML-DSA key without the seed it was made from, which cannot be used",
            remedy="make one with its seed: openssl genpkey -algorithm ML-DSA-65 -provparam "
            "ml-dsa.output_formats=seed-only",
        )
    return b"\x30\x34" + found["head"] + b"\x04\x22\x80\x20" + found["seed"]


def unusable(path: Path, found: str) -> KeyUnusable:
    """Return the error for a key that is whole and of no use here; ``found``: "an RSA key of 512 bits"."""
    return KeyUnusable(
        f"{path} holds {found}, which cannot be used",
        remedy="use RSA with 2048 bits or more, a NIST curve (P-256, P-384, P-521), Ed25519, Ed448 or ML-DSA",
    )


def _private_block(data: bytes, path: Path) -> bytes:
    blocks = {match.group(): match.group(1).decode() for match in _PEM_BLOCK.finditer(data)}
    private = [block for block, label in blocks.items() if label.endswith("PRIVATE KEY")]
    if not blocks:
        raise _damaged(path)
    if not private:
        raise KeyUnusable(
            f"{path} holds {', '.join(sorted(set(blocks.values())))} but no private key",
            remedy="name the file with the private key; certificates are configured elsewhere",
        )
    if len(private) > 1:
        raise KeyUnusable(
            f"{path} holds {len(private)} private keys, and nothing says which one is meant",
            remedy="put the key that is meant into a file of its own",
        )
    label = blocks[private[0]]
    if label.startswith("ENCRYPTED") or b"Proc-Type: 4,ENCRYPTED" in private[0]:  # PKCS#8; PKCS#1 and SEC 1
        raise _encrypted(path)
    if label == "OPENSSH PRIVATE KEY":
        raise KeyUnusable(
            f"{path} is in OpenSSH's own format",
            remedy=f"rewrite a copy of it as PKCS#8: ssh-keygen -p -m PKCS8 -f {shlex.quote(str(path))}",
        )
    return private[0]


def _encrypted(path: Path) -> KeyUnusable:
    return KeyUnusable(
        f"the private key in {path} is encrypted, and nobody is there to give the pass phrase when a device starts",
        remedy=f"store it without one, in a protected place: openssl pkey -in {shlex.quote(str(path))} -out NEWFILE",
    )


def _damaged(path: Path) -> KeyUnusable:
    return KeyUnusable(
        f"{path} holds no readable private key: it is empty, cut short, or no key file at all",
        remedy=f"check it with 'openssl pkey -noout -in {shlex.quote(str(path))}', and make a new key if it is lost",
    )
