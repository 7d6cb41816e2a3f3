"""The key of the eNodeB on a token: charon signs with it there, and goes from one key to the next without a restart."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent.deploy import material
from agent.deploy.material import Material
from agent.deploy.strongswan import Strongswan
from agent.deploy.target import Change, Hands
from agent.errors import ConsumerRefused
from agent.labca import LabCa, LabCaSettings, running
from agent.settings import StrongswanTarget
from tests.station import until
from tests.system.ike_lab import IkeLab, ike_lab
from tests.system.renewing import renew_three_times_and_lose_nothing
from tests.system.sites import SECRETS, Site, as_root, know, site

pytestmark = as_root

PIN = "1234"


class Token:
    """A SoftHSM token; charon reads its configuration from the environment, as on a machine with one token."""

    def __init__(self, place: Path) -> None:
        (place / "tokens").mkdir(parents=True)
        self.configuration = place / "softhsm2.conf"
        self.configuration.write_text(f"directories.tokendir = {place}/tokens\nobjectstore.backend = file\n")
        self._run("--init-token", "--free", "--label", "enb", "--so-pin", "0000", "--pin", PIN)

    @property
    def environment(self) -> dict[str, str]:
        return {"SOFTHSM2_CONF": str(self.configuration)}

    def take(self, key: Path, identifier: bytes) -> str:
        """Put a key file on the token, remove the file, and return the key's name (RFC 7512)."""
        self._run("--import", str(key), "--token", "enb", "--label", "ike", "--id", identifier.hex(), "--pin", PIN)
        key.unlink()
        return "pkcs11:token=enb;id=" + "".join(f"%{one:02x}" for one in identifier)

    def _run(self, *arguments: str) -> None:
        subprocess.run(
            ["softhsm2-util", *arguments], env={"PATH": "/usr/bin:/bin"} | self.environment, check=True,
            capture_output=True, timeout=20,
        )  # fmt: skip


@pytest.fixture
def token(tmp_path: Path) -> Token:
    return Token(tmp_path / "token")


@pytest.fixture
def lab(tmp_path: Path, token: Token) -> Iterator[IkeLab]:
    with ike_lab(tmp_path / "ike", environment=token.environment) as made:
        yield made


@contextmanager
def ca_in(directory: Path) -> Iterator[LabCa]:
    made = LabCa(LabCaSettings(directory=directory, secrets=SECRETS, durable=False))
    with running(made):
        yield made
    made.close()


@pytest.fixture
def ca(tmp_path: Path) -> Iterator[LabCa]:
    with ca_in(tmp_path / "ca") as made:
        yield made


def on_token(enb: Site, token: Token) -> None:
    """Have the keys of a station made on ``token``."""
    enb.environment = token.environment
    enb.identity["key"] = {"algorithm": "ec-p256", "store": "hsm"}
    (pin := enb.directory / "pin").write_text(PIN)
    pin.chmod(0o600)
    enb.more["tokens"] = {"hsm": {"module": "/usr/lib/softhsm/libsofthsm2.so", "label": "enb", "pin": "file:pin"}}
    enb.configure()


def enrolled(enb: Site, token: Token, identifier: bytes) -> Material:
    """Enroll with a key made elsewhere, and move that key onto the token."""
    key = enb.directory / "made-elsewhere.key"
    key.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    key.chmod(0o600)
    enb.good("enroll", "--again")
    made = material.load(enb.current)
    return replace(made, private_key=None, key_reference=token.take(key, identifier))


def test_charon_signs_on_the_token_and_goes_from_one_key_to_the_next(
    ca: LabCa, lab: IkeLab, token: Token, tmp_path: Path
) -> None:
    seg = site(tmp_path / "seg", ca, "seg1.core.example", lab.seg, [{"strongswan": {"vici": str(lab.seg.socket)}}])
    seg.good("enroll")
    enb = site(tmp_path / "enb", ca, "enb1.ran.example", lab.enb, [])
    enb.identity["key"] = {"existing": "made-elsewhere.key"}
    enb.configure()
    pins: list[str] = []

    def pin_of(reference: str) -> bytes:
        pins.append(reference)
        return PIN.encode()

    hands = Hands(identity="ike", say=lambda _: None, read_secret=str.encode, read_pin=pin_of)
    settings = StrongswanTarget(vici=str(lab.enb.socket), connections=("gw",), module="softhsm")
    first = enrolled(enb, token, b"\x10\x01")
    with pytest.raises(ConsumerRefused, match="which module reaches it"):
        Strongswan(replace(settings, module=None), hands).deploy(Change(new=first))

    target = Strongswan(settings, hands)
    target.deploy(Change(new=first))
    assert pins == [first.key_reference]
    assert lab.reaches()
    assert target.live(first)
    for number in range(2, 5):
        new = enrolled(enb, token, bytes([0x10, number]))
        before = lab.enb.established()
        target.deploy(Change(new=new, previous=first))
        until(lambda: len(lab.enb.established()) == 1)
        assert lab.enb.established() != before
        assert lab.enb.keys() == [new.key_id]
        assert new.serial in lab.seg.serials()
        first = new
    assert lab.reaches()


def test_no_packet_is_lost_while_both_ends_renew_three_times_and_the_keys_of_one_are_made_on_its_token(
    ca: LabCa, lab: IkeLab, token: Token, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything by the agent: the keys are made on the token and never leave it."""
    seg = site(tmp_path / "seg", ca, "seg1.core.example", lab.seg, [
        {"strongswan": {"vici": str(lab.seg.socket), "connections": ["enbs"], "timeout": "20s"}}
    ])  # fmt: skip
    seg.good("enroll")
    enb = site(tmp_path / "enb", ca, "enb1.ran.example", lab.enb, [
        {"strongswan": {"vici": str(lab.enb.socket), "connections": ["gw"], "module": "softhsm", "timeout": "20s"}}
    ])  # fmt: skip
    on_token(enb, token)
    enb.good("enroll")
    assert lab.reaches()
    assert enb.current.private_key is None
    renew_three_times_and_lose_nothing(lab, enb, seg, capsys)
    assert enb.current.private_key is None


def test_a_software_key_that_is_refused_again_and_again_leaves_charon_the_key_on_the_token(
    ca: LabCa, lab: IkeLab, token: Token, tmp_path: Path
) -> None:
    """The job that tries again is about the key in software; the way back leads to the token all the same."""
    seg = site(tmp_path / "seg", ca, "seg1.core.example", lab.seg, [{"strongswan": {"vici": str(lab.seg.socket)}}])
    seg.good("enroll")
    enb = site(tmp_path / "enb", ca, "enb1.ran.example", lab.enb, [
        {"strongswan": {"vici": str(lab.enb.socket), "connections": ["gw"], "module": "softhsm",
                        "timeout": "20s", "on-failure": "keep"}}
    ])  # fmt: skip
    on_token(enb, token)
    enb.good("enroll")
    assert lab.reaches()
    keys = lab.enb.keys()

    enb.identity["key"] = {"algorithm": "ec-p256", "store": "software"}
    with ca_in(tmp_path / "other") as other:
        know(enb, other)
        for command in (("enroll", "--again"), ("deploy",), ("deploy",)):
            refused = enb.run(*command)
            assert refused.code == 1
            assert "AUTHENTICATION_FAILED" in refused.problem, refused.err
            assert lab.enb.keys() == keys
        lab.enb.swanctl("--rekey", "--ike", "gw", "--reauth")
        until(lambda: len(lab.enb.established()) == 1)
        until(lab.reaches)  # one packet may be lost: see "No packet lost" in docs/deployment.md

        # Without the PIN there is no way back, which is told beside the refusal, and not in its place.
        (enb.directory / "pin").unlink()
        refused = enb.run("deploy")
        assert "AUTHENTICATION_FAILED" in refused.problem, refused.err
        assert "charon may lack the previous certificate" in refused.err
        assert "the PIN of the token hsm is not to be had" in refused.err
        until(lab.reaches)  # one packet may be lost: see "No packet lost" in docs/deployment.md
