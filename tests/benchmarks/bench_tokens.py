"""What a token costs: a signature through the adapter, and an enrollment with the key on a token beside in software.

A signature is measured beside python-pkcs11 used raw, once with a session that is opened, logged in and closed for it
as the adapter does, and once with a session for ten of them; and beside ``pkcs11-tool``, a process for each. The
tokens are SoftHSM2 and a software TPM behind its resource manager. Figures are medians of ROUNDS rounds, in which all
rows take turns; what counts is the ratio within a round of the same run.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import pkcs11
import pytest
from pkcs11 import Attribute, ObjectClass

from agent.labca import LabCa, LabCaSettings, running
from hsm import mechanisms, uri
from hsm.algorithms import KeyAlgorithm, Scheme
from hsm.module import TokenAddress
from hsm.pinmemory import PinMemory
from hsm.pkcs11 import TokenKeyStore
from tests.hsm.conftest import TokenStation
from tests.hsm.tokens import PIN, SOFTHSM, Token
from tests.hsm.tpm import LABEL, TPM_PIN, finalize, software_tpm
from tests.station import ENVIRONMENT, REFERENCE, SECRET

ROUNDS = int(os.environ.get("ROUNDS", "15"))
AT_ONCE = 10
"""Signatures in one measurement; ``pkcs11-tool`` makes one."""
TO_SIGN = b"x" * 500
"""As long as a message of CMP without its certificates."""


@dataclass(frozen=True)
class Kind:
    """A kind of key: its size, how it signs, and what ``pkcs11-tool`` calls that."""

    name: str
    bits: int
    scheme: Scheme
    tool: str


KINDS = (
    Kind("ec-p256", 256, Scheme.ECDSA_SHA256, "ECDSA"),
    Kind("rsa-2048", 2048, Scheme.RSA_PKCS1_SHA256, "RSA-PKCS"),
)


@dataclass(frozen=True)
class Sample:
    """One token to measure."""

    name: str
    address: TokenAddress
    pin: bytes


def main() -> None:
    """Print a table for each token and kind of key, and one for enrollments."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        place = Path(folder)
        token = Token(place / "softhsm", SOFTHSM)
        for name, value in token.environment.items():
            patch.setenv(name, value)
            patch.setitem(ENVIRONMENT, name, value)
        signatures(Sample("SoftHSM2", TokenAddress(name="hsm", module=SOFTHSM, label="enb"), PIN), place)
        enrollments(place, token)
        finalize()
        with software_tpm(place, patch) as module:
            signatures(Sample("software TPM", TokenAddress(name="tpm", module=module, label=LABEL), TPM_PIN), place)


# --- signatures -------------------------------------------------------------------------------------------------------


def signatures(sample: Sample, place: Path) -> None:
    """Print what a signature takes."""
    store = TokenKeyStore(sample.address, sample.pin, PinMemory(place / "memory.json"))
    for kind in KINDS:
        key = store.generate(KeyAlgorithm(kind.name), store.propose("bench"))
        where = uri.parse(key.reference)
        assert where.id is not None
        how = mechanisms.signing(kind.scheme, TO_SIGN, kind.bits)
        found = pkcs11.lib(str(sample.address.module)).get_token(token_label=sample.address.label)
        rows: dict[str, tuple[Callable[[], object], int]] = {
            "raw, one session for ten": (raw_held(found, sample.pin, where.id, how), AT_ONCE),
            "raw, session for each": (raw_each(found, sample.pin, where.id, how), AT_ONCE),
            "adapter": (partial(key.sign, TO_SIGN, kind.scheme), AT_ONCE),
            "pkcs11-tool": (tool(sample, place, where.id, kind, how), 1),
        }
        taken = in_turn(rows)
        show(f"sign, {sample.name}, {kind.name}", taken, "raw, session for each", unit=1000, called="ms")


def raw_each(token: Any, pin: bytes, key_id: bytes, how: mechanisms.Operation) -> Callable[[], object]:
    def work() -> object:
        with token.open(user_pin=pin.decode()) as session:
            return session_signs(session, key_id, how)

    return work


def raw_held(token: Any, pin: bytes, key_id: bytes, how: mechanisms.Operation) -> Callable[[], object]:
    """Hold a session open for as many as are measured together."""
    state: dict[str, Any] = {"left": 0}

    def work() -> object:
        if not state["left"]:
            state["session"] = session = token.open(user_pin=pin.decode())
            state["key"] = private_key(session, key_id)
            state["left"] = AT_ONCE
        state["left"] -= 1
        signature = state["key"].sign(how.data, mechanism=how.mechanism, mechanism_param=how.parameter)
        if not state["left"]:
            state["session"].close()
        return signature

    return work


def private_key(session: Any, key_id: bytes) -> Any:
    (key,) = session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.ID: key_id})
    return key


def session_signs(session: Any, key_id: bytes, how: mechanisms.Operation) -> object:
    key = private_key(session, key_id)
    return key.sign(how.data, mechanism=how.mechanism, mechanism_param=how.parameter)


def tool(sample: Sample, place: Path, key_id: bytes, kind: Kind, how: mechanisms.Operation) -> Callable[[], object]:
    """Let it sign what the adapter gives to the token."""
    data = place / f"{kind.name}.data"
    data.write_bytes(how.data)
    command = (
        *("pkcs11-tool", "--module", str(sample.address.module), "--token-label", sample.address.label),
        *("--login", "--pin", sample.pin.decode(), "--sign", "--id", key_id.hex(), "--mechanism", kind.tool),
        *("--input-file", str(data), "--output-file", str(place / "signature")),
    )

    def work() -> object:
        return subprocess.run(command, check=True, capture_output=True, timeout=60)

    return work


# --- enrollments ------------------------------------------------------------------------------------------------------


def enrollments(place: Path, token: Token) -> None:
    """Print what an enrollment takes, from the start of ``enrollctl enroll`` to the installed credential."""
    with lab_ca(place / "lab-ca") as ca:
        for kind in KINDS:
            rows: dict[str, tuple[Callable[[], object], int]] = {
                where: (enrollment(place, ca, token, kind.name, where), 1) for where in ("software", "token")
            }
            show(f"enrollctl enroll, {kind.name}", in_turn(rows), "software", unit=1, called="s")


@contextmanager
def lab_ca(directory: Path) -> Iterator[LabCa]:
    ca = LabCa(LabCaSettings(directory=directory, secrets={REFERENCE: SECRET}, durable=False))
    with running(ca):
        yield ca
    ca.close()


def enrollment(place: Path, ca: LabCa, token: Token, kind: str, where: str) -> Callable[[], object]:
    def work() -> object:
        station = TokenStation(Path(tempfile.mkdtemp(prefix="station-", dir=place)))
        roots = [str(place / "lab-ca" / "root.pem")]
        station.use(token, {"urls": [ca.url], "trust-anchors": roots, "mac": {"iterations": 500}}, kind)
        if where == "software":
            station.identity["key"] = {"algorithm": kind}
            station.more = {}
            station.configure()
        done = station.run("enroll", "ike")
        assert done.code == 0, done.err
        return done

    return work


# --- measuring --------------------------------------------------------------------------------------------------------


def in_turn(rows: dict[str, tuple[Callable[[], object], int]]) -> dict[str, list[float]]:
    """Return the seconds for one operation, by row, of each round."""
    taken: dict[str, list[float]] = {name: [] for name in rows}
    for round_ in range(ROUNDS + 1):
        for name, (work, times) in rows.items():  # in turn, so that a noisy moment meets all of them
            began = time.perf_counter()
            for _ in range(times):
                work()
            if round_:  # the first one loads libraries
                taken[name].append((time.perf_counter() - began) / times)
    return taken


def show(title: str, taken: dict[str, list[float]], beside: str, *, unit: int, called: str) -> None:
    """Print medians, and the median of the ratios within a round."""
    print(f"  {title + f', median of {ROUNDS}':46}{called:>9}{'x ' + beside:>26}")
    for name, seconds in taken.items():
        ratio = statistics.median(one / other for one, other in zip(seconds, taken[beside], strict=True))
        print(f"  {name:46}{statistics.median(seconds) * unit:9.3f}{ratio:26.2f}")


if __name__ == "__main__":
    main()
