from __future__ import annotations

import stat
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from agent.errors import StateError
from agent.labca import pki
from agent.labca.keys import KeyKind
from tests.unit.labca.entity import NOW

if TYPE_CHECKING:
    from pathlib import Path

    from agent.labca.certificates import Credential


def signed(subject: bytes, issuer: Credential) -> None:
    x509.load_der_x509_certificate(subject).verify_directly_issued_by(issuer.loaded)


def test_root_issuing_ca_ra_and_vendor_are_made_with_what_each_may_do() -> None:
    made = pki.make(KeyKind.EC_P256, NOW)
    signed(made.root.certificate, made.root)
    signed(made.issuing.certificate, made.root)
    signed(made.ra.certificate, made.issuing)
    signed(made.bystander.certificate, made.issuing)
    signed(made.vendor_root.certificate, made.vendor_root)
    signed(made.other_ra.certificate, made.other_root)
    for authority in (made.root, made.issuing, made.vendor_root, made.other_root):
        assert authority.loaded.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    for credential, may_speak in ((made.ra, True), (made.bystander, False)):
        purposes = [one for one in credential.loaded.extensions if one.oid == x509.ExtendedKeyUsage.oid]
        assert bool(purposes) is may_speak


def test_without_an_issuing_ca_the_root_issues() -> None:
    made = pki.make(KeyKind.EC_P256, NOW, intermediate=False)
    assert made.issuing is made.root
    assert made.chain == ()
    signed(made.ra.certificate, made.root)


@pytest.mark.parametrize("intermediate", [True, False])
def test_it_is_made_once_and_then_loaded(tmp_path: Path, intermediate: bool) -> None:
    first = pki.load_or_make(tmp_path, KeyKind.EC_P256, NOW, intermediate=intermediate)
    again = pki.load_or_make(tmp_path, KeyKind.EC_P384, NOW, intermediate=not intermediate)
    assert [again.root.certificate, again.ra.certificate] == [first.root.certificate, first.ra.certificate]
    assert again.has_intermediate is intermediate
    assert again.chain == first.chain


def test_keys_are_readable_by_their_owner_only_and_public_parts_stand_beside(tmp_path: Path) -> None:
    made = pki.load_or_make(tmp_path, KeyKind.EC_P256, NOW)
    for key in (tmp_path / "pki").glob("*.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.glob("*.pem")) == [
        "chain.pem",
        "issuing.pem",
        "ra.pem",
        "root.pem",
        "vendor-root.pem",
    ]
    assert (tmp_path / "root.pem").read_bytes() == made.root.pem
    assert len(x509.load_pem_x509_certificates((tmp_path / "chain.pem").read_bytes())) == 2


def test_a_first_start_that_was_interrupted_is_repeated(tmp_path: Path) -> None:
    (tmp_path / "pki.new").mkdir()
    (tmp_path / "pki.new" / "root.pem").write_bytes(b"half")
    made = pki.load_or_make(tmp_path, KeyKind.EC_P256, NOW)
    signed(made.issuing.certificate, made.root)


def test_a_damaged_directory_is_named_with_a_remedy(tmp_path: Path) -> None:
    pki.load_or_make(tmp_path, KeyKind.EC_P256, NOW)
    (tmp_path / "pki" / "root.key").write_bytes(b"damaged")
    with pytest.raises(StateError, match=str(tmp_path)) as caught:
        pki.load_or_make(tmp_path, KeyKind.EC_P256, NOW)
    assert caught.value.remedy


def test_a_root_update_is_certified_both_ways_and_kept(tmp_path: Path) -> None:
    made = pki.load_or_make(tmp_path, KeyKind.EC_P256, NOW)
    assert pki.load_root_update(tmp_path) is None
    update = pki.make_root_update(made, KeyKind.EC_P256, NOW)
    signed(update.new_with_old, made.root)
    signed(update.old_with_new, update.new)
    signed(update.new.certificate, update.new)
    assert x509.load_der_x509_certificate(update.new_with_old).public_key() == update.new.loaded.public_key()
    assert x509.load_der_x509_certificate(update.old_with_new).public_key() == made.root.loaded.public_key()
    pki.keep_root_update(tmp_path, update)
    loaded = pki.load_root_update(tmp_path)
    assert loaded is not None
    assert loaded.content() == update.content()
    assert loaded.new.key.public_key == update.new.key.public_key


def test_a_device_has_a_vendors_certificate() -> None:
    made = pki.make(KeyKind.EC_P256, NOW)
    device = pki.make_device(made, "enb-4711", NOW, life=timedelta(days=1))
    signed(device.certificate, made.vendor_root)
    assert device.loaded.subject.rfc4514_string() == "CN=enb-4711,O=Vendor"
    assert device.loaded.not_valid_after_utc == NOW + timedelta(days=1)


def test_a_vendors_chain_may_have_two_links() -> None:
    made = pki.make(KeyKind.EC_P256, NOW)
    issuing = pki.make_vendor_intermediate(made, NOW)
    device = pki.make_device(made, "enb-4711", NOW, issuer=issuing)
    signed(issuing.certificate, made.vendor_root)
    signed(device.certificate, issuing)
    assert device.chain == (issuing.certificate,)
