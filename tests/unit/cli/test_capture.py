"""A support bundle holds what a fault is found by and no secret, wherever somebody may have left one."""

from __future__ import annotations

import base64
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from agent.cli.main import main
from agent.cli.scrubbing import REMOVED, Scrubber
from agent.cmp import messages
from agent.cmp.protection import Kind, kind_of
from agent.store.recording import Recordings
from tests.station import SECRET, Finished, Station

PIN = "7391-pin-of-the-token"


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        found = {}
        for one in archive.getmembers():
            assert one.isfile()
            assert one.mode == 0o600
            extracted = archive.extractfile(one)
            assert extracted is not None
            found[one.name.partition("/")[2]] = extracted.read()
        return found


def captured(station: Station, *arguments: str) -> dict[str, bytes]:
    target = station.directory / "bundle.tar.gz"
    done = station.run("capture", "--output", str(target), *arguments)
    assert done.code == 0, done.err
    assert target.stat().st_mode & 0o777 == 0o600
    assert_nowhere(done)
    return members(target)


def assert_nowhere(done: Finished) -> None:
    assert SECRET not in done.out + done.err
    assert PIN not in done.out + done.err


@pytest.fixture
def recorded(station: Station) -> Station:
    """A station that records, has enrolled and renewed, and has an open request with the MAC of its last message."""
    write(station, recording={"transactions": 5})
    assert station.run("enroll").code == 0
    assert station.run("renew").code == 0
    return station


def write(station: Station, **more: Any) -> None:
    station.configure()
    station.config.write_text(station.config.read_text() + yaml.safe_dump(more))


def spellings(secret: bytes) -> list[bytes]:
    plain = base64.b64encode(secret).rstrip(b"=")[:-1]
    return [secret, secret.hex().encode(), secret.hex().upper().encode(), plain, repr(secret).encode()[2:-1]]


def key_spellings(path: Path) -> list[bytes]:
    key = load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    number = key.private_numbers().private_value
    octets = number.to_bytes(32, "big")
    lines = [line for line in path.read_bytes().splitlines() if line and b"-----" not in line]
    return [*spellings(octets), str(number).encode(), *lines]


def test_secrets_planted_everywhere_are_nowhere_in_the_bundle(recorded: Station) -> None:
    station = recorded
    (station.directory / "pin").write_text(f"{PIN}\n")
    (station.directory / "pin").chmod(0o600)
    module = station.directory / "module.so"
    module.write_bytes(b"\x7fELF")
    write(
        station,
        tokens={"hsm": {"module": str(module), "label": "enb", "pin": "file:pin"}},
        recording={"transactions": 5},
    )
    key = station.current.private_key
    assert key is not None
    pem = key.read_text()
    # In a comment, in a key that is no source, in a URL, in a URI, as base64, as hex, as a key pasted in by mistake.
    shaped = [
        f"# the secret is {SECRET} and the PIN {PIN}",
        f"# {base64.b64encode(b'user:' + SECRET.encode()).decode()} {SECRET.encode().hex()}",
        "# secret: unknown-hunter2  password = 'unknown-hunter3'",
        "# http://operator:unknown-hunter4@ra.example/ pkcs11:token=enb?pin-value=unknown-hunter5",
        *(f"# {line}" for line in pem.splitlines()),
    ]
    station.config.write_text(station.config.read_text() + "\n".join(shaped) + "\n")
    history = station.store.directory / "state.json"
    document = json.loads(history.read_text())
    document["last_error"] = {
        "text": f"the CA said {SECRET}", "remedy": f"try {PIN}", "verdict": "rejected",
        "at": "2026-11-26T00:00:00+00:00",
    }  # fmt: skip
    history.write_text(json.dumps(document))
    (station.state / "stray-private-key.pem").write_text(pem)
    (station.state / SECRET).write_text("")

    found = captured(station)
    needles = [*spellings(SECRET.encode()), *spellings(PIN.encode()), *key_spellings(key)]
    for path in station.state.rglob("private-key.pem"):
        needles += key_spellings(path)
    needles += [f"unknown-hunter{number}".encode() for number in range(2, 6)]
    for name, contents in found.items():
        for needle in needles:
            assert needle not in contents, (name, needle)
        assert b"PRIVATE KEY" not in contents, name
    assert not [name for name in found if "private-key.pem" in name]
    assert found["configuration/enrolld.yaml"].count(REMOVED.encode()) >= 8


def test_no_message_in_the_bundle_lets_a_secret_be_guessed(recorded: Station) -> None:
    found = captured(recorded, "--offline")
    ders = {name: octets for name, octets in found.items() if name.endswith(".der")}
    kinds = {name: messages.parse(octets) for name, octets in ders.items()}
    macs = [message for message in kinds.values() if kind_of(message) is Kind.MAC]
    assert len(macs) >= 2  # ir and certConf at least
    assert all(message.protection == b"" for message in macs)
    assert [message for message in kinds.values() if kind_of(message) is Kind.SIGNATURE]
    for path in (recorded.store.directory / "recorded").rglob("*.der"):
        message = messages.parse(path.read_bytes())
        assert kind_of(message) is not Kind.MAC or message.protection == b"", "not even on our own disk"


def test_the_bundle_holds_what_a_fault_is_found_by(recorded: Station) -> None:
    found = captured(recorded)
    assert {"versions.json", "configuration/enrolld.yaml", "doctor.json", "journal.txt", "state/listing.txt"} <= set(
        found
    )
    assert json.loads(found["versions.json"])["enrolld"]
    assert {one["check"] for one in json.loads(found["doctor.json"])["checks"]} >= {"clock", "chain"}
    status = json.loads(found["state/identities/ike/status.json"])
    assert status["state"] == "valid"
    certificate = found["state/identities/ike/generations/000002/certificate.pem"]
    assert certificate == (recorded.current.path / "certificate.pem").read_bytes()
    readings = [text for name, text in found.items() if "/recorded/" in name and name.endswith("sent.txt")]
    assert any(b"ir" in text for text in readings)
    assert b"transactionID" in readings[0] or b"transaction" in readings[0]


def test_an_open_request_is_told_without_its_last_message(slow_station: Station) -> None:
    assert slow_station.run("enroll", "--wait", "0s").code == 3
    snapshot = slow_station.store.transaction.load_snapshot()
    assert snapshot is not None
    transaction: Any = snapshot["transaction"]
    found = json.loads(captured(slow_station, "--offline")["state/identities/ike/transaction.json"])
    assert found["transaction"]["transaction_id"] == transaction["transaction_id"]
    assert "last_message" in found["left out"]
    assert transaction["last_message"] not in json.dumps(found)


def test_nothing_is_recorded_unless_the_configuration_says_so(station: Station) -> None:
    assert station.run("enroll").code == 0
    assert not (station.store.directory / "recorded").exists()
    assert not [name for name in captured(station, "--offline") if "recorded" in name]


def test_a_wrong_configuration_is_captured_all_the_same(station: Station) -> None:
    station.config.write_text(station.config.read_text() + "sujbect: x\nsecret: hunter2\n")
    found = captured(station, "--offline")
    assert b"sujbect" in found["configuration/enrolld.yaml"]
    assert b"hunter2" not in found["configuration/enrolld.yaml"]


def test_a_state_that_is_closed_to_this_user_is_left_out_and_named(
    station: Station, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != station.state)  # root may read everything
    with pytest.raises(SystemExit) as ended:
        main(["--config", str(station.config), "capture", "--offline", "--output", str(tmp_path / "support.tar.gz")])
    assert ended.value.code == 0
    assert f"{station.state} is closed to this user; with sudo the state is captured, too" in capsys.readouterr().err
    found = members(tmp_path / "support.tar.gz")
    assert "configuration/enrolld.yaml" in found
    assert not [name for name in found if name.startswith("state/")]


def test_a_file_that_exists_is_not_written_over(station: Station) -> None:
    target = station.directory / "mine"
    target.write_text("mine")
    done = station.run("capture", "--offline", "--output", str(target))
    assert done.code == 1
    assert "exists already" in done.problem
    assert target.read_text() == "mine"


def test_only_the_last_transactions_are_kept(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path)
    for number in range(7):
        for direction in ("sent", "received"):
            recordings.add(bytes([number]) * 16, direction, b"x" * 100, transactions=3, maximum=100_000)
    kept = recordings.transactions
    assert [one.name[:6] for one in kept] == ["000005", "000006", "000007"]
    assert [one.name for one in recordings.messages(kept[0])] == ["01-sent.der", "02-received.der"]


def test_the_kept_messages_stay_within_their_octets(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path)
    for number in range(20):
        recordings.add(bytes([number]) * 16, "sent", b"x" * 400, transactions=100, maximum=1000)
        assert sum(one.stat().st_size for one in tmp_path.rglob("*.der")) <= 1000
    recordings.add(b"y" * 16, "sent", b"x" * 5000, transactions=100, maximum=1000)
    for _ in range(5):
        recordings.add(b"z" * 16, "sent", b"x" * 400, transactions=100, maximum=1000)
    assert sum(one.stat().st_size for one in tmp_path.rglob("*.der")) <= 1000


def test_text_without_secrets_stays_as_it_is() -> None:
    text = "secret: credential:ike-secret\npin: file:pin\nsecret: prompt\ntoken=enb serial 0a1b2c\n"
    assert Scrubber([b"hunter2"])(text) == text


def test_a_short_secret_takes_no_other_words_with_it() -> None:
    assert Scrubber([b"1"])("serial 2118, PIN 1") == f"serial 2118, PIN {REMOVED}"
