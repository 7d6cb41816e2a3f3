"""The configuration that ``enrollctl turn-up`` writes for a site that has none."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent import config
from agent.errors import ConfigurationError, StateError
from agent.frozen import frozen
from agent.store import atomic, pem

if TYPE_CHECKING:
    from agent.settings import Settings

AUTHORITY: Final = "operator"
_HEAD: Final = "# Written by 'enrollctl turn-up'. docs/configuration.md has every setting.\n"
_READABLE: Final = 0o644
_PRIVATE: Final = 0o600


@frozen(kw_only=True)
class Answers:
    """All that a site needs. ``trust_anchors`` are DER; empty: learned from the CA's first answer."""

    name: str
    urls: tuple[str, ...]
    reference: str
    subject: str
    trust_anchors: tuple[bytes, ...]
    state_directory: Path


def secret_path(place: Path, name: str) -> Path:
    """Return where the one-time secret is kept until it is spent."""
    return place.parent / f"{name}.secret"


def text_of(answers: Answers, place: Path) -> str:
    """Return the text of the configuration file at ``place``."""
    import yaml  # noqa: PLC0415 - slow to import

    anchors = [_anchors_path(place).name] if answers.trust_anchors else "enrollment"
    shared = {"reference": answers.reference, "secret": f"file:{secret_path(place, answers.name).name}"}
    document: dict[str, Any] = {
        "state-directory": str(answers.state_directory.absolute()),
        "authorities": {AUTHORITY: {"urls": list(answers.urls), "trust-anchors": anchors}},
        "identities": {
            answers.name: {
                "authority": AUTHORITY,
                "subject": answers.subject,
                "bootstrap": {"shared-secret": shared},
            }
        },
    }
    return _HEAD + yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def write(answers: Answers, place: Path, secret: bytes, *, owner: int = -1) -> Settings:
    """Write configuration, trust anchors and secret; return the settings. ``owner`` is who will read the secret.

    Raises:
        ConfigurationError: an answer cannot be used; nothing was written.
        StateError: the disk does not let us.
    """
    text = text_of(answers, place)
    config.parse(text, source=place)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StateError(
            f"{place.parent} cannot be made: {error.strerror}", remedy="Run the command with sudo, or give --config."
        ) from error
    if answers.trust_anchors:
        atomic.write_file(_anchors_path(place), pem.encode(answers.trust_anchors), _READABLE)
    keep_secret(secret_path(place, answers.name), secret, owner=owner)
    atomic.write_file(place, text.encode(), _READABLE)
    return config.load(place)


def keep_secret(path: Path, secret: bytes, *, owner: int = -1) -> None:
    """Write the secret where only ``owner`` can read it."""
    atomic.write_file(path, secret + b"\n", _PRIVATE, owner=owner)


def forget_secret(settings: Settings, place: Path, name: str) -> bool:
    """Remove a secret that is spent, if it is where this module puts it; tell whether it is gone."""
    shared = settings.identities[name].bootstrap.shared_secret
    path = secret_path(place.absolute(), name)
    if shared is None or shared.secret != f"file:{path}":
        return False
    with suppress(OSError):
        os.unlink(path)  # noqa: PTH108 - as in agent.store
    return not path.exists()


def read_anchors(path: Path) -> tuple[bytes, ...]:
    """Return the certificates in a PEM or DER file.

    Raises:
        ConfigurationError: there are none.
    """
    from agent.cmp.certificates import load  # noqa: PLC0415 - cryptography, only for this
    from agent.cmp.errors import MalformedMessage  # noqa: PLC0415

    try:
        octets = atomic.read_bounded(path.resolve())
        found = pem.decode(octets) or (octets,)
        for one in found:
            load(one)
    except (StateError, MalformedMessage, ValueError) as error:
        raise ConfigurationError(
            f"{path} holds no root certificate: {error}",
            remedy="Name the file with the operator's root certificate, or press Enter to learn it from the CA.",
        ) from error
    return found


def _anchors_path(place: Path) -> Path:
    return place.parent / f"{AUTHORITY}-root.pem"
