"""What a turn-up has to know of a site: from the command line, a stick, a QR code, or the person at the terminal."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.cli import asking, first_configuration, hardware, output, provisioning
from agent.cli.choosing import chosen
from agent.cli.first_configuration import Answers
from agent.config import load
from agent.config.files import read_regular
from agent.errors import ConfigurationError, SecretError, StateError
from agent.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.cli.provisioning import Provisioning, SealedFile
    from agent.settings import Settings

_STICKS: Final = ("/media/*", "/media/*/*", "/run/media/*/*", "/mnt")
"""Where a USB stick is found when it is mounted."""


@frozen(kw_only=True)
class Options:
    """What was given on the command line; None is asked for."""

    config: Path
    identity: str
    urls: tuple[str, ...]
    trust_anchors: Path | None
    reference: str | None
    subject: str | None
    subject_template: str
    secret_file: Path | None
    stick: Path | None
    qr: bool
    state_directory: Path
    replace: bool


def prepare(given: Options) -> Settings:
    """Return the settings of the site: those there are, or what the answers make.

    Raises:
        ConfigurationError: an answer is missing or wrong.
        SecretError: the secret does not open the provisioning file.
    """
    if os.path.lexists(given.config) and not given.replace:
        return _existing(given)
    _demand_rights(given.state_directory, given.config.absolute().parent)
    sealed = _sealed_file(given)
    if sealed is not None:
        content, secret = _opened(sealed, given)
    elif given.qr:
        content, secret = provisioning.read_qr(asking.ask("text of the QR code", option="--url", hidden=True))
    else:
        content, secret = None, None
    _demand_this_device(content)
    answers = _answers(given, content)
    secret = secret or _secret(given, answers.reference)
    owner = answers.state_directory.stat().st_uid if answers.state_directory.is_dir() else -1
    settings = first_configuration.write(answers, given.config, secret, owner=owner)
    output.note(f"wrote {given.config}")
    return settings


def _demand_rights(*places: Path) -> None:
    """Find out before anybody has typed six answers that they cannot be kept."""
    for place in places:
        there = next(one for one in (place, *place.parents) if one.exists())
        if not os.access(there, os.W_OK | os.X_OK):
            raise StateError(
                f"this user may not write to {there}",
                remedy="Run the command with sudo; see that the disk is not mounted read-only.",
            )


def _existing(given: Options) -> Settings:
    asked = (given.urls, given.trust_anchors, given.reference, given.subject, given.stick, given.qr or None)
    if any(asked):
        raise ConfigurationError(
            f"{given.config} exists already, and this would change it",
            remedy="Leave the options out to use it as it is, or add --replace to write it anew.",
        )
    settings = load(given.config)
    chosen(settings, given.identity)
    _demand_rights(settings.state_directory)
    output.note(f"using {given.config}")
    if given.secret_file is not None:
        replace_secret(settings, given, _from_file(given.secret_file))
    return settings


def _answers(given: Options, content: Provisioning | None) -> Answers:
    urls = given.urls or (content.urls if content else ())
    if not urls:
        urls = (asking.ask("address of the CA (http://host/path)", option="--url"),)
    anchors = content.trust_anchors if content else ()
    if given.trust_anchors is not None:
        anchors = first_configuration.read_anchors(given.trust_anchors)
    elif content is None and asking.possible():
        answer = asking.ask(
            "file with the CA's root certificate (Enter: learn it)", option="--trust-anchors", default=""
        )
        anchors = first_configuration.read_anchors(Path(answer)) if answer else ()
    reference = given.reference or (content.reference if content else None)
    reference = reference or asking.ask("reference of the one-time secret", option="--reference")
    return Answers(
        name=given.identity,
        urls=urls,
        reference=reference,
        subject=given.subject or (content.subject if content else None) or _subject(given),
        trust_anchors=anchors,
        state_directory=given.state_directory,
    )


def _subject(given: Options) -> str:
    serial = hardware.serial_number()
    proposed = given.subject_template.replace("{serial}", serial) if serial else None
    return asking.ask("name of this device (subject)", option="--subject", default=proposed)


def _demand_this_device(content: Provisioning | None) -> None:
    if content is None or content.serial_number is None:
        return
    mine = hardware.serial_number()
    if mine is None:
        output.note(f"warning: the provisioning is for serial number {content.serial_number}; this machine tells none")
    elif mine != content.serial_number:
        raise ConfigurationError(
            f"the provisioning is for the device {content.serial_number}, and this is {mine}",
            remedy="Use the file of this device, or ask the operator whether devices were swapped.",
        )


def _sealed_file(given: Options) -> SealedFile | None:
    """Return the provisioning file that was named, or one on a stick that the person agrees to use."""
    if given.stick is not None:
        path = given.stick / provisioning.NAME if given.stick.is_dir() else given.stick
        return _read(path)
    if given.urls or given.qr or not asking.possible():
        return None
    for path in _on_sticks():
        try:
            found = _read(path)
        except ConfigurationError as error:
            output.note(f"{path} is left alone: {error}")
            continue
        if asking.agree(f"use {path} (reference {found.reference})?", option="--provisioning", default=True):
            return found
    return None


def _on_sticks() -> Iterator[Path]:
    for pattern in _STICKS:
        for folder in sorted(Path("/").glob(pattern.lstrip("/"))):
            path = folder / provisioning.NAME
            if path.is_file():
                yield path


def _read(path: Path) -> SealedFile:
    try:
        return provisioning.read_file(read_regular(path, provisioning.LARGEST))
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror}", remedy="See that the stick is mounted and the file is on it."
        ) from error


def _opened(sealed: SealedFile, given: Options) -> tuple[Provisioning, bytes]:
    """Open the file with the secret; a mistyped one costs nothing here, as nobody is told."""
    while True:
        secret = _secret(given, sealed.reference)
        try:
            return sealed.open(secret), secret
        except SecretError as error:
            if given.secret_file is not None or not asking.possible():
                raise
            output.note(f"{error}; nothing was sent")
            if not asking.agree("type the secret again?", option="--secret-file", default=True):
                raise


def _secret(given: Options, reference: str) -> bytes:
    if given.secret_file is not None:
        return _from_file(given.secret_file)
    question = f"one-time secret of reference {reference}"
    return asking.ask(question, option="--secret-file", hidden=True).encode()


def _from_file(path: Path) -> bytes:
    from agent.supervisor.secrets import read_secret  # noqa: PLC0415 - seldom needed

    return read_secret(f"file:{path}", ask=None)


def replace_secret(settings: Settings, given: Options, secret: bytes) -> bool:
    """Put a secret where the configuration looks for it, if that is a file; tell whether it is there."""
    shared = settings.identities[given.identity].bootstrap.shared_secret
    if shared is None or not shared.secret.startswith("file:"):
        output.note("the configuration takes the secret from elsewhere; put it there")
        return False
    owner = settings.state_directory.stat().st_uid if settings.state_directory.is_dir() else -1
    first_configuration.keep_secret(Path(shared.secret.removeprefix("file:")), secret, owner=owner)
    return True
