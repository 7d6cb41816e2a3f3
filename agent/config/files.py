"""Whether the files a configuration names are there. Loading does not ask: the files may arrive later than it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.config.findings import KeyPath, Notice

if TYPE_CHECKING:
    from agent.settings import AuthoritySettings, IdentitySettings, Settings

LARGEST: Final = 1_048_576
"""Octets. A file with this many certificates is something else."""

_BEGIN: Final = b"-----BEGIN "


def check_files(settings: Settings) -> tuple[Notice, ...]:
    """Return what is wrong with the trust anchors, certificates, keys and PKCS#11 modules that are named.

    They must be readable regular files, and all but modules must hold PEM. Nothing else is looked at, least of all
    whether a key fits a certificate.
    """
    return tuple(
        Notice(key, *trouble) for key, path, pem in _named_files(settings) if (trouble := _trouble(path, pem=pem))
    )


def _named_files(settings: Settings) -> Iterator[tuple[KeyPath, Path, bool]]:
    """Yield every key, the file it names, and whether that must hold PEM."""
    for name, authority in settings.authorities.items():
        for key, path in _of_authority(authority):
            yield ("authorities", name, *key), path, True
    for name, identity in settings.identities.items():
        for key, path in _of_identity(identity):
            yield ("identities", name, *key), path, True
    for name, token in settings.tokens.items():
        yield ("tokens", name, "module"), token.module, False


def _of_authority(authority: AuthoritySettings) -> Iterator[tuple[KeyPath, Path]]:
    for index, path in enumerate(authority.trust_anchors or ()):
        yield ("trust-anchors", index), path
    for index, path in enumerate(authority.http.tls_trust_anchors):
        yield ("http", "tls-trust-anchors", index), path
    if authority.http.tls_certificate is not None:
        yield ("http", "tls-certificate"), authority.http.tls_certificate
    if authority.http.tls_key is not None:
        yield ("http", "tls-key"), authority.http.tls_key


def _of_identity(identity: IdentitySettings) -> Iterator[tuple[KeyPath, Path]]:
    if identity.key.existing is not None and not identity.key.existing.startswith("pkcs11:"):
        yield ("key", "existing"), Path(identity.key.existing)
    if (vendor := identity.bootstrap.vendor_certificate) is None:
        return
    section = ("bootstrap", "vendor-certificate")
    yield (*section, "certificate"), vendor.certificate
    if not vendor.key.startswith("pkcs11:"):
        yield (*section, "key"), Path(vendor.key)
    if vendor.chain is not None:
        yield (*section, "chain"), vendor.chain


def _trouble(path: Path, *, pem: bool) -> tuple[str, str] | None:
    """Return what is wrong with a file and what to do; None when nothing is."""
    try:
        content = read_regular(path, LARGEST if pem else 0)
    except OSError as error:
        return explain(error, path)
    if not pem or _BEGIN in content:
        return None
    if not content:
        return f"{path} is empty", "copy it again, in PEM"
    if len(content) > LARGEST:
        return f"{path} is larger than {LARGEST} octets", "is this the right file?"
    return f"{path} holds no PEM", f"convert it: openssl x509 -inform DER -in {path.name} -out {path.stem}.pem"


def read_regular(path: Path, limit: int) -> bytes:
    """Return the first ``limit`` octets of a regular file and one more, if it has more; never wait for a pipe.

    Raises:
        OSError: when it cannot be read; ``EISDIR`` or ``EINVAL`` when it is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - it is open already, so that nothing can be swapped
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return file.read(limit + 1) if limit else b""


def explain(error: OSError, path: Path) -> tuple[str, str]:
    """Return why a file cannot be read, and what to do."""
    match error:
        case FileNotFoundError() | NotADirectoryError():
            return f"there is no file {path}", "put it there, or correct the path"
        case PermissionError():
            return (
                f"{path} may not be read by this user",
                f"look at `namei -l {path}`, and give read permission or use sudo",
            )
        case IsADirectoryError():
            return f"{path} is a directory", "name a file in it"
    return (
        f"{path} cannot be read: {(error.strerror or str(error)).lower()}",
        "is it the right file, and the disk sound?",
    )
