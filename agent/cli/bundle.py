"""What goes into a support bundle: names of files and their texts, each without secrets; nothing else is ever read.

Files are named one by one: what nobody thought of is left out. Private keys are never opened for it, except to learn
what must not appear.
"""

from __future__ import annotations

import json
import os
import platform
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from agent import __version__, structure
from agent.cli import scrubbing
from agent.errors import AgentError, StateError
from agent.journal import query
from agent.overview import look
from agent.settings import Settings
from agent.store.atomic import read_if_present
from agent.store.generations import IdentityStore
from agent.store.recording import Recordings

GENERATION_FILES: Final = ("certificate.pem", "chain.pem", "trust-anchors.pem", "credential.json", "private-key.uri")
IDENTITY_FILES: Final = ("state.json", "deployment.json")
AUTHORITY_FILES: Final = ("trust-anchors.pem", "ca-certificates.pem")
SNAPSHOT_KEYS: Final = (
    "version",
    "type",
    "state",
    "transaction_id",
    "check_at",
    "sent_at",
    "refusal",
    "refusal_failure",
)
"""Of an open transaction; its last message is there, too, with its MAC."""
_DISTRIBUTIONS: Final = ("cryptography", "pyasn1", "pyasn1-modules", "PyYAML", "click", "rich")
_JOURNAL_LINES: Final = 2000
_LARGEST_TEXT: Final = 2_097_152
_SECONDS: Final = 20

Part = tuple[str, bytes]


def parts(
    config: Path, settings: Settings | None, now: datetime, diagnosis: dict[str, Any] | None = None
) -> Iterator[Part]:
    """Yield every file of the bundle: its name, and its contents without secrets. ``diagnosis`` is the doctor's."""
    scrub, hidden = _scrubber(settings)
    yield "versions.json", _json(versions(now) | {"secrets that could not be looked for": hidden}, scrub)
    yield "configuration/enrolld.yaml", _text(config, scrub)
    if settings is not None and not closed(settings):
        yield from _state(settings, now, scrub)
    if diagnosis is not None:
        yield "doctor.json", _json(diagnosis, scrub)
    yield "journal.txt", scrub(journal(settings)).encode()


def closed(settings: Settings) -> bool:
    """Tell whether the state directory is hidden from this user."""
    return not os.access(settings.state_directory, os.R_OK | os.X_OK) and settings.state_directory.exists()


def _scrubber(settings: Settings | None) -> tuple[scrubbing.Scrubber, list[str]]:
    known: list[bytes] = []
    hidden: list[str] = []
    if settings is not None:
        known, hidden = scrubbing.known_secrets(settings)
        for path in _key_files(settings):
            known += scrubbing.key_material(path)
    return scrubbing.Scrubber(known), hidden


def _key_files(settings: Settings) -> Iterator[Path]:
    for identity in settings.identities.values():
        vendor = identity.bootstrap.vendor_certificate
        for key in (identity.key.existing, vendor.key if vendor else None):
            if key is not None and not key.startswith("pkcs11:"):
                yield Path(key)
    for authority in settings.authorities.values():
        yield from (one for one in (authority.http.tls_key, authority.http.tls_certificate) if one is not None)
    if settings.state_directory.is_dir():
        yield from settings.state_directory.rglob("private-key.pem")


def versions(now: datetime) -> dict[str, Any]:
    """Return what of this machine matters for a defect."""
    import importlib.metadata  # noqa: PLC0415 - reads many files
    import ssl  # noqa: PLC0415 - with it

    found = {}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return {
        "enrolld": __version__,
        "captured at": now.isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "openssl of python": ssl.OPENSSL_VERSION,
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", "") if _has_release() else "",
        "packages": found,
        "run by": f"uid {os.geteuid()}, {sys.executable}",
    }


def _has_release() -> bool:
    return any(Path(one).exists() for one in ("/etc/os-release", "/usr/lib/os-release"))


def journal(settings: Settings | None) -> str:
    """Return what enrolld wrote to the journal last; why not, where there is none."""
    form = ("--output=short-iso-precise", "--no-pager", "--utc")
    written = query((settings or Settings(authorities={}, identities={})).state_directory)
    command = ["journalctl", f"--lines={_JOURNAL_LINES}", *form, *written]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the journal cannot be read: {error}\n"
    return done.stdout[-_LARGEST_TEXT:] or f"the journal says nothing: {done.stderr.strip()}\n"


def _state(settings: Settings, now: datetime, scrub: scrubbing.Scrubber) -> Iterator[Part]:
    root = settings.state_directory
    yield "state/listing.txt", scrub(listing(root)).encode()
    for name in settings.authorities:
        for file in AUTHORITY_FILES:
            if (path := root / "authorities" / name / file).exists():
                yield f"state/authorities/{name}/{file}", _text(path, scrub)
    for name, identity in settings.identities.items():
        yield f"state/identities/{name}/status.json", _json(_seen(root, name, identity, now), scrub)
        yield from _identity(IdentityStore(root, name), scrub)


def _seen(root: Path, name: str, identity: Any, now: datetime) -> dict[str, Any]:
    try:
        return structure.to_json(look(root, name, identity, now=now))
    except AgentError as error:
        return {"name": name, "error": str(error), "remedy": error.remedy}


def _identity(store: IdentityStore, scrub: scrubbing.Scrubber) -> Iterator[Part]:
    start = f"state/identities/{store.name}"
    for file in IDENTITY_FILES:
        if (path := store.directory / file).exists():
            yield f"{start}/{file}", _text(path, scrub)
    for folder in _entries(store.directory / "generations"):
        for file in GENERATION_FILES:
            if (path := folder / file).exists():
                yield f"{start}/generations/{folder.name}/{file}", _text(path, scrub)
    if (snapshot := _snapshot(store)) is not None:
        yield f"{start}/transaction.json", _json(snapshot, scrub)
    yield from _recorded(store, scrub)


def _snapshot(store: IdentityStore) -> dict[str, Any] | None:
    try:
        found = store.transaction.load_snapshot()
    except StateError as error:
        return {"error": str(error)}
    if found is None:
        return None
    transaction: Any = found.get("transaction") or {}
    return {
        "action": found.get("action"),
        "url": found.get("url"),
        "transaction": {key: transaction.get(key) for key in SNAPSHOT_KEYS},
        "left out": sorted({*found} - {"action", "url", "transaction"} | {*transaction} - {*SNAPSHOT_KEYS}),
    }


def _recorded(store: IdentityStore, scrub: scrubbing.Scrubber) -> Iterator[Part]:
    from agent.cmp.errors import MalformedMessage  # noqa: PLC0415 - the protocol, only where messages are
    from agent.cmp.reading import read  # noqa: PLC0415
    from agent.cmp.redaction import without_macs  # noqa: PLC0415

    recordings = Recordings(store.directory)
    for transaction in recordings.transactions:
        for path in recordings.messages(transaction):
            name = f"state/identities/{store.name}/recorded/{transaction.name}/{path.stem}"
            try:
                octets = without_macs(read_if_present(path) or b"")  # once more: what lies there may be older than we
            except (MalformedMessage, StateError) as error:
                yield f"{name}.txt", f"left out: {error}\n".encode()
                continue
            yield f"{name}.der", octets
            yield f"{name}.txt", scrub("\n".join(read(octets).lines()) + "\n").encode()


def listing(root: Path) -> str:
    """Return every file below ``root`` with mode, owner, size and time, as ``ls -l`` shows them."""
    lines = []
    for path in sorted(root.rglob("*")) if root.is_dir() else ():
        status = path.lstat()
        when = datetime.fromtimestamp(status.st_mtime, UTC)
        target = f" -> {path.readlink()}" if path.is_symlink() else ""
        owner = f"{status.st_uid}:{status.st_gid}"
        mode = stat.filemode(status.st_mode)
        lines.append(f"{mode} {owner:>9} {status.st_size:>9} {when:%Y-%m-%d %H:%M:%S} {path.relative_to(root)}{target}")
    return "\n".join(lines) + "\n"


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(one for one in folder.iterdir() if one.is_dir() and not one.is_symlink())
    except OSError:
        return []


def _text(path: Path, scrub: Callable[[str], str]) -> bytes:
    """Return a text file without secrets; why not, where it cannot be read."""
    try:
        octets = read_if_present(path.resolve())
    except StateError as error:
        return f"cannot be read: {error}\n".encode()
    if octets is None:
        return b"there is no such file\n"
    return scrub(octets[:_LARGEST_TEXT].decode("utf-8", "backslashreplace")).encode()


def _json(document: dict[str, Any], scrub: Callable[[str], str]) -> bytes:
    return (scrub(json.dumps(document, indent=2)) + "\n").encode()
