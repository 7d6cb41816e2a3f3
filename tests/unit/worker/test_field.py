"""What real servers do, each behaviour shown by a lab CA that is told to do it: borne, or borne only by quirk.

Every test names the servers it is about. Behaviour of the transfer (one write a message) has its tests in
``tests/unit/net``, and what OpenSSL and Bouncy Castle really do, in ``tests/interop``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.cmp import algorithms, asn1, by_schema, messages, schema
from agent.cmp.messages import BodyType, Info, Message
from agent.cmp.protection import MacParameters
from agent.contract import Action, Verdict
from agent.labca import LabCa, LabCaSettings, running
from agent.labca.records import CertificateStatus
from agent.labca.settings import Nonce, WaitingForm
from agent.settings import (
    BootstrapSettings,
    HashName,
    HmacName,
    MacAlgorithm,
    MacSettings,
    Quirk,
    RequestType,
    VendorCertificateSettings,
)
from agent.store import pem
from tests.unit.worker.desk import SECRET, Desk, desk_at

Server = Callable[..., Desk]


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Server]:
    """Give what makes an identity at a server with the given settings."""
    with ExitStack() as stack:

        def make(**settings: Any) -> Desk:
            known: dict[str, Any] = {
                "secrets": {"enb": SECRET.decode()},
                "directory": tmp_path / "ca",
                "durable": False,
            }
            ca = LabCa(LabCaSettings(**(known | settings)))
            stack.callback(ca.close)
            stack.enter_context(running(ca))
            return desk_at(ca, tmp_path / "ca" / "root.pem", tmp_path / "state")

        yield make


def by_vendor(desk: Desk, place: Path) -> Desk:
    device = desk.ca.make_device("enb-4711")
    (place / "vendor.pem").write_bytes(device.pem)
    (place / "vendor.key").write_bytes(device.key.pem())
    (place / "vendor.key").chmod(0o600)
    vendor = VendorCertificateSettings(certificate=place / "vendor.pem", key=str(place / "vendor.key"))
    desk.configure(identity={"bootstrap": BootstrapSettings(vendor_certificate=vendor)})
    return desk


def received(desk: Desk, kind: BodyType) -> list[Message]:
    """What the server received of one kind, oldest first."""
    return [messages.parse(one.octets) for one in desk.ca.record().messages if not one.sent and one.type is kind]


def mac_of(message: Message) -> Any:
    """The parameters of a PasswordBasedMac."""
    _, parameters = algorithms.parse_algorithm(message.header.protection_alg or b"")
    return by_schema.decode(parameters or b"", schema.PBMParameter())


# --- MAC-protected requests -------------------------------------------------------------------------------------------


def test_all_servers_the_mac_is_a_setting_and_its_default_suits_most(at: Server) -> None:
    """No PBM setting suits everybody: OWF SHA-256, HMAC-SHA256, 10,000 iterations and 16 octets of salt by default."""
    defaults = MacSettings()
    assert (defaults.algorithm, defaults.one_way_function, defaults.mac) == ("pbm", "sha256", "hmac-sha256")
    assert (defaults.iterations, defaults.salt_length) == (10_000, 16)
    desk = at()
    desk.configure(
        mac=MacSettings(one_way_function=HashName.SHA512, mac=HmacName.HMAC_SHA384, iterations=321, salt_length=9)
    )
    assert desk.do().verdict is Verdict.ISSUED
    used = mac_of(received(desk, BodyType.IR)[0])
    assert (int(used["iterationCount"]), len(bytes(used["salt"]))) == (321, 9)


@pytest.mark.parametrize(
    ("mac", "oid"),
    [
        pytest.param(HmacName.HMAC_SHA1_IETF, "1.3.6.1.5.5.8.1.2", id="Trustpoint"),
        pytest.param(HmacName.HMAC_SHA1, "1.2.840.113549.2.7", id="XiPKI"),
        pytest.param(HmacName.HMAC_SHA256, "1.2.840.113549.2.9", id="XiPKI with SHA-2"),
    ],
)
@pytest.mark.parametrize("one_way_function", [HashName.SHA256, HashName.SHA512])
def test_trustpoint_and_xipki_the_object_identifier_of_the_mac_is_chosen(
    at: Server, mac: HmacName, oid: str, one_way_function: HashName
) -> None:
    desk = at()
    desk.configure(mac=MacSettings(mac=mac, one_way_function=one_way_function, iterations=1000))
    assert desk.do().verdict is Verdict.ISSUED
    assert algorithms.parse_algorithm(asn1.whole(mac_of(received(desk, BodyType.IR)[0])["mac"]) or b"")[0] == oid


@pytest.mark.parametrize("failure", ["badAlg", "badMessageCheck"])
def test_xipki_an_unprotected_error_for_a_refused_mac_is_shown_and_decides_nothing(at: Server, failure: str) -> None:
    desk = at()
    desk.ca.misbehave(f"unprotected-error={failure}")
    outcome = desk.do()
    assert outcome.verdict in {Verdict.REFUSED, Verdict.NEEDS_SECRET}
    assert failure in outcome.text
    assert "not protected" in outcome.text
    desk.ca.behave()
    assert desk.do().verdict is Verdict.ISSUED


@pytest.mark.parametrize("iterations", [500, 1024])
def test_openssl_answers_by_its_own_mac_parameters_are_verified(at: Server, iterations: int) -> None:
    """OpenSSL answers with HMAC-SHA1 and 500 iterations whatever it was asked with."""
    desk = at(mac=MacParameters(mac="hmac-sha1-ietf", iterations=iterations))
    assert desk.do().verdict is Verdict.ISSUED


def test_strict_servers_sender_and_sender_kid_are_equal(at: Server) -> None:
    desk = at(strict_sender=True)
    assert desk.do().verdict is Verdict.ISSUED


def test_xipki_and_ejbca_a_signed_answer_to_a_mac_needs_its_quirk(at: Server) -> None:
    desk = at(sign_mac_answers=True)
    outcome = desk.do()
    assert outcome.verdict is Verdict.REFUSED
    assert "signed-response-to-mac" in outcome.remedy
    desk.configure(quirks=(Quirk.SIGNED_RESPONSE_TO_MAC,))
    assert desk.do().verdict is Verdict.ISSUED
    assert "quirk signed-response-to-mac" in desk.texts


def test_ejbca_in_client_mode_a_secret_that_is_used_up_is_refused_with_what_to_ask_for(at: Server) -> None:
    desk = at(secrets={})
    desk.ca.add_secret("enb", SECRET, uses=1)
    assert desk.do().verdict is Verdict.ISSUED
    before = desk.credential()
    outcome = desk.do(again=True)
    assert outcome.verdict in {Verdict.REJECTED, Verdict.REFUSED}
    assert outcome.remedy
    assert desk.credential() == before


def test_openssl_has_no_pbmac1_so_nobody_gets_it_unasked(at: Server) -> None:
    desk = at()
    assert desk.do().verdict is Verdict.ISSUED
    assert algorithms.parse_algorithm(received(desk, BodyType.IR)[0].header.protection_alg or b"")[0] == (
        "1.2.840.113533.7.66.13"
    )
    desk.configure(mac=MacSettings(algorithm=MacAlgorithm.PBMAC1, iterations=1000))
    assert desk.do(again=True).verdict is Verdict.ISSUED


# --- answers ----------------------------------------------------------------------------------------------------------


def test_xipki_an_answer_without_sender_nonce_needs_its_quirk(at: Server) -> None:
    desk = at(sends_nonce=False)
    assert desk.do().verdict is Verdict.REFUSED
    desk.configure(quirks=(Quirk.MISSING_SENDER_NONCE,))
    assert desk.do().verdict is Verdict.ISSUED
    assert "quirk missing-sender-nonce" in desk.texts


@pytest.mark.parametrize("recipient", ["CN=Whoever is addressed,O=Operator", None])
def test_xipki_an_answer_that_repeats_the_recipient_as_sender_without_sender_kid_is_borne(
    at: Server, tmp_path: Path, recipient: str | None
) -> None:
    desk = by_vendor(at(names_signer=False), tmp_path)
    desk.configure(recipient=recipient)
    assert desk.do(secret=None).verdict is Verdict.ISSUED
    assert ("names whom we addressed as sender" in desk.texts) == (recipient is not None)
    # A key update addresses the issuer, and the RA signs.
    assert desk.do(Action.RENEW, secret=None).verdict is Verdict.ISSUED


def test_xipki_the_wait_for_certconf_is_named_and_messages_carry_the_time(at: Server) -> None:
    desk = at(confirm_wait=timedelta(seconds=300), clock_tolerance=timedelta(seconds=300))
    assert desk.do().verdict is Verdict.ISSUED
    (certificate,) = desk.ca.record().certificates
    assert certificate.status is CertificateStatus.CONFIRMED
    sent = received(desk, BodyType.IR)[0].header.message_time
    assert sent is not None
    assert abs(sent - datetime.now(UTC)) < timedelta(minutes=5)


@pytest.mark.parametrize("request_", [RequestType.IR, RequestType.CR, RequestType.P10CR])
def test_xipki_and_siemens_the_certificate_profile_goes_with_every_request(at: Server, request_: RequestType) -> None:
    desk = at(certificate_profiles=("gnb",))
    desk.configure(certificate_profile="gnb", identity={"request": request_})
    assert desk.do().verdict is Verdict.ISSUED
    assert desk.do(Action.RENEW).verdict is Verdict.ISSUED
    assert received(desk, BodyType.KUR)[0].header.info(Info.CERT_PROFILE) is not None
    assert desk.do(Action.REVOKE).verdict is Verdict.DONE
    assert received(desk, BodyType.RR)[0].header.info(Info.CERT_PROFILE) is not None


def test_nokia_insta_and_ejbca_the_request_number_0_after_p10cr_is_borne(at: Server) -> None:
    desk = at(p10cr_cert_req_id=0)
    desk.configure(identity={"request": RequestType.P10CR})
    assert desk.do().verdict is Verdict.ISSUED


def test_a_rejection_without_the_number_of_the_request_tells_a_person_why(at: Server) -> None:
    desk = at()
    desk.ca.misbehave("reject=notAuthorized")
    desk.ca.misbehave("wrong-cert-req-id=-1")
    outcome = desk.do()
    assert outcome.verdict is Verdict.REJECTED
    assert "notAuthorized" in outcome.text
    assert "refused by misbehaviour" in outcome.text
    assert "register or release this device" in outcome.remedy


def test_nokia_insta_and_siemens_certificates_that_came_once_need_not_come_again(at: Server, tmp_path: Path) -> None:
    desk = by_vendor(at(repeat_extra_certs=False, polls=1, check_after=1), tmp_path)
    assert desk.do(secret=None).verdict is Verdict.ISSUED


def test_nokia_and_insta_the_own_certificate_comes_along_first(at: Server, tmp_path: Path) -> None:
    desk = by_vendor(at(), tmp_path)
    assert desk.do(secret=None).verdict is Verdict.ISSUED
    (own,) = pem.decode((tmp_path / "vendor.pem").read_bytes())
    assert received(desk, BodyType.IR)[0].extra_certs[0] == own
    assert received(desk, BodyType.CERTCONF)[0].extra_certs[0] == own


def test_nokia_and_insta_an_answered_request_is_never_repeated_under_its_transaction_id(at: Server) -> None:
    """They answer a repeat with transactionIdInUse, and the certificate is lost: so a lost answer begins anew."""
    desk = at()
    desk.ca.misbehave("drop-after@ir*1")
    assert desk.do().verdict is Verdict.UNREACHABLE
    assert desk.do().verdict is Verdict.ISSUED
    first, second = received(desk, BodyType.IR)
    assert first.header.transaction_id != second.header.transaction_id


@pytest.mark.parametrize("on", ["ir", "certConf"])
def test_nokia_and_insta_503_with_html_is_waited_out(at: Server, on: str) -> None:
    """Their limit on requests counts certConf too."""
    desk = at()
    desk.ca.misbehave(f"retry-after=7@{on}*2")
    assert desk.do().verdict is Verdict.ISSUED
    assert desk.slept == [7.0, 7.0]


@pytest.mark.parametrize("nonce", Nonce)
def test_openssl_and_strict_servers_either_nonce_after_polling_is_taken(at: Server, nonce: Nonce) -> None:
    desk = at(polls=2, check_after=1, nonce_after_polling=nonce)
    assert desk.do().verdict is Verdict.ISSUED


@pytest.mark.parametrize("form", WaitingForm)
def test_openssl_and_siemens_every_answer_can_be_delayed(at: Server, form: WaitingForm) -> None:
    every = frozenset({BodyType.IR, BodyType.KUR, BodyType.CERTCONF, BodyType.RR, BodyType.GENM})
    desk = at(polls=1, check_after=1, delayed=every, waiting_form=form)
    assert desk.do().verdict is Verdict.ISSUED
    assert desk.do(Action.RENEW).verdict is Verdict.ISSUED
    assert desk.do(Action.REFRESH).verdict is Verdict.DONE
    assert desk.do(Action.REVOKE).verdict is Verdict.DONE
    # ir, kur and a certConf for each, two questions, rr: each is answered "not yet" once when polled for.
    assert len(received(desk, BodyType.POLLREQ)) == 2 * 7


def test_old_servers_an_error_in_version_1_shows_its_reason_and_is_not_trusted(at: Server) -> None:
    desk = at()
    desk.ca.misbehave("error-with-pvno-1=signerNotTrusted")
    for quirks in ((), (Quirk.ERROR_WITH_PVNO_1,)):
        desk.configure(quirks=quirks)
        outcome = desk.do()
        assert outcome.verdict is Verdict.REFUSED
        assert "signerNotTrusted" in outcome.text


def test_several_servers_http_500_with_a_good_message_counts(at: Server) -> None:
    desk = at()
    desk.ca.misbehave("status-with-answer=500")
    assert desk.do().verdict is Verdict.ISSUED


def test_openssls_mock_nothing_is_left_open_that_it_would_wait_for(at: Server) -> None:
    """An idle connection blocks it, and so does a client that goes away while polling: it is asked again."""
    desk = at(keep_alive=False, polls=3, check_after=1)
    assert desk.do(patience=0.0).verdict is Verdict.WAITING
    desk.late += 5
    assert desk.do().verdict is Verdict.ISSUED
    assert len({one.header.transaction_id for one in received(desk, BodyType.POLLREQ)}) == 1
    assert len(received(desk, BodyType.IR)) == 1
