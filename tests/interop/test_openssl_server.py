"""Our agent, as the installed command, against ``openssl cmp -port``: a CMP server we did not write.

It hands out one fixed certificate, so the station names that certificate's key as ``existing``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

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


@pytest.mark.parametrize(
    ("key", "request_type"), [("rsa-2048", "ir"), ("ec-p384", "cr"), ("ec-p521", "p10cr"), ("ed25519", "p10cr")]
)
def test_every_kind_of_key_and_request(
    openssl_server: OpensslServer, pki: Pki, tmp_path: Path, key: str, request_type: str
) -> None:
    station = pki.station(tmp_path, key=key, request=request_type)
    station.configure(urls=[openssl_server.start(key=key)])
    done = station.run("enroll", "ike")
    assert done.code == 0, done.err
    assert f"sending {request_type}\n" in done.err
    installed(station, pki, key)


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
