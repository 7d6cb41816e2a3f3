"""A smart card: a real pcscd and OpenSC, and a card that holds the vendor's key and can be read only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.labca import LabCa
from agent.labca.keys import KeyKind, LabKey
from tests.hsm.card import OBJECT, OPENSC, Reader, reader
from tests.printed import valid
from tests.station import Station

LABEL = "serial-4711"


@pytest.fixture
def slot(tmp_path: Path) -> Iterator[Reader]:
    with reader(tmp_path / "card") as running:
        yield running


@pytest.fixture
def station(tmp_path: Path, lab: LabCa, slot: Reader) -> Station:
    """Give a base station that proves itself by the vendor's key on its card, which is in the reader."""
    (tmp_path / "site").mkdir()
    made = Station(tmp_path / "site")
    device = lab.make_device(LABEL, key=LabKey.generate(KeyKind.RSA_2048))
    certificate, key = made.directory / "vendor.pem", made.directory / "vendor.key"
    certificate.write_bytes(device.pem)
    key.write_bytes(device.key.pem())
    slot.personalise(certificate, key)
    key.unlink()
    (made.directory / "secret").unlink()
    (made.directory / "pin").write_text("1234\n")
    (made.directory / "pin").chmod(0o600)
    where = f"pkcs11:token={LABEL};object={OBJECT.replace(' ', '%20')}"
    made.identity["bootstrap"] = {"vendor-certificate": {"certificate": "vendor.pem", "key": where}}
    made.more = {"tokens": {"card": {"module": str(OPENSC), "label": LABEL, "pin": "file:pin"}}}
    assert lab.settings.directory is not None
    made.configure(urls=[lab.url], trust_anchors=[str(lab.settings.directory / "root.pem")])
    slot.insert()
    return made


def test_a_device_enrolls_with_the_vendors_key_on_its_card_once_that_is_in_the_reader(
    station: Station, slot: Reader
) -> None:
    listed = station.run("token", "list", prefix=slot.prefix)
    assert f"card: {LABEL}, serial " in listed.out, listed.err
    (seen,) = valid("token", station.run("token", "list", "--json", prefix=slot.prefix).out)
    assert seen["label"] == LABEL
    assert [one["algorithm"] for one in seen["keys"]] == ["rsa-2048"] * 3
    assert OBJECT in listed.out

    slot.pull()
    done = station.run("enroll", "--json", prefix=slot.prefix)
    outcome = json.loads(done.out)
    assert (done.code, outcome["verdict"]) == (4, "needs-token")
    assert "plug in the token card" in outcome["remedy"]
    assert station.store.current is None

    slot.insert()
    done = station.run("enroll", prefix=slot.prefix)
    assert done.code == 0, done.err
    assert station.current.number == 1

    slot.pull()
    done = station.run("renew", prefix=slot.prefix)  # the certificate proves who asks, not the vendor's
    assert done.code == 0, done.err
    assert station.current.number == 2
