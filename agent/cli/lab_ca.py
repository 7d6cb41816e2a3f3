"""``enrollctl lab-ca``: a CMP CA for tests, on this machine."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from agent import units
from agent.cli import output
from agent.errors import ConfigurationError


@click.command("lab-ca")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("lab-ca"),
    show_default=True,
    help="Where the CA keeps its keys, certificates and record.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=8829, show_default=True, help="0 takes any free port.")
@click.option("--bind", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--allow-remote", is_flag=True, help="Permit an address beyond loopback. The CA protects nothing.")
@click.option(
    "--secret", "secrets", multiple=True, metavar="REFERENCE=SECRET", help="A shared secret; may be repeated."
)
@click.option("--validity", default="90d", show_default=True, metavar="TIME", help="Life of certificates.")
@click.option("--poll-delay", default="0s", show_default=True, metavar="TIME", help="How long the CA is undecided.")
@click.option("--check-after", type=click.IntRange(0), default=1, show_default=True, help="Seconds in pollRep.")
@click.option("--implicit-confirm", is_flag=True, help="Grant implicit confirmation to whoever asks.")
@click.option("--sign-mac-answers", is_flag=True, help="Answer MAC-protected requests with a signature.")
@click.option("--echo-last-nonce", is_flag=True, help="After polling, answer the last pollReq's nonce (OpenSSL 3.0).")
@click.option("--crl", is_flag=True, help="Write into certificates where the CRL is.")
@click.option("--send-root", is_flag=True, help="Send the root along in extraCerts, as TS 33.310 has it.")
@click.option(
    "--assign-subject", metavar="NAME", help="Name for requests without one; {device} is the CN of the vendor's."
)
@click.option(
    "--misbehave", multiple=True, metavar="FAULT[=VALUE][@MESSAGE][*TIMES]", help="As reject=badPOP@ir*1; repeatable."
)
def command(  # noqa: PLR0913 - one parameter an option
    directory: Path,
    port: int,
    bind: str,
    secrets: tuple[str, ...],
    validity: str,
    poll_delay: str,
    check_after: int,
    misbehave: tuple[str, ...],
    *,
    assign_subject: str | None,
    allow_remote: bool,
    implicit_confirm: bool,
    sign_mac_answers: bool,
    echo_last_nonce: bool,
    send_root: bool,
    crl: bool,
) -> int:
    """Run a CMP CA that really issues: ir, cr, p10cr, kur, rr, genm, polling, secrets and vendor certificates.

    It prints the configuration to enroll with, then a line for every message. It is for tests: it listens on loopback
    only, and its keys lie unprotected in its directory.
    """
    from agent.labca import LabCaSettings  # noqa: PLC0415 - the CA is needed here only
    from agent.labca.main import run  # noqa: PLC0415
    from agent.labca.settings import Nonce  # noqa: PLC0415

    settings = LabCaSettings(
        directory=directory,
        bind=bind,
        port=port,
        allow_remote=allow_remote,
        secrets=dict(_pair(one) for one in secrets),
        validity=_span("--validity", validity),
        poll_delay=_span("--poll-delay", poll_delay),
        check_after=check_after,
        implicit_confirm=implicit_confirm,
        sign_mac_answers=sign_mac_answers,
        root_in_extra_certs=send_root,
        crl_distribution_point=crl,
        assigned_subject=assign_subject,
        nonce_after_polling=Nonce.LAST if echo_last_nonce else Nonce.REQUEST,
    )
    run(settings, misbehaviour=misbehave, say=output.say_now)
    return 0


def _pair(text: str) -> tuple[str, str]:
    reference, equals, secret = text.partition("=")
    if not (reference and equals and secret):
        raise ConfigurationError("--secret needs REFERENCE=SECRET", remedy="Write it like --secret enb-4711=geheim.")
    return reference, secret


def _span(option: str, text: str) -> timedelta:
    try:
        return timedelta(seconds=units.seconds(text))
    except ValueError as error:
        raise ConfigurationError(
            f"{option}: {text!r} is no span of time", remedy="Write it like 30s, 10m, 2h or 90d."
        ) from error
