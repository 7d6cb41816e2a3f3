"""``enrollctl turn-up``: from a machine that knows nothing to a valid certificate and a page for the work order."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from agent.cli import asking, doctor, first_configuration, hardware, jobs, output, provisioning, turn_up_report
from agent.cli.checks.registry import Site, Status
from agent.cli.choosing import chosen, json_option, wait_option
from agent.cli.first_configuration import Answers
from agent.config import load
from agent.config.files import read_regular
from agent.contract import VERDICTS, Action, Outcome, Verdict
from agent.errors import ConfigurationError, SecretError
from agent.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.cli.checks.registry import Result
    from agent.cli.main import Context
    from agent.cli.provisioning import Provisioning, SealedFile
    from agent.settings import Settings

TRIES: Final = 3
"""How often a secret may be typed: many CAs lock the reference after three wrong ones."""
_STICKS: Final = ("/media/*", "/media/*/*", "/run/media/*/*", "/mnt")
"""Where a USB stick is found when it is mounted."""
_DECISIVE: Final = frozenset({
    "configuration", "clock", "state-directory", "free-space", "name-resolution", "port", "tls", "cmp", "trust-anchors",
    "bootstrap",
})  # fmt: skip
"""What an enrollment rests on; the other checks are about what comes after it."""
_CREDITABLE: Final = frozenset({Verdict.ISSUED, Verdict.UNCHANGED})


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


@click.command("turn-up")
@click.option("--identity", default="ike", show_default=True, help="What the certificate is called here.")
@click.option("--url", "urls", multiple=True, help="Address of the CA or RA; may be given several times.")
@click.option(
    "--trust-anchors",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with the operator's root certificate; without it the root is learned from the CA, proven by the secret.",
)
@click.option("--reference", help="The operator's reference of the one-time secret.")
@click.option("--subject", help="Distinguished name to ask for.")
@click.option(
    "--subject-template",
    default="CN={serial}",
    show_default=True,
    help="The name that is proposed; {serial} is the serial number of this machine.",
)
@click.option(
    "--secret-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File that holds the one-time secret; without it the secret is asked for, and not shown.",
)
@click.option(
    "--provisioning",
    "stick",
    type=click.Path(path_type=Path),
    help="The operator's provisioning file, or the USB stick with it.",
)
@click.option("--qr", is_flag=True, help="Ask for the text of the operator's QR code.")
@click.option(
    "--state-directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/var/lib/enrolld"),
    show_default=True,
    help="Where credentials are kept, if the configuration has to be written.",
)
@click.option(
    "--replace",
    is_flag=True,
    help="Write the configuration anew although there is one, and enroll although a valid certificate is installed.",
)
@click.option("--force", is_flag=True, help="Enroll although the doctor finds a fault.")
@click.option(
    "--report",
    "reports",
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    help="Also write the report to this file: as JSON if its name ends in .json, else as text.",
)
@wait_option
@json_option
@click.pass_obj
def command(
    context: Context,
    /,
    *,
    force: bool,
    reports: tuple[Path, ...],
    wait: float,
    as_json: bool,
    **options: object,
) -> int:
    """Turn up a site: ask what is not known, check everything, enroll, and print a page for the work order.

    Whatever is asked can be given as an option instead. Nothing is asked when this is not a terminal. A configuration
    that exists is used as it is. Running it again goes on where it stood.
    """
    started = time.monotonic()
    given = Options(config=context.config, **options)  # type: ignore[arg-type]  # click made them by their names
    settings = prepare(given)
    name = given.identity
    results = tuple(doctor.shown(doctor.examine(Site(config=given.config, only=name)), to_error=True))
    stop_for_faults(results, force=force)
    outcome = enroll(settings, given, wait)
    spent = outcome.verdict in _CREDITABLE and first_configuration.forget_secret(settings, given.config, name)
    page = turn_up_report.make(
        settings, name, outcome, results=results, seconds=time.monotonic() - started, now=datetime.now(UTC), spent=spent
    )
    turn_up_report.publish(page, reports, as_json=as_json)
    rule = VERDICTS[outcome.verdict]
    if rule.command not in {0, 3}:
        output.problem(f"{name}: {outcome.text}", outcome.remedy)
    elif outcome.remedy:
        output.advise(outcome.remedy)
    return rule.command


def prepare(given: Options) -> Settings:
    """Return the settings of the site: those there are, or what the answers make.

    Raises:
        ConfigurationError: an answer is missing or wrong.
        SecretError: the secret does not open the provisioning file.
    """
    if os.path.lexists(given.config) and not given.replace:
        return _existing(given)
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


def _existing(given: Options) -> Settings:
    asked = (given.urls, given.trust_anchors, given.reference, given.subject, given.stick, given.qr or None)
    if any(asked):
        raise ConfigurationError(
            f"{given.config} exists already, and this would change it",
            remedy="Leave the options out to use it as it is, or add --replace to write it anew.",
        )
    settings = load(given.config)
    chosen(settings, given.identity)
    output.note(f"using {given.config}")
    if given.secret_file is not None:
        _replace_secret(settings, given, _from_file(given.secret_file))
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


def stop_for_faults(results: tuple[Result, ...], *, force: bool) -> None:
    """End here when the enrollment rests on something that failed, unless a person wants it all the same."""
    faults = [one for one in results if one.status is Status.FAILED and one.check in _DECISIVE]
    if not faults or force:
        return
    if asking.possible() and asking.agree("enroll in spite of these faults?", option="--force"):
        return
    output.stop(
        f"{faults[0].check}: {faults[0].reason}",
        f"{output.sentence(faults[0].remedy)} Then run the command again; what was answered is kept.",
        doctor.code(results),
    )


def enroll(settings: Settings, given: Options, wait: float) -> Outcome:
    """Run the job; a wrong secret may be corrected on a terminal, and before the last try comes a warning."""
    number = 1
    while True:
        outcome = jobs.run_job(settings, given.identity, Action.ENROLL, wait=wait, again=given.replace)
        if outcome.verdict is not Verdict.NEEDS_SECRET or number == TRIES or not asking.possible():
            return outcome
        output.note(f"the CA does not accept the secret: {outcome.text}")
        number += 1
        if number == TRIES:
            output.note("warning: the CA may lock the reference after one more; compare every character first")
        if not _correct(settings, given):
            return outcome


def _correct(settings: Settings, given: Options) -> bool:
    """Ask for the secret again and keep it; tell whether there is a new one."""
    shared = settings.identities[given.identity].bootstrap.shared_secret
    if shared is None:
        return False
    if shared.secret == "prompt":  # noqa: S105 - the name of a source; the job asks by itself
        return asking.agree("type the secret again?", option="--secret-file", default=True)
    answer = asking.ask(
        f"one-time secret of reference {shared.reference} (Enter: stop here)",
        option="--secret-file",
        default="",
        hidden=True,
    )
    return bool(answer) and _replace_secret(settings, given, answer.encode())


def _replace_secret(settings: Settings, given: Options, secret: bytes) -> bool:
    """Put a secret where the configuration looks for it, if that is a file; tell whether it is there."""
    shared = settings.identities[given.identity].bootstrap.shared_secret
    if shared is None or not shared.secret.startswith("file:"):
        output.note("the configuration takes the secret from elsewhere; put it there")
        return False
    owner = settings.state_directory.stat().st_uid if settings.state_directory.is_dir() else -1
    first_configuration.keep_secret(Path(shared.secret.removeprefix("file:")), secret, owner=owner)
    return True
