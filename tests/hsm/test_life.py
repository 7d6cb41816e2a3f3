"""The life of a certificate whose key is on a token: enrolled, updated, revoked, and never out of its token."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives import serialization

from agent.labca import LabCa
from agent.labca.pki import pem
from agent.store.token_keys import TokenKeys
from tests.hsm.conftest import TokenStation, nothing_private_on_disk
from tests.hsm.tokens import Token
from tests.station import Finished

KINDS = ["ec-p256", "ec-p384", "ec-p521", "ed25519", "ed448", "rsa-2048", "rsa-3072", "rsa-4096"]


def good(station: TokenStation, *arguments: str) -> Finished:
    done = station.run(*arguments)
    assert done.code == 0, f"{done.out}\n{done.err}"
    return done


def objects(token: Token, kind: str) -> list[str]:
    """The CKA_IDs that ``pkcs11-tool`` shows for all objects of a kind."""
    shown = token.tool("--list-objects", "--type", kind)
    return sorted(line.split()[1] for line in shown.splitlines() if line.strip().startswith("ID:"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_on_the_token_is_enrolled_updated_and_revoked(station: TokenStation, token: Token, kind: str) -> None:
    station.identity["key"]["algorithm"] = kind
    station.configure()
    done = good(station, "enroll")
    assert "on the token hsm" in done.err
    first = station.current
    assert first.key_reference.startswith("pkcs11:token=enb;serial=")
    assert objects(token, "cert") == objects(token, "privkey")
    assert "sensitive, always sensitive, never extractable, local" in token.tool("--list-objects", "--type", "privkey")

    good(station, "renew")
    second = station.current
    assert second.number == first.number + 1
    assert second.key_reference != first.key_reference
    assert len(objects(token, "privkey")) == 2  # the old one stays until its time has come
    assert objects(token, "cert") == objects(token, "privkey")

    good(station, "revoke", "ike", "--yes")
    nothing_private_on_disk(station.directory)


def test_the_certificate_beside_the_key_is_the_one_in_use(station: TokenStation, token: Token) -> None:
    good(station, "enroll")
    key_id = objects(token, "privkey")[0]
    out = station.directory / "read.der"
    token.tool("--read-object", "--type", "cert", "--id", key_id, "--output-file", str(out))
    assert out.read_bytes() == station.current.certificate


def test_the_old_key_goes_when_its_time_has_come_and_rollback_knows(station: TokenStation, token: Token) -> None:
    station.more["tokens"]["hsm"] = token.settings(**{"retire-after": "0s"})
    station.configure()
    good(station, "enroll")
    good(station, "renew")
    assert len(objects(token, "privkey")) == 1
    assert TokenKeys(station.store.directory).load() == (station.current.key_reference,)
    refused = station.run("rollback")
    assert refused.code == 1
    assert "no older credential" in refused.problem


def test_from_software_to_the_token_and_back(station: TokenStation, token: Token) -> None:
    station.identity["key"]["store"] = "software"
    station.configure()
    good(station, "enroll")
    assert station.current.private_key is not None
    station.identity["key"]["store"] = "hsm"
    station.configure()
    good(station, "renew")
    assert station.current.key_reference.startswith("pkcs11:")
    assert len(objects(token, "privkey")) == 1
    station.identity["key"]["store"] = "software"
    station.configure()
    good(station, "renew")
    assert station.current.private_key is not None


def test_a_renewal_with_the_same_key_replaces_the_certificate_beside_it(station: TokenStation, token: Token) -> None:
    station.identity["renewal"] = {"key": "same"}
    station.configure()
    good(station, "enroll")
    good(station, "renew")
    assert len(objects(token, "privkey")) == len(objects(token, "cert")) == 1


def test_a_request_that_came_to_nothing_leaves_no_key_behind(station: TokenStation, token: Token) -> None:
    station.write_secret("wrong")
    assert station.run("enroll").code == 4
    assert len(objects(token, "privkey")) == 1
    station.write_secret("Corr3ct-h0rse-battery")
    station.identity["key"]["algorithm"] = "ec-p384"
    station.configure()
    good(station, "enroll")
    assert len(objects(token, "privkey")) == 1


def test_a_key_made_and_not_yet_used_is_found_by_the_next_attempt(station: TokenStation, token: Token) -> None:
    """The worker dies right after the token made the key."""
    token.order("C_FindObjectsInit segv")
    assert station.run("enroll").code == 1
    token.order()
    good(station, "enroll")
    assert len(objects(token, "privkey")) == 1


def test_the_result_names_the_token_when_it_is_needed(station: TokenStation, token: Token) -> None:
    token.unplug()
    done = station.run("enroll", "--json")
    assert done.code == 4
    outcome = json.loads(done.out)
    assert outcome["verdict"] == "needs-token"
    assert "plug in the token hsm" in outcome["remedy"]
    token.plug()
    good(station, "enroll")


def test_a_device_enrolls_with_the_vendors_key_on_its_token(station: TokenStation, token: Token, lab: LabCa) -> None:
    device = lab.make_device("serial-4711")
    factory = station.directory / "factory.key"
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    factory.write_bytes(device.key.private.private_bytes(*form))
    token.put(factory, "factory key")
    factory.unlink()
    (station.directory / "vendor.pem").write_bytes(pem(device.certificate))
    vendor = {"certificate": "vendor.pem", "key": "pkcs11:token=enb;object=factory%20key"}
    station.identity["bootstrap"] = {"vendor-certificate": vendor}
    (station.directory / "secret").unlink()
    station.configure()
    good(station, "enroll")
    good(station, "renew")
    assert station.current.number == 2
    assert token.tool("--list-objects", "--type", "privkey").count("factory key") == 1
    nothing_private_on_disk(station.directory)
