from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from agent.cmp import crmf, der, names
from agent.cmp.bodies import General
from agent.cmp.messages import BodyType, Info, InfoTypeAndValue
from agent.labca import LabCa, LabCaSettings, encoding
from tests.unit.labca.entity import NOW, Entity, failures_in, lab

if TYPE_CHECKING:
    from pathlib import Path


def ask(ca: LabCa, kind: str, value: bytes | None = None) -> InfoTypeAndValue:
    """Return what the CA answers to one question."""
    entity = Entity(ca)
    got = entity.ask(General(BodyType.GENM, (InfoTypeAndValue(kind, value),)))
    body = got.body()
    assert isinstance(body, General)
    assert body.type is BodyType.GENP
    assert len(body.infos) == 1
    return body.infos[0]


def members(value: bytes | None) -> list[bytes]:
    assert value is not None
    return [value[one.start : one.end] for one in der.children(value)]


def test_ca_certificates_are_those_below_the_root() -> None:
    ca = lab()
    assert members(ask(ca, Info.CA_CERTS).value) == [ca.pki.issuing.certificate]
    assert ask(lab(intermediate=False), Info.CA_CERTS) == InfoTypeAndValue(Info.CA_CERTS)


def test_a_root_update_is_offered_when_one_is_prepared() -> None:
    ca = lab()
    assert ask(ca, Info.ROOT_CA_CERT, ca.pki.root.certificate) == InfoTypeAndValue(Info.ROOT_CA_KEY_UPDATE)
    update = ca.prepare_root_update(NOW)
    for asked in (None, ca.pki.root.certificate):
        got = ask(ca, Info.ROOT_CA_CERT, asked)
        assert got.type == Info.ROOT_CA_KEY_UPDATE
        new, new_with_old, old_with_new = members(got.value)
        assert new == update.new.certificate
        assert new_with_old == der.wrap(0xA0, update.new_with_old)
        assert old_with_new == der.wrap(0xA1, update.old_with_new)
    assert ask(ca, Info.ROOT_CA_CERT, update.new.certificate).value is None


def test_a_prepared_root_update_is_still_offered_after_a_restart(tmp_path: Path) -> None:
    settings = LabCaSettings(directory=tmp_path, secrets={"enb-4711": "one-time"})
    first = LabCa(settings, now=NOW)
    content = first.prepare_root_update(NOW).content()
    first.close()
    again = LabCa(settings, now=NOW)
    assert ask(again, Info.ROOT_CA_CERT).value == content
    again.close()


def test_a_request_template_names_fields_and_keys() -> None:
    template, keys = members(ask(lab(), Info.CERT_REQ_TEMPLATE).value)
    wanted = crmf.decode_template(template)
    assert wanted.subject == names.EMPTY
    assert wanted.public_key is None
    assert [one.oid for one in encoding.read_extensions(wanted.extensions or b"")] == ["2.5.29.15"]
    assert len(der.children(keys)) == 3


def test_the_current_crl_is_given() -> None:
    ca = lab()
    got = ask(ca, Info.CURRENT_CRL)
    assert got.value is not None
    assert x509.load_der_x509_crl(got.value).is_signature_valid(ca.pki.issuing.loaded.public_key())  # type: ignore[arg-type]


def test_a_crl_is_given_only_to_whoever_has_an_older_one() -> None:
    ca = lab()
    issuer = der.wrap(0xA1, der.wrap(der.SEQUENCE, names.directory_name(ca.pki.issuing.subject)))
    stranger = der.wrap(0xA1, der.wrap(der.SEQUENCE, names.directory_name(names.common_name("Another CA"))))
    point = der.wrap(0xA0, der.wrap(0xA0, der.wrap(0x86, b"http://127.0.0.1/crl")))
    older, present = (encoding.time(NOW - timedelta(days=age)) for age in (1, 0))
    for status, given in (
        ((issuer,), True),
        ((point,), True),
        ((issuer, older), True),
        ((point, older), True),
        ((issuer, present), False),
        ((stranger,), False),
    ):
        value = der.wrap(der.SEQUENCE, der.wrap(der.SEQUENCE, *status))
        got = ask(ca, Info.CRL_STATUS_LIST, value)
        assert got.type == Info.CRLS
        assert (got.value is not None) is given
        if given:
            assert members(got.value) == [ca.crl(NOW)]


@pytest.mark.parametrize(
    ("value", "failure"),
    [(None, "badDataFormat"), (b"\x30\x00", "badRequest"), (b"\x30\x04\x30\x02\x05\x00", "badDataFormat")],
)
def test_a_faulty_question_about_crls_is_refused(value: bytes | None, failure: str) -> None:
    entity = Entity(lab())
    got = entity.ask(General(BodyType.GENM, (InfoTypeAndValue(Info.CRL_STATUS_LIST, value),)))
    assert got.type is BodyType.ERROR
    assert failures_in(got) == (failure,)


def test_key_types_are_listed() -> None:
    assert len(members(ask(lab(), "1.3.6.1.5.5.7.4.2").value)) == 3


def test_an_unknown_question_is_named_as_unsupported() -> None:
    got = ask(lab(), "1.3.6.1.5.5.7.4.99")
    assert got.type == "1.3.6.1.5.5.7.4.7"
    assert members(got.value) == [encoding.oid("1.3.6.1.5.5.7.4.99")]


def test_no_question_gets_no_answer_and_two_are_refused() -> None:
    entity = Entity(lab())
    assert entity.ask(General(BodyType.GENM, ())).body() == General(BodyType.GENP, ())
    entity.begin()
    two = (InfoTypeAndValue(Info.CA_CERTS), InfoTypeAndValue(Info.CURRENT_CRL))
    assert failures_in(entity.ask(General(BodyType.GENM, two))) == ("badRequest",)
