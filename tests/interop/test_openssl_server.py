"""Our agent, as the installed command, against ``openssl cmp -port``: a CMP server we did not write.

It hands out one fixed certificate, so the station names that certificate's key as ``existing``.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from agent.cmp.bodies import General
from agent.cmp.certificates import load
from agent.cmp.events import Answered, Event
from agent.cmp.messages import Info
from agent.cmp.peer import PeerRules
from agent.cmp.protection import MacParameters
from agent.cmp.request import Inquiry, Originator, by_certificate, by_secret
from agent.cmp.transaction import Transaction
from agent.config import load as load_configuration
from agent.contract import Action, Job, Outcome, Verdict
from agent.net.http import CmpClient
from agent.settings import HttpSettings
from agent.worker.enrollment import perform
from agent.worker.reporting import Reporter
from hsm.software import SoftwareKeyStore
from tests.interop import record
from tests.interop.combinations import Combination, Course, Peer, of
from tests.station import REFERENCE, SECRET

if TYPE_CHECKING:
    from tests.interop.conftest import OpensslServer, Pki
    from tests.station import Station

VENDOR = {"vendor-certificate": {"certificate": "vendor.pem", "key": "vendor.key"}}


def installed(station: Station, pki: Pki, key: str = "ec-p256", *, number: int = 1) -> None:
    """Demand that the certificate is in use, whole, confirmed, and that nothing else is left on the disk."""
    current = station.current
    current.check()
    assert current.number == number
    assert current.confirmed
    assert current.certificate == pki.certificate(key)
    assert current.trust_anchors == (pki.certificate("root"),)
    assert current.private_key is None
    assert current.key_reference == (pki.directory / f"{key}.key").as_uri()


def nothing_installed(station: Station) -> None:
    assert station.store.current is None
    assert station.store.generations == ()


def test_an_enrollment_by_secret_with_explicit_confirmation(
    openssl_server: OpensslServer, pki: Pki, tmp_path: Path
) -> None:
    station = pki.station(tmp_path)
    station.configure(urls=[openssl_server.start()])
    done = station.run("enroll", "ike")
    assert done.code == 0, done.err
    assert done.out.startswith('ike: installed: "CN=enb-4711,O=Operator", serial ')
    assert done.out.count("\n") == 1
    steps = [line.split(" ", 2)[2] for line in done.err.splitlines()]
    assert [step for step in steps if step.startswith("sending")] == ["sending ir", "sending certConf"]
    installed(station, pki)

    again = station.run("enroll")
    assert again.code == 0
    assert again.out.startswith('ike: nothing to do: "CN=enb-4711,O=Operator" is valid until ')
    assert again.err == ""
    installed(station, pki)

    (seen,) = json.loads(station.run("status", "--json").out)
    assert (seen["state"], seen["generation"], seen["confirmed"], seen["usable"]) == ("valid", 1, True, True)
    assert seen["next-action"] == "renew"


def test_a_request_that_the_server_lets_wait(openssl_server: OpensslServer, pki: Pki, tmp_path: Path) -> None:
    station = pki.station(tmp_path)
    station.configure(urls=[openssl_server.start("-poll_count", "3", "-check_after", "1")], polling={"minimum": "0.1s"})
    done = station.run("enroll", "ike")
    assert done.code == 0, done.err
    assert done.err.count("sending pollReq") == 3
    assert done.err.count("the CA has not decided yet") == 3
    installed(station, pki)


def test_a_wait_that_is_longer_than_our_patience_leaves_the_request_open(
    openssl_server: OpensslServer, pki: Pki, tmp_path: Path
) -> None:
    """Going on with it is another matter: this server forgets a transaction when its connection ends."""
    station = pki.station(tmp_path)
    station.configure(urls=[openssl_server.start("-poll_count", "2", "-check_after", "9")], polling={"minimum": "0.1s"})
    left = station.run("enroll", "ike", "--wait", "2s")
    assert left.code == 3
    assert left.out == "ike: the CA has not decided yet; the request stays open\n"
    assert left.err.endswith(
        "enrollctl: what to do: Ask again in 9 seconds with 'enrollctl enroll ike'; nothing is lost.\n"
    )
    seen = station.run("status", "ike").out
    assert "state:        pending\n" in seen
    assert "next:         ask the CA again in " in seen


def test_implicit_confirmation_leaves_certconf_out(openssl_server: OpensslServer, pki: Pki, tmp_path: Path) -> None:
    station = pki.station(tmp_path)
    station.configure(urls=[openssl_server.start("-grant_implicitconf")], implicit_confirmation=True)
    done = station.run("enroll", "ike")
    assert done.code == 0, done.err
    assert "certConf" not in done.err
    installed(station, pki)


def test_a_rejection_is_told_in_words_with_its_remedy(openssl_server: OpensslServer, pki: Pki, tmp_path: Path) -> None:
    station = pki.station(tmp_path)
    url = openssl_server.start("-pkistatus", "2", "-failure", "19", "-statusstring", "not in our inventory")
    station.configure(urls=[url])
    done = station.run("enroll", "ike")
    assert done.code == 1
    assert done.out == ""
    assert "badCertTemplate (the CA refuses the requested contents" in done.problem
    assert 'it says: "not in our inventory"' in done.problem
    nothing_installed(station)
    assert not station.store.transaction.path.exists()


def test_a_rejection_for_now_leaves_the_key_for_the_next_request(
    openssl_server: OpensslServer, pki: Pki, tmp_path: Path
) -> None:
    station = pki.station(tmp_path)
    station.configure(urls=[openssl_server.start("-pkistatus", "2", "-failure", "24")])
    for _ in range(2):
        done = station.run("enroll", "ike")
        assert done.code == 1
        assert "systemUnavail (the CA is busy or switched off for now)" in done.problem
        assert "sending ir" in done.err
    nothing_installed(station)


def test_a_certificate_granted_with_changes_is_taken_when_it_is_what_we_wanted(
    openssl_server: OpensslServer, pki: Pki, tmp_path: Path
) -> None:
    station = pki.station(tmp_path)
    station.configure(urls=[openssl_server.start("-pkistatus", "1")])
    done = station.run("enroll", "ike")
    assert done.code == 0, done.err
    installed(station, pki)


def test_a_certificate_with_another_subject_is_refused(openssl_server: OpensslServer, pki: Pki, tmp_path: Path) -> None:
    station = pki.station(tmp_path, subject="CN=enb-4712,O=Operator")
    station.configure(urls=[openssl_server.start("-pkistatus", "1")])
    done = station.run("enroll", "ike")
    assert done.code == 1
    assert "refused" in done.problem
    assert "certConf (rejecting)" in done.err
    nothing_installed(station)


def test_a_certificate_for_another_key_is_refused(openssl_server: OpensslServer, pki: Pki, tmp_path: Path) -> None:
    station = pki.station(tmp_path, key="ec-p384")
    station.configure(urls=[openssl_server.start(key="ec-p256")])
    done = station.run("enroll", "ike")
    assert done.code == 1
    assert "key" in done.problem
    assert "certConf (rejecting)" in done.err
    nothing_installed(station)


def test_an_unprotected_error_is_shown_and_not_believed(
    openssl_server: OpensslServer, pki: Pki, tmp_path: Path
) -> None:
    station = pki.station(tmp_path)
    url = openssl_server.start("-send_unprotected", "-send_error", "-failure", "2", "-statusstring", "go away")
    station.configure(urls=[url])
    done = station.run("enroll", "ike")
    assert done.code == 1
    assert "is not protected" in done.problem
    assert "unproven" in done.problem
    assert "badRequest" in done.problem
    nothing_installed(station)
    # It said nothing that counts, so the key is kept for the next request.
    assert station.store.transaction.load_snapshot() is not None


def test_a_wrong_secret_calls_for_a_person(openssl_server: OpensslServer, pki: Pki, tmp_path: Path) -> None:
    station = pki.station(tmp_path)
    station.configure(urls=[openssl_server.start(secret="another secret")])
    done = station.run("enroll", "ike")
    assert done.code == 4
    assert done.out == ""
    assert done.problem
    assert "secret" in done.remedy
    nothing_installed(station)


def test_a_signed_answer_to_a_request_by_secret_is_refused(
    openssl_server: OpensslServer, pki: Pki, tmp_path: Path
) -> None:
    station = pki.station(tmp_path)
    by_ra = ("-srv_cert", "ra.pem", "-srv_key", "ra.key", "-accept_unprotected")
    station.configure(urls=[openssl_server.start(*by_ra, secret=None)])
    done = station.run("enroll", "ike")
    assert done.code == 1
    assert "by signature" in done.problem
    assert "signed-response-to-mac" in done.remedy
    nothing_installed(station)

    station.configure(quirks=["signed-response-to-mac"])
    borne = station.run("enroll", "ike")
    assert borne.code == 0, borne.err
    assert "quirk signed-response-to-mac" in borne.err
    installed(station, pki)


def vendor_station(pki: Pki, directory: Path) -> Station:
    bootstrap = {one: str(pki.directory / name) for one, name in VENDOR["vendor-certificate"].items()}
    return pki.station(directory, bootstrap={"vendor-certificate": bootstrap})


def test_an_enrollment_by_the_vendor_certificate(openssl_server: OpensslServer, pki: Pki, tmp_path: Path) -> None:
    station = vendor_station(pki, tmp_path)
    by_ra = ("-srv_cert", "ra.pem", "-srv_key", "ra.key", "-srv_trusted", "vendor-root.pem")
    station.configure(urls=[openssl_server.start(*by_ra, secret=None)])
    done = station.run("enroll", "ike")
    assert done.code == 0, done.err
    installed(station, pki)


def test_a_neighbour_with_a_certificate_under_the_same_root_may_not_answer(
    openssl_server: OpensslServer, pki: Pki, tmp_path: Path
) -> None:
    station = vendor_station(pki, tmp_path)
    by_neighbour = ("-srv_cert", "neighbour.pem", "-srv_key", "neighbour.key", "-srv_trusted", "vendor-root.pem")
    station.configure(urls=[openssl_server.start(*by_neighbour, secret=None)])
    done = station.run("enroll", "ike")
    assert done.code == 1
    assert "cmcRA" in done.problem + done.remedy
    nothing_installed(station)

    station.configure(sender="CN=enb-4712,O=Operator")
    named = station.run("enroll", "ike")
    assert named.code == 0, named.err
    installed(station, pki)


def test_a_key_update_that_brings_the_old_certificate_again_is_refused(
    openssl_server: OpensslServer, pki: Pki, tmp_path: Path
) -> None:
    """Its server takes a kur only if oldCertID names the very certificate that it hands out."""
    station = pki.station(tmp_path)
    by_ra = ("-srv_cert", "ra.pem", "-srv_key", "ra.key", "-srv_trusted", "root.pem")
    station.configure(urls=[openssl_server.start(*by_ra)])
    assert station.run("enroll", "ike").code == 0
    before = station.credential()
    (tmp_path / "secret").unlink()  # it is not needed any more
    done = station.run("renew", "ike")
    assert done.code == 1
    assert "sending kur\n" in done.err
    assert "the CA answered with the certificate we already have" in done.problem
    assert station.credential() == before
    installed(station, pki)


# ---- the table of combinations ---------------------------------------------------------------------------------------

SERVER: Final = {
    Course.POLLED: ("-poll_count", "1", "-check_after", "0"),
    Course.IMPLICIT: ("-grant_implicitconf",),
    Course.REJECTED: ("-pkistatus", "2", "-failure", "19"),
    Course.ERROR: ("-send_error", "-failure", "19"),
}
"""How the server is told to behave."""
SIGNS_WITH: Final = {"ed25519": "ec-p256", "ed448": "ec-p256"}
"""OpenSSL 3.0 verifies messages signed with these keys, but signs none itself: it insists on a digest."""
FIRST: Final = ("ir", "cr", "p10cr")


@pytest.mark.parametrize("one", of(Peer.OPENSSL_SERVER), ids=lambda one: one.id)
def test_combination(openssl_server: OpensslServer, pki: Pki, tmp_path: Path, one: Combination) -> None:
    signed = pki.ra(SIGNS_WITH.get(one.protection.kind, one.protection.kind) or "ec-p256")
    only_signed = not one.protection.by_mac and (one.operation in FIRST or one.operation == "genm")
    trusted = "vendor-root.pem" if only_signed else "root.pem"
    options = () if one.protection.by_mac else (*signed, "-srv_trusted", trusted)
    secret = None if only_signed else SECRET
    key = one.key or "ec-p256"
    url = openssl_server.start(*options, *SERVER.get(one.course, ()), key=key, secret=secret)
    if one.operation == "genm":
        asks(pki, url, one)
    else:
        enrolls(pki, pki.station(tmp_path, key=key), url, one)
    record.passed(one, record.openssl_version())


def asks(pki: Pki, url: str, one: Combination) -> None:
    event = answer_to(Inquiry(info_type=Info.CA_CERTS.value), originator(pki, one), pki, url)
    assert isinstance(event, Answered)
    assert isinstance(event.body, General)
    assert [info.type for info in event.body.infos] == [Info.CA_CERTS.value]


def originator(pki: Pki, one: Combination) -> Originator:
    if one.protection.by_mac:
        return by_secret(REFERENCE, SECRET.encode(), MacParameters(salt=os.urandom(16)))
    files = pki.device(one.protection.kind)["vendor-certificate"]
    key = SoftwareKeyStore(pki.directory).find(Path(files["key"]).as_uri())
    return by_certificate(key, pki.certificate(f"vendor-{one.protection.kind}"))


def answer_to(inquiry: Inquiry, by: Originator, pki: Pki, url: str) -> Event:
    now = datetime.now(UTC)
    rules = PeerRules(anchors=(load(pki.certificate("root")),))
    transaction = Transaction(inquiry, by, rules, random=os.urandom)
    with CmpClient([url], HttpSettings()) as client:
        return transaction.receive(client.exchange(transaction.send(now)).body, now)


def enrolls(pki: Pki, station: Station, url: str, one: Combination) -> None:
    """Go through ``one`` with the whole worker, in this process; certificates already there come by the secret."""
    authority: dict[str, Any] = {"urls": [url], "polling": {"minimum": "0.1s"}}
    if one.protection.by_mac:
        authority["mac"] = dict(one.protection.mac)
    if one.protection.scheme:
        authority["signature"] = one.protection.scheme
    if one.operation in FIRST:
        station.identity["request"] = one.operation
        if not one.protection.by_mac:
            station.identity["bootstrap"] = pki.device(one.protection.kind)
    station.configure(implicit_confirmation=one.course is Course.IMPLICIT, **authority)
    if one.operation in FIRST:
        ends(pki, station, one, *do(station, Action.ENROLL))
        return
    assert do(station, Action.ENROLL)[0].verdict is Verdict.ISSUED
    action = {"kur": Action.RENEW, "rr": Action.REVOKE}[one.operation]
    outcome, steps = do(station, action)
    assert f"sending {one.operation}" in steps
    if one.course is Course.REVOKED:
        assert outcome.verdict is Verdict.DONE, outcome
        return
    assert outcome.verdict is Verdict.REFUSED, outcome
    assert "the certificate we already have" in outcome.text
    installed(station, pki, one.key)


def ends(pki: Pki, station: Station, one: Combination, outcome: Outcome, steps: list[str]) -> None:
    """Demand the end that belongs to the course of ``one``."""
    assert f"sending {one.operation}" in steps
    if one.course in {Course.REJECTED, Course.ERROR}:
        assert outcome.verdict is Verdict.REJECTED, outcome
        assert ("badCertTemplate" if one.course is Course.REJECTED else "badRequest") in outcome.text
        nothing_installed(station)
        return
    assert outcome.verdict is Verdict.ISSUED, outcome
    assert ("sending certConf" in steps) is (one.course is not Course.IMPLICIT)
    assert ("sending pollReq" in steps) is (one.course is Course.POLLED)
    installed(station, pki, one.key)


def do(station: Station, action: Action) -> tuple[Outcome, list[str]]:
    """Do a job without starting processes, which takes most of the time of a test; return what was said as well."""
    settings = load_configuration(station.config)
    identity = settings.identities["ike"]
    job = Job(
        action=action,
        name="ike",
        identity=identity,
        authority=settings.authorities["operator"],
        state_directory=settings.state_directory,
        patience=20,
    )
    said = station.directory / "said"
    with said.open("wb") as steps:
        outcome = perform(job, SECRET.encode(), Reporter(steps.fileno(), {}))
    return outcome, [json.loads(line)["progress"]["text"] for line in said.read_text().splitlines()]
