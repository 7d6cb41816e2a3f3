"""``enrollctl turn-up``: from a machine that knows nothing to a valid certificate and a page for the work order."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from agent.cli import asking, doctor, first_configuration, jobs, output, service, site_answers, turn_up_report
from agent.cli.checks.registry import Site, Status
from agent.cli.choosing import json_option, wait_option
from agent.cli.site_answers import Options
from agent.contract import VERDICTS, Action, Outcome, Verdict
from agent.overview import look

if TYPE_CHECKING:
    from agent.cli.checks.registry import Result
    from agent.cli.main import Context
    from agent.settings import Settings

TRIES: Final = 3
"""How often a secret may be typed: many CAs lock the reference after three wrong ones."""
_DECISIVE: Final = frozenset({
    "configuration", "clock", "state-directory", "free-space", "name-resolution", "port", "tls", "cmp", "trust-anchors",
    "bootstrap",
})  # fmt: skip
"""What an enrollment rests on; the other checks are about what comes after it."""
_CREDITABLE: Final = frozenset({Verdict.ISSUED, Verdict.UNCHANGED})
_GOES_ON: Final = _CREDITABLE | {Verdict.WAITING}
"""There is something for the daemon to go on with."""


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
    type=click.Path(path_type=Path, file_okay=False, readable=False),
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
@click.option("--start/--no-start", default=None, help="Have systemd start enrolld afterwards; asked on a terminal.")
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
    start: bool | None,
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
    settings = site_answers.prepare(given)
    name = given.identity
    results = tuple(doctor.shown(doctor.examine(Site(config=given.config, only=name)), to_error=True))
    stop_for_faults(results, force=force)
    outcome = enroll(settings, given, wait)
    spent = outcome.verdict in _CREDITABLE and first_configuration.forget_secret(settings, given.config, name)
    if outcome.verdict in _GOES_ON and (afterwards := service.offer(start=start)):
        results = tuple(afterwards if one.check == afterwards.check else one for one in results)
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


def stop_for_faults(results: tuple[Result, ...], *, force: bool) -> None:
    """End here when the enrollment rests on something that failed, unless a person wants it all the same."""
    faults = [one for one in results if one.status is Status.FAILED and one.check in _DECISIVE]
    if not faults or force:
        return
    if asking.possible() and asking.agree("enroll in spite of these faults?", option="--force"):
        return
    output.stop(
        f"{faults[0].check}: {faults[0].reason}",
        f"{output.sentence(faults[0].remedy)} Then run the command again, but leave out the answers: they are kept.",
        doctor.code(results),
    )


def enroll(settings: Settings, given: Options, wait: float) -> Outcome:
    """Run the job; a wrong secret may be corrected on a terminal, and before the last try comes a warning.

    Secrets that were refused in earlier runs count: it is the CA that counts.
    """
    refused = _refused_before(settings, given)
    if refused:
        _replace_refused(settings, given, refused)
    while True:
        outcome = jobs.run_job(settings, given.identity, Action.ENROLL, wait=wait, again=given.replace)
        refused += 1
        if outcome.verdict is not Verdict.NEEDS_SECRET or refused >= TRIES or not asking.possible():
            return outcome
        output.note(f"the CA does not accept the secret: {outcome.text}")
        _warn(refused)
        if not _correct(settings, given):
            return outcome


def _refused_before(settings: Settings, given: Options) -> int:
    """Return how many secrets the CA has refused since the last success; none of them counts for new answers."""
    seen = look(settings.state_directory, given.identity)
    return seen.attempts if seen.state == Verdict.NEEDS_SECRET and not given.replace else 0


def _warn(refused: int) -> None:
    if refused >= TRIES - 1:
        output.note("warning: the CA may lock the reference after one more; compare every character first")


def _replace_refused(settings: Settings, given: Options, refused: int) -> None:
    """Ask for another secret before the one that was refused is sent again; Enter stays with what is there."""
    shared = settings.identities[given.identity].bootstrap.shared_secret
    output.note("the CA refused the secret last time")
    _warn(refused)
    if given.secret_file is None and asking.possible() and shared is not None and shared.secret.startswith("file:"):
        question = f"one-time secret of reference {shared.reference} (Enter: the one that is here)"
        answer = asking.ask(question, option="--secret-file", default="", hidden=True)
        if answer:
            site_answers.replace_secret(settings, given, answer.encode())


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
    return bool(answer) and site_answers.replace_secret(settings, given, answer.encode())
