"""Vendor certificates and first trust through the whole worker: TS 33.310 clause 9, strict mode included, and pins."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from agent.cmp import messages, names
from agent.cmp.bodies import CertReqMessages, PopSignature
from agent.cmp.certificates import load, read
from agent.contract import Action, Verdict
from agent.labca import LabCa, LabCaSettings, running
from agent.settings import (
    AnchorSource,
    BootstrapSettings,
    EnrollmentAnchorsSettings,
    ProfileName,
    VendorCertificateSettings,
)
from tests.unit.worker.desk import Desk, desk_at

ON_TRUST = EnrollmentAnchorsSettings(source=AnchorSource.EXTRA_CERTS)


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabCa]:
    """An RA of TS 33.310: it sends the operator's root along and gives the names."""
    settings = LabCaSettings(
        directory=tmp_path_factory.mktemp("3gpp"),
        durable=False,
        root_in_extra_certs=True,
        assigned_subject="CN={device}.ran.example,O=Operator",
    )
    lab = LabCa(settings)
    with running(lab):
        yield lab
    lab.close()


@pytest.fixture
def station(ca: LabCa, tmp_path: Path) -> Iterator[Desk]:
    """A base station as it leaves the factory."""
    assert ca.settings.directory is not None
    desk = desk_at(ca, ca.settings.directory / "root.pem", tmp_path / "state")
    device = ca.make_device("enb-4711")
    (tmp_path / "vendor.pem").write_bytes(device.pem)
    (tmp_path / "vendor.key").write_bytes(device.key.pem())
    (tmp_path / "vendor.key").chmod(0o600)
    vendor = VendorCertificateSettings(certificate=tmp_path / "vendor.pem", key=str(tmp_path / "vendor.key"))
    desk.configure(
        identity={"bootstrap": BootstrapSettings(vendor_certificate=vendor), "alternative_names": ()},
        profile=ProfileName.THREE_GPP,
    )
    yield desk
    ca.behave()


def root_pin(ca: LabCa) -> str:
    return hashlib.sha256(read(ca.pki.root.loaded).spki).hexdigest()


def request_of(desk: Desk) -> CertReqMessages:
    number = next(one["fields"]["CMP_TRANSACTION_ID"] for one in desk.told if one["event"] == "sent")
    recorded = next(one for one in desk.ca.record().transactions if one.id.hex() == number)
    body = messages.parse(recorded.messages[0].octets).body()
    assert isinstance(body, CertReqMessages)
    return body


def test_strict_3gpp_asks_for_no_name_and_says_whose_certificate_signs(station: Desk) -> None:
    station.configure(
        identity={"subject_pattern": r"CN=enb-4711\.ran\.example,O=Operator"}, profile=ProfileName.THREE_GPP_STRICT
    )
    assert station.do(secret=None).verdict is Verdict.ISSUED
    (one,) = request_of(station).requests
    assert one.request.template.subject is None
    assert isinstance(one.possession, PopSignature)
    assert one.possession.input is not None
    assert names.name_from_text("CN=enb-4711,O=Vendor") in one.possession.input
    assert station.current is not None
    assert load(station.current.certificate).subject.rfc4514_string() == "CN=enb-4711.ran.example,O=Operator"
    # A key update keeps the name the operator gave.
    assert station.do(Action.RENEW, secret=None).verdict is Verdict.ISSUED


def test_strict_3gpp_takes_no_other_name_than_the_one_expected(station: Desk) -> None:
    station.configure(profile=ProfileName.THREE_GPP_STRICT)
    outcome = station.do(secret=None)
    assert outcome.verdict is Verdict.REFUSED
    assert "enb-4711.ran.example" in outcome.text


def test_a_root_taken_on_trust_is_kept_and_told_loudly_and_only_once(ca: LabCa, station: Desk) -> None:
    station.configure(trust_anchors=None, enrollment_anchors=ON_TRUST)
    assert station.do(secret=None).verdict is Verdict.ISSUED
    assert station.events.count("root-taken-on-trust") == 1
    assert root_pin(ca) in station.texts
    assert station.current is not None
    assert station.current.trust_anchors == (ca.pki.root.certificate,)
    # From now on it is as if the root had been configured.
    assert station.do(Action.RENEW, secret=None).verdict is Verdict.ISSUED
    assert "root-taken-on-trust" not in station.events


def test_once_learned_no_other_root_is_taken(ca: LabCa, station: Desk) -> None:
    station.configure(trust_anchors=None, enrollment_anchors=ON_TRUST)
    assert station.do(secret=None).verdict is Verdict.ISSUED
    before = station.credential()
    other = LabCa(replace(ca.settings, directory=None, vendor_roots=()))
    with running(other):
        station.configure(urls=(other.url,))
        other.pki = replace(other.pki, vendor_root=ca.pki.vendor_root)
        outcome = station.do(secret=None, again=True)
    other.close()
    assert outcome.verdict in {Verdict.REFUSED, Verdict.REJECTED}
    assert station.credential() == before


def test_a_pinned_root_is_learned_quietly_and_any_other_refused(ca: LabCa, station: Desk) -> None:
    wrong = EnrollmentAnchorsSettings(source=AnchorSource.EXTRA_CERTS, root_pins=("ab" * 32,))
    station.configure(trust_anchors=None, enrollment_anchors=wrong)
    assert station.do(secret=None).verdict is Verdict.REFUSED
    assert not station.enrolled()
    station.configure(enrollment_anchors=replace(wrong, root_pins=(root_pin(ca),)))
    assert station.do(secret=None).verdict is Verdict.ISSUED
    assert "root-learned" in station.events
    assert "root-taken-on-trust" not in station.events


def test_a_pin_of_another_key_keeps_even_an_ra_of_the_operator_out(ca: LabCa, station: Desk) -> None:
    ra = hashlib.sha256(read(ca.pki.ra.loaded).spki).hexdigest()
    station.configure(pins=("ab" * 32,))
    outcome = station.do(secret=None)
    assert outcome.verdict is Verdict.REFUSED
    assert ra in outcome.text
    station.configure(pins=(ra,))
    assert station.do(secret=None).verdict is Verdict.ISSUED
    assert station.current is not None
    assert isinstance(x509.load_der_x509_certificate(station.current.certificate), x509.Certificate)
