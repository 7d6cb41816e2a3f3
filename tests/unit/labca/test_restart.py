"""The CA is killed and started again at the worst moments; what it issued and promised must still hold."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

from agent.cmp.messages import BodyType
from agent.errors import ConfigurationError, StateError
from agent.labca import LabCa, LabCaSettings
from agent.labca.certificates import Credential
from agent.labca.records import CertificateStatus, TransactionState
from tests.unit.labca.entity import NOW, Entity, certificate_in, failures_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., LabCa]]:
    """Give a function that starts the CA of this directory, ending the one before without a word of warning."""
    running: list[LabCa] = []

    def start(**settings: Any) -> LabCa:
        while running:
            running.pop().close()
        values = {"directory": tmp_path / "ca", "secrets": {"enb-4711": "one-time"}, **settings}
        running.append(LabCa(LabCaSettings(**values), now=NOW))
        return running[-1]

    yield start
    while running:
        running.pop().close()


def test_a_transaction_goes_on_after_a_restart_at_every_step(start: Callable[..., LabCa]) -> None:
    entity = Entity(start(polls=1))
    entity.ask(entity.request())
    first = entity.nonce
    entity.ca = start(polls=1)
    entity.poll()
    entity.ca = start(polls=1)
    got = entity.poll()
    assert got.header.recip_nonce == first
    entity.ca = start()
    octets = entity.message(entity.confirm(certificate_in(got)))
    answer = entity.ca.answer(octets, NOW)
    entity.ca = start()
    assert entity.ca.answer(octets, NOW) == answer
    record = entity.ca.record()
    assert [one.state for one in record.transactions] == [TransactionState.CONFIRMED]
    assert [one.status for one in record.certificates] == [CertificateStatus.CONFIRMED]
    assert [(one.sent, one.type) for one in record.transactions[0].messages] == [
        (False, BodyType.IR),
        (True, BodyType.IP),
        (False, BodyType.POLLREQ),
        (True, BodyType.POLLREP),
        (False, BodyType.POLLREQ),
        (True, BodyType.IP),
        (False, BodyType.CERTCONF),
        (True, BodyType.PKICONF),
        (False, BodyType.CERTCONF),
        (True, BodyType.PKICONF),
    ]


def test_an_old_certificate_is_known_and_renewed_after_a_restart(start: Callable[..., LabCa]) -> None:
    entity = Entity(start())
    old = entity.enroll()
    renewing = Entity(start(), Credential(old, entity.key))
    assert renewing.enroll(BodyType.KUR) != old


def test_secrets_and_their_uses_outlive_a_restart(start: Callable[..., LabCa]) -> None:
    ca = start(secrets={})
    ca.add_secret("enb-4711", "one-time", uses=1)
    Entity(ca).enroll()
    entity = Entity(start(secrets={}))
    assert failures_in(entity.ask(entity.request())) == ("notAuthorized",)


def test_numbers_of_crls_never_go_back(start: Callable[..., LabCa]) -> None:
    numbers = []
    for _ in range(3):
        crl = x509.load_der_x509_crl(start().crl(NOW))
        numbers.append(crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number)
    assert numbers == [1, 2, 3]


def test_an_exchange_that_fails_half_way_leaves_nothing_behind(
    start: Callable[..., LabCa], monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = start()
    entity = Entity(ca)

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(ca._database, "save", full)
        with pytest.raises(sqlite3.OperationalError):
            entity.ask(entity.request())
    record = ca.record()
    assert (record.transactions, record.certificates, record.messages) == ((), (), ())
    assert certificate_in(entity.ask(entity.request()))


def test_a_file_that_is_no_database_is_named_with_a_remedy(start: Callable[..., LabCa], tmp_path: Path) -> None:
    start()
    ca = start()
    ca.close()
    for path in (tmp_path / "ca").glob("labca.sqlite*"):
        path.write_bytes(b"this is no database, however long it is" * 100)
    with pytest.raises(StateError, match=r"labca\.sqlite") as caught:
        start()
    assert caught.value.remedy


def test_a_vendor_root_that_is_no_certificate_is_named(start: Callable[..., LabCa], tmp_path: Path) -> None:
    (tmp_path / "vendor.pem").write_bytes(b"nothing")
    with pytest.raises(ConfigurationError, match=r"vendor\.pem"):
        start(vendor_roots=(tmp_path / "vendor.pem",))


def test_an_operator_can_ask_for_a_secret_and_gets_the_same_one_again(start: Callable[..., LabCa]) -> None:
    made = start().secret("lab")
    assert len(made) >= 20
    assert start().secret("lab") == made
    assert start().secret("enb-4711") == "one-time"


def test_settings_can_change_between_starts(start: Callable[..., LabCa]) -> None:
    entity = Entity(start())
    entity.enroll()
    ca = start(validity=timedelta(hours=1))
    assert replace(ca.settings, directory=None).validity == timedelta(hours=1)
    entity = Entity(ca)
    entity.enroll()
    assert len(ca.record().certificates) == 2
