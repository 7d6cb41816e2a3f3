"""The life of a certificate whose key is on a token: enrolled, updated, revoked, and never out of its token."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from agent.labca import LabCa
from agent.labca.pki import pem
from agent.store.token_keys import SUPERSEDED, TokenKeys
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


@pytest.mark.parametrize(("kind", "usage"), [("rsa-2048", "encipherment"), ("ec-p256", "agreement")])
def test_a_key_on_the_token_that_does_not_sign_proves_itself_by_decrypting_there(
    station: TokenStation, token: Token, kind: str, usage: str
) -> None:
    station.identity["key"] |= {"algorithm": kind, "usage": usage}
    station.identity["renewal"] = {"method": "enroll"}
    station.configure(profile="backhaul")  # SoftHSM lacks the OAEP of the others
    done = good(station, "enroll")
    assert "sending popdecr" in done.err
    allowed = x509.load_der_x509_certificate(station.current.certificate).extensions
    assert not allowed.get_extension_for_class(x509.KeyUsage).value.digital_signature
    assert "sensitive, always sensitive, never extractable, local" in token.tool("--list-objects", "--type", "privkey")


def test_the_certificate_beside_the_key_is_the_one_in_use(station: TokenStation, token: Token) -> None:
    good(station, "enroll")
    key_id = objects(token, "privkey")[0]
    out = station.directory / "read.der"
    token.tool("--read-object", "--type", "cert", "--id", key_id, "--output-file", str(out))
    assert out.read_bytes() == station.current.certificate


def test_the_old_key_goes_when_its_time_has_come_and_rollback_knows(station: TokenStation, token: Token) -> None:
    retire_after(station, token, "0s")
    station.configure()
    good(station, "enroll")
    good(station, "renew")
    assert len(objects(token, "privkey")) == 1
    assert TokenKeys(station.store.directory).load() == (station.current.key_reference,)
    refused = station.run("rollback")
    assert refused.code == 1
    assert "no older credential" in refused.problem


def test_however_many_certificates_follow_an_old_key_stays_for_its_grace(station: TokenStation, token: Token) -> None:
    retire_after(station, token, "1h")
    station.configure()
    good(station, "enroll")
    first = station.current
    for _ in range(4):
        good(station, "renew")
    assert len(objects(token, "privkey")) == 5
    for _ in range(4):
        good(station, "rollback")
    assert station.current == first
    for _ in range(4):
        good(station, "renew")
    retire_after(station, token, "0s")
    station.configure()
    good(station, "renew")
    assert len(objects(token, "privkey")) == 1
    good(station, "renew")
    assert len(station.store.generations) == 3


def test_a_clock_that_was_ahead_when_a_key_was_superseded_does_not_keep_it(station: TokenStation) -> None:
    good(station, "enroll")
    good(station, "renew")
    store = station.store
    with store.lock():
        store.mark(store.generations[0], SUPERSEDED, (datetime.now(UTC) + timedelta(days=3650)).isoformat())
    good(station, "enroll")
    at = TokenKeys(station.store.directory).retire_at()
    assert at is not None
    assert timedelta(days=6) < at - datetime.now(UTC) <= timedelta(days=7)


def stored_in(station: TokenStation, store: str, command: str = "renew") -> Finished:
    """Have the next certificate's key made in ``store``."""
    station.identity["key"]["store"] = store
    station.configure()
    return good(station, command)


def retire_after(station: TokenStation, token: Token, grace: str) -> None:
    station.more["tokens"]["hsm"] = token.settings(**{"retire-after": grace})


def test_from_software_to_the_token_and_back_leaves_no_key_there(station: TokenStation, token: Token) -> None:
    retire_after(station, token, "0s")
    stored_in(station, "software", "enroll")
    assert station.current.private_key is not None
    stored_in(station, "hsm")
    assert station.current.key_reference.startswith("pkcs11:")
    assert len(objects(token, "privkey")) == 1
    done = stored_in(station, "software")
    assert station.current.private_key is not None
    assert "destroyed an old key: pkcs11:token=enb" in done.err
    assert objects(token, "privkey") == objects(token, "cert") == objects(token, "pubkey") == []
    assert TokenKeys(station.store.directory).load() == ()
    refused = station.run("rollback")
    assert refused.code == 1 or station.current.number == 1, refused.err


def test_a_key_that_was_left_behind_stays_for_its_grace_and_its_time_is_written_down(
    station: TokenStation, token: Token
) -> None:
    stored_in(station, "hsm", "enroll")
    stored_in(station, "software")
    at = TokenKeys(station.store.directory).retire_at()
    assert at is not None
    assert timedelta(days=6) < at - datetime.now(UTC) <= timedelta(days=7)
    assert len(objects(token, "privkey")) == 1
    good(station, "rollback")
    assert station.current.key_reference.startswith("pkcs11:")


def test_a_token_that_is_gone_holds_up_nothing_and_is_asked_again_in_a_day(station: TokenStation, token: Token) -> None:
    stored_in(station, "hsm", "enroll")
    stored_in(station, "software")
    ledger = TokenKeys(station.store.directory)
    retire_after(station, token, "0s")
    station.configure()
    token.unplug()
    ledger.plan(datetime.now(UTC))
    assert "old keys stay on their token for now" in good(station, "enroll").err
    at = ledger.retire_at()
    assert at is not None
    assert timedelta(hours=23) < at - datetime.now(UTC) <= timedelta(days=1)
    assert good(station, "enroll").err.count("hsm") == 0  # it is not asked before
    token.plug()
    ledger.plan(datetime.now(UTC))
    assert "destroyed an old key" in good(station, "enroll").err
    assert objects(token, "privkey") == []


def test_without_its_pin_no_part_of_a_key_is_destroyed(station: TokenStation, token: Token) -> None:
    stored_in(station, "hsm", "enroll")
    stored_in(station, "software")
    before = objects(token, "pubkey"), objects(token, "privkey"), objects(token, "cert")
    retire_after(station, token, "0s")
    station.configure()
    (station.directory / "pin").unlink()
    TokenKeys(station.store.directory).plan(datetime.now(UTC))
    assert "the PIN of the token hsm is not at hand" in good(station, "enroll").err
    assert (objects(token, "pubkey"), objects(token, "privkey"), objects(token, "cert")) == before
    assert len(TokenKeys(station.store.directory).load()) == 1


def test_a_key_on_a_token_that_left_the_configuration_is_no_longer_minded_and_named(
    station: TokenStation, token: Token
) -> None:
    stored_in(station, "hsm", "enroll")
    stored_in(station, "software")
    station.more.clear()
    station.configure()
    ledger = TokenKeys(station.store.directory)
    ledger.plan(datetime.now(UTC))
    assert "is left on its token, which is no longer configured" in good(station, "enroll").err
    assert (ledger.load(), ledger.retire_at()) == ((), None)
    assert len(objects(token, "privkey")) == 1


def test_a_renewal_with_the_same_key_replaces_the_certificate_beside_it(station: TokenStation, token: Token) -> None:
    station.identity["renewal"] = {"key": "same"}
    station.configure()
    good(station, "enroll")
    good(station, "renew")
    assert len(objects(token, "privkey")) == len(objects(token, "cert")) == 1


@pytest.mark.parametrize("by_itself", [False, True], ids=["by a person", "by itself"])
def test_going_back_brings_the_certificate_beside_the_same_key_back_too(
    station: TokenStation, token: Token, *, by_itself: bool
) -> None:
    (hook := station.directory / "hook").write_text("#!/bin/sh\ntest ! -e $0.broken\n")
    hook.chmod(0o755)
    station.identity |= {"renewal": {"key": "same"}}
    if by_itself:
        station.identity["deploy"] = [{"hook": {"command": [str(hook)], "on-failure": "rollback"}}]
    station.configure()
    good(station, "enroll")
    first = station.current.certificate
    if by_itself:
        (station.directory / "hook.broken").touch()
        assert station.run("renew").code == 1
    else:
        good(station, "renew")
        good(station, "rollback")
    assert station.current.certificate == first
    (one,) = token.store(station.directory / "memory").inventory()
    assert one.certificate == first


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
