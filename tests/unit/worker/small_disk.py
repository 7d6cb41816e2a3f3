"""Run in a mount namespace of its own: enroll on a disk that is full to the last octet once a message is out.

``python -m tests.unit.worker.small_disk CASE DIRECTORY``. The CA's answer is as large as the caps let in: the
certificate, caPubs, and extraCerts, which anybody on the way could add.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from agent.cmp import der, sizes
from agent.cmp.bodies import CertRepMessage
from agent.contract import Verdict
from agent.labca import LabCa, LabCaSettings, encoding, running, spoiling
from agent.labca.certificates import Plan
from agent.labca.encoding import Extension
from agent.labca.fault import Fault, Misbehaviour
from agent.labca.outgoing import Outgoing
from agent.labca.spoiling import Circumstances
from agent.store.state import SNAPSHOT
from tests.unit.worker.desk import SECRET, Desk, desk_at

_FILLING: Final = "1.3.6.1.4.1.32473.1"
"""An OID for examples (RFC 5612)."""
_NEARLY: Final = 0.9


def root(octets: int) -> bytes:
    """Return a root of about this size that nobody needs, DER."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    filling = x509.UnrecognizedExtension(x509.ObjectIdentifier(_FILLING), bytes(octets - 400))
    return builder.add_extension(filling, critical=False).sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def large_certificate(plan: Plan, _: Fault) -> Plan:
    """Fill the certificate up to the cap."""
    filling = Extension(_FILLING, critical=False, value=encoding.octet_string(bytes(sizes.MAXIMUM_CERTIFICATE - 700)))
    return replace(plan, extensions=(*plan.extensions, filling))


def large_answer(outgoing: Outgoing, _: Fault, __: Circumstances) -> Outgoing:
    """Fill caPubs and extraCerts up to the caps."""
    if not isinstance(outgoing.body, CertRepMessage):
        return outgoing
    roots = (*outgoing.body.ca_pubs, root(31_900), root(31_900))
    along = tuple(der.wrap(der.OCTET_STRING, bytes((number,)) + bytes(8_150)) for number in range(16))
    return replace(outgoing, body=replace(outgoing.body, ca_pubs=roots), extra_certs=(*outgoing.extra_certs, *along))


def fill(directory: Path) -> None:
    """Take the last octet of the disk."""
    descriptor = os.open(directory / "filler", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        while os.write(descriptor, bytes(512)):
            pass
    except OSError:
        os.close(descriptor)


def issued(desk: Desk) -> None:
    """Enroll; the disk is full when the request leaves. All that follows happens in the room that was held."""
    state, largest = desk.job.state_directory, 0

    def watch(event: str) -> None:
        nonlocal largest
        if event == "sent":
            largest = max(largest, (desk.store.transaction.path / SNAPSHOT).stat().st_size)
            if not (state / "filler").exists():
                fill(state)

    desk.on_event = watch
    outcome = desk.do()
    assert outcome.verdict is Verdict.ISSUED, outcome.text
    current = desk.current
    assert current is not None
    assert current.confirmed
    assert len(current.certificate) > _NEARLY * sizes.MAXIMUM_CERTIFICATE
    assert sum(map(len, current.trust_anchors)) > _NEARLY * sizes.MAXIMUM_LEARNED
    assert largest > _NEARLY * sizes.largest_snapshot(0)


def undecided(desk: Desk) -> None:
    """Learn on a full disk that the CA is undecided: the request stays open, and goes on once there is room."""
    desk.on_event = lambda event: fill(desk.job.state_directory) if event == "sent" else None
    outcome = desk.do()
    assert outcome.verdict is Verdict.FAILED
    assert "ENOSPC" in outcome.text, outcome.text
    assert desk.sent == ["ir"], "nothing more is sent without room for the answer"
    (desk.job.state_directory / "filler").unlink()
    desk.on_event = lambda _: None
    outcome = desk.do()
    assert outcome.verdict is Verdict.ISSUED, outcome.text
    assert "ir" not in desk.sent, "the request went on"


CASES: Final = {"issued": (issued, 0), "undecided": (undecided, 1)}


def main(case: str, directory: Path) -> None:
    """Have a lab CA answer at length, and mount the small disk for the state."""
    enroll, polls = CASES[case]
    spoiling.CERTIFICATE[Misbehaviour.WRONG_SUBJECT] = large_certificate
    spoiling.MESSAGE[Misbehaviour.NO_EXTRA_CERTS] = large_answer
    ca = LabCa(LabCaSettings(directory=directory / "ca", secrets={"enb": SECRET.decode()}, durable=False, polls=polls))
    ca.misbehave(Misbehaviour.WRONG_SUBJECT)
    ca.misbehave(Misbehaviour.NO_EXTRA_CERTS)
    with running(ca):
        desk = desk_at(ca, directory / "ca" / "root.pem", directory / "state")
        desk.configure(trust_anchors=None)
        state = desk.job.state_directory
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=0700", "none", state], check=True)
        enroll(desk)
    ca.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
