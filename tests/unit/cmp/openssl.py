"""The openssl program as a second opinion: certificates it makes, CMP messages it writes, messages it judges."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

SECRET: Final = "3gpp-secret"
REFERENCE: Final = "enb-4711"
_SUBJECT: Final = "/C=SE/O=Operator/CN=enb-4711.ran.operator.example"
_KEYS: Final = {
    "rsa": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
    "ec": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
    "ed25519": ("-algorithm", "ED25519"),
}
_MOCK: Final = ("-use_mock_srv", "-config", "", "-rsp_cert", "ec.pem", "-rsp_extracerts", "ec-ca.pem")
_BY_MAC: Final = (
    "-ref",
    REFERENCE,
    "-secret",
    f"pass:{SECRET}",
    "-srv_ref",
    REFERENCE,
    "-srv_secret",
    f"pass:{SECRET}",
)
_BY_SIGNATURE: Final = (
    "-cert", "ec.pem", "-key", "ec.key", "-trusted", "ec-ca.pem",
    "-srv_cert", "ec-ca.pem", "-srv_key", "ec-ca.key", "-srv_trusted", "ec-ca.pem",
)  # fmt: skip
_TEMPLATE: Final = ("-newkey", "ec.key", "-subject", _SUBJECT)
_POLLED: Final = ("-poll_count", "2", "-check_after", "0")
_RUNS: Final[dict[str, tuple[str, ...]]] = {
    "mac-ir": ("-cmd", "ir", *_BY_MAC, *_TEMPLATE, *_POLLED, "-mac", "hmacWithSHA256"),
    "mac-refused": ("-cmd", "ir", *_BY_MAC, *_TEMPLATE, "-pkistatus", "2", "-failure", "9", "-statusstring", "no"),
    "mac-error": ("-cmd", "ir", *_BY_MAC, *_TEMPLATE, "-send_error"),
    "signed-ir": ("-cmd", "ir", *_BY_SIGNATURE, *_TEMPLATE, "-implicit_confirm", "-grant_implicitconf"),
    "signed-cr": ("-cmd", "cr", *_BY_SIGNATURE, *_TEMPLATE, "-sans", "enb.operator.example", "-days", "20"),
    "signed-kur": ("-cmd", "kur", *_BY_SIGNATURE, *_TEMPLATE, "-oldcert", "ec.pem"),
    "signed-p10cr": ("-cmd", "p10cr", *_BY_SIGNATURE, "-csr", "ec.csr"),
    "signed-rr": ("-cmd", "rr", *_BY_SIGNATURE, "-oldcert", "ec.pem", "-revreason", "4"),
    "signed-genm": ("-cmd", "genm", *_BY_SIGNATURE, "-infotype", "signKeyPairTypes"),
}


def run(*arguments: str, folder: Path, stdin: bytes = b"") -> bytes:
    """Return what ``openssl`` with these arguments writes to standard output."""
    done = subprocess.run(
        ["openssl", *arguments], cwd=folder, input=stdin, capture_output=True, check=False, timeout=60
    )
    if done.returncode != 0:
        raise AssertionError(f"openssl {' '.join(arguments)}: {done.stderr.decode()}")
    return done.stdout


def make_pki(folder: Path) -> None:
    """Make a CA and a certificate with a key of each kind (``ec-ca.pem``, ``ec.pem``, ``ec.csr`` ...), and CRLs."""
    extensions = folder / "extensions"
    extensions.write_text("subjectAltName=DNS:enb.operator.example,IP:192.0.2.7\nkeyUsage=critical,digitalSignature\n")
    settings = "[ca]\ndefault_ca=it\n[it]\ndatabase={kind}.db\ndefault_md=default\ndefault_crl_days=30\n"
    for kind, options in _KEYS.items():
        for key in (f"{kind}-ca.key", f"{kind}.key"):
            run("genpkey", *options, "-out", key, folder=folder)
        run("req", "-x509", "-new", "-key", f"{kind}-ca.key", "-subj", f"/O=Operator/CN=Root {kind}", "-days", "30",
            "-out", f"{kind}-ca.pem", folder=folder)  # fmt: skip
        run("req", "-new", "-key", f"{kind}.key", "-subj", _SUBJECT, "-out", f"{kind}.csr", folder=folder)
        run("x509", "-req", "-in", f"{kind}.csr", "-CA", f"{kind}-ca.pem", "-CAkey", f"{kind}-ca.key", "-days", "20",
            "-CAcreateserial", "-extfile", "extensions", "-out", f"{kind}.pem", folder=folder)  # fmt: skip
        (folder / f"{kind}.cnf").write_text(settings.format(kind=kind))
        (folder / f"{kind}.db").write_text(
            "R\t491231235959Z\t260101000000Z,keyCompromise\t1000\tunknown\t/CN=revoked\n"
        )
        run("ca", "-gencrl", "-config", f"{kind}.cnf", "-keyfile", f"{kind}-ca.key", "-cert", f"{kind}-ca.pem",
            "-out", f"{kind}-crl.pem", folder=folder)  # fmt: skip


def der_files(folder: Path) -> dict[str, bytes]:
    """Return the DER of every certificate, CRL and PKCS#10 request of :func:`make_pki` by file name."""
    found = {}
    for path in sorted(folder.glob("*.pem")) + sorted(folder.glob("*.csr")):
        kind = "crl" if path.stem.endswith("-crl") else "req" if path.suffix == ".csr" else "x509"
        found[path.name] = run(kind, "-in", path.name, "-outform", "DER", folder=folder)
    return found


def record(folder: Path) -> dict[str, bytes]:
    """Return the messages of whole transactions between ``openssl cmp`` and its mock server, by a name that tells."""
    found = {}
    for name, options in _RUNS.items():
        files = {side: [f"{name}-{side}{number}.der" for number in range(4)] for side in ("request", "response")}
        # It fails where the mock server says no: the messages are what counts.
        subprocess.run(
            ["openssl", "cmp", *_MOCK, *options, "-certout", "issued.pem",
             "-reqout", ",".join(files["request"]), "-rspout", ",".join(files["response"])],
            cwd=folder, capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        for file in (*files["request"], *files["response"]):
            if (folder / file).exists():
                found[file.removesuffix(".der")] = (folder / file).read_bytes()
    return found


def answer(folder: Path, *messages: bytes) -> bytes:
    """Return what the mock server of ``openssl cmp`` answers to an ir of ours under :data:`SECRET`."""
    for number, octets in enumerate(messages):
        (folder / f"ours{number}.der").write_bytes(octets)
    subprocess.run(
        ["openssl", "cmp", *_MOCK, "-cmd", "ir", *_BY_MAC, *_TEMPLATE, "-certout", "issued.pem", "-disable_confirm",
         "-reqin", ",".join(f"ours{number}.der" for number in range(len(messages))), "-rspout", "answer.der"],
        cwd=folder, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    return (folder / "answer.der").read_bytes()
