"""The lab CA in the foreground: what ``enrollctl lab-ca`` runs. Says what it made, and then one line a message."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.labca import fault
from agent.labca.authority import LabCa
from agent.labca.server import check_address, running

if TYPE_CHECKING:
    from agent.labca.certificates import Credential
    from agent.labca.settings import LabCaSettings

DEFAULT_REFERENCE: Final = "lab"
"""Reference of the secret that is made when none is given."""

_SNIPPET: Final = """\
state-directory: {state}
authorities:
  lab:
    urls: [{url}]
    trust-anchors: [{root}]
identities:
  lab-device:
    authority: lab
    subject: "CN=lab-device.example,O=enrolld Lab"
    bootstrap:
      shared-secret: {{reference: {reference}, secret: "file:{secret}"}}
"""

_VENDOR: Final = """\
      # or with a vendor's certificate, instead of the line above:
      # vendor-certificate: {{certificate: {certificate}, key: {key}}}
"""


def run(settings: LabCaSettings, *, misbehaviour: Sequence[str] = (), say: Callable[[str], None] | None = None) -> None:
    """Serve until SIGINT or SIGTERM; ``misbehaviour`` as :func:`agent.labca.fault.parse` reads it.

    Call it from the main thread. Without ``settings.directory`` the CA is kept in ``./lab-ca``.

    Raises:
        ConfigurationError: for an address it may not listen on, a port that is taken, an unknown misbehaviour.
        StateError: when its directory cannot be used.
    """
    say = say or _print
    check_address(settings)
    faults = [fault.parse(text) for text in misbehaviour]
    directory = (settings.directory or Path("lab-ca")).absolute()
    ca = LabCa(replace(settings, directory=directory))
    try:
        for one in faults:
            ca.misbehave(str(one))
        with _until_signalled() as ended, running(ca, watch=say):
            _introduce(ca, directory, misbehaviour, say)
            ended.wait()
            say("the lab CA ends")
    finally:
        ca.close()


def _print(line: str) -> None:
    """Say one line on standard output at once, also where that is a pipe."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _introduce(ca: LabCa, directory: Path, misbehaviour: Sequence[str], say: Callable[[str], None]) -> None:
    reference, secret_file = _secret(ca, directory)
    certificate, key = _device(ca, directory)
    pki = ca.pki
    issuer = "the root issues itself" if not pki.has_intermediate else f"{_name(pki.issuing)}, in chain.pem"
    say(f"lab CA in {directory}")
    say(f"  root         {_name(pki.root)}, in root.pem")
    say(f"  issuing CA   {issuer}")
    say(f"  answers by   {_name(pki.ra if ca.settings.ra_protects else pki.issuing)}")
    say(f"  vendor root  {_name(pki.vendor_root)}, in vendor-root.pem; a device's certificate is in {certificate.name}")
    say(f"listening on {ca.url}")
    for text in misbehaviour:
        say(f"misbehaving: {text}")
    say("")
    say("to enroll, put this into enrolld.yaml:")
    say("")
    snippet = _SNIPPET.format(
        state=_state(directory), url=ca.url, root=directory / "root.pem", reference=reference, secret=secret_file
    )
    say(snippet + _VENDOR.format(certificate=certificate, key=key))
    say("every message served is one line from here on; end with Ctrl-C")


def _secret(ca: LabCa, directory: Path) -> tuple[str, Path]:
    """Return a reference and the file with its secret, made when there is none."""
    reference = next(iter(ca.settings.secrets), DEFAULT_REFERENCE)
    path = directory / f"secret-{DEFAULT_REFERENCE}"
    path.write_text(f"{ca.secret(reference)}\n", encoding="utf-8")
    path.chmod(0o600)
    return reference, path


def _state(directory: Path) -> Path:
    """Return a state directory for the device, made when there is none: who runs a lab may not use the usual one."""
    path = directory / "device-state"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def _device(ca: LabCa, directory: Path) -> tuple[Path, Path]:
    """Return certificate and key of a device with a vendor's certificate, made when there are none."""
    certificate, key = directory / "device.pem", directory / "device.key"
    if not (certificate.is_file() and key.is_file()):
        device = ca.make_device("lab-device")
        key.touch(0o600)
        key.write_bytes(device.key.pem())
        certificate.write_bytes(device.pem)
    return certificate, key


def _name(credential: Credential) -> str:
    return credential.loaded.subject.rfc4514_string()


@contextlib.contextmanager
def _until_signalled() -> Iterator[threading.Event]:
    """Give an event that SIGINT or SIGTERM sets; afterwards both do what they did before."""
    event = threading.Event()
    before = {number: signal.signal(number, lambda *_: event.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
