"""Real CMP messages: what ``openssl cmp`` and its mock server say to one another in an ir and in a kur."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from agent.cmp import names
from tests.unit.cmp.pki import Holder, authority, issue, usage

REFERENCE: Final = "enb-4711"
SECRET: Final = b"one-time secret"
SUBJECT: Final = "CN=enb-4711.example,O=Operator"
NAMES: Final = ("dns:enb-4711.example", "ip:192.0.2.7")
# The peer looks at the clock of this machine.
START, END = datetime(2020, 1, 1, tzinfo=UTC), datetime(2080, 1, 1, tzinfo=UTC)
ROOT: Final = authority("CN=Operator Root,O=Operator", path_length=1, start=START, end=END)
DEVICE: Final = issue(
    SUBJECT,
    ROOT,
    key_usage=usage("digital_signature"),
    start=START,
    end=END,
    add=[x509.SubjectAlternativeName([names.alternative_name(one) for one in NAMES])],
)


def messages(folder: Path) -> dict[str, bytes]:
    """Run the two transactions in ``folder``; the messages by name: ir, ip, certConf ..., kur-certConf, kur-pkiconf."""
    root, root_key = _files(folder, "root", ROOT)
    device, device_key = _files(folder, "device", DEVICE)
    common = ("openssl", "cmp", "-config", "", "-use_mock_srv", "-newkey", device_key, "-rsp_cert", device)
    _run(
        folder,
        *common,
        *("-cmd", "ir", "-ref", REFERENCE, "-secret", f"pass:{SECRET.decode()}", "-mac", "hmacWithSHA256"),
        *("-subject", "/O=Operator/CN=enb-4711.example", "-sans", "enb-4711.example,192.0.2.7"),
        *("-srv_ref", "ra", "-srv_secret", f"pass:{SECRET.decode()}", "-rsp_capubs", root, "-rsp_extracerts", root),
        *("-reqout", "ir,certConf", "-rspout", "ip,pkiconf"),
    )
    _run(
        folder,
        *common,
        *("-cmd", "kur", "-cert", device, "-key", device_key, "-oldcert", device, "-trusted", root),
        *("-srv_cert", root, "-srv_key", root_key, "-srv_trusted", root, "-rsp_extracerts", root),
        *("-reqout", "kur,kur-certConf", "-rspout", "kup,kur-pkiconf"),
    )
    found = ("ir", "ip", "certConf", "pkiconf", "kur", "kup", "kur-certConf", "kur-pkiconf")
    return {name: (folder / name).read_bytes() for name in found}


def _files(folder: Path, name: str, holder: Holder) -> tuple[str, str]:
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    certificate.write_bytes(holder.certificate.public_bytes(Encoding.PEM))
    key.write_bytes(holder.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return str(certificate), str(key)


def _run(folder: Path, *command: str) -> None:
    done = subprocess.run(
        [*command, "-certout", "issued.pem"], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
