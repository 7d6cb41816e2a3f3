"""Two real strongSwan daemons in two namespaces, both enrolled by the agent: the tunnel takes up every new certificate.

What is asserted is what charon and its peer say, never what the agent says of itself.
"""

from __future__ import annotations

import grp
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.deploy import material
from agent.deploy.directory import Directory
from agent.deploy.strongswan import Strongswan
from agent.deploy.target import Change, Hands
from agent.errors import AgentError
from agent.labca import LabCa, LabCaSettings, running
from agent.settings import DirectoryTarget, StrongswanTarget
from tests.station import until
from tests.system.ike_lab import IkeLab, ike_lab
from tests.system.renewing import demand_all, key_id, renew_three_times_and_lose_nothing
from tests.system.sites import SECRETS, Site, as_root, by_vendor, know, site

pytestmark = as_root


@contextmanager
def ca_in(directory: Path) -> Iterator[LabCa]:
    ca = LabCa(LabCaSettings(directory=directory, secrets=SECRETS, durable=False))
    with running(ca):
        yield ca
    ca.close()


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabCa]:
    with ca_in(tmp_path_factory.mktemp("ca")) as made:
        yield made


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IkeLab]:
    with ike_lab(tmp_path_factory.mktemp("ike")) as made:
        yield made


@pytest.fixture(scope="module")
def ends(lab: IkeLab, ca: LabCa, tmp_path_factory: pytest.TempPathFactory) -> tuple[Site, Site]:
    """Give the eNodeB and the gateway, enrolled, with the tunnel up."""
    place = tmp_path_factory.mktemp("ends")
    seg = site(place / "seg", ca, "seg1.core.example", lab.seg, to_charon(lab.seg.socket, "enbs"))
    by_vendor(seg, ca)
    enb = site(place / "enb", ca, "enb1.ran.example", lab.enb, to_charon(lab.enb.socket, "gw"))
    seg.good("enroll")
    enb.good("enroll")
    return enb, seg


def to_charon(socket: Path, *connections: str) -> list[dict[str, object]]:
    return [{"strongswan": {"vici": str(socket), "connections": list(connections), "timeout": "20s"}}]


def test_a_first_enrollment_brings_the_tunnel_up(lab: IkeLab, ends: tuple[Site, Site]) -> None:
    """The gateway enrolled with its vendor's certificate, the eNodeB with the one-time secret."""
    enb, seg = ends
    assert len(lab.enb.established()) == len(lab.seg.established()) == 1
    assert lab.reaches()
    assert enb.serial in lab.seg.serials()
    assert seg.serial in lab.enb.serials()
    assert {enb.status()["state"], seg.status()["state"]} == {"valid"}


def test_no_packet_is_lost_while_both_ends_renew_three_times(
    lab: IkeLab, ends: tuple[Site, Site], capsys: pytest.CaptureFixture[str]
) -> None:
    renew_three_times_and_lose_nothing(lab, *ends, capsys)


def test_a_gateway_can_re_authenticate_its_tunnels_itself(lab: IkeLab, ends: tuple[Site, Site]) -> None:
    _, seg = ends
    before = lab.seg.established()
    seg.good("renew")
    assert seg.serial in lab.enb.serials()
    until(lambda: len(lab.seg.established()) == 1)
    assert lab.seg.established() != before
    assert lab.seg.keys() == [key_id(seg)]
    assert "enbs was authenticated anew" in seg.record.targets[f"strongswan {lab.seg.socket}"].proof


def test_ends_that_authenticate_the_tunnel_at_the_same_moment_may_double_it_and_the_next_renewal_makes_it_one(
    lab: IkeLab, ends: tuple[Site, Site], capsys: pytest.CaptureFixture[str]
) -> None:
    watching = (lab.enb.catching_what_comes_early(), lab.seg.catching_what_comes_early())
    with watching[0], watching[1], lab.streams() as counted, ThreadPoolExecutor() as both:
        for _ in range(3):
            list(both.map(lambda one: one.good("renew"), ends))
            for one, peer in (ends, ends[::-1]):
                assert one.serial in peer.charon.serials()
                assert one.charon.keys() == [key_id(one)]
        until(lambda: 1 <= len(lab.enb.established()) <= 2)
        ends[0].good("renew")
        until(lambda: len(lab.enb.established()) == len(lab.seg.established()) == 1)
        assert ends[0].serial in lab.seg.serials()
    demand_all(counted, "both ends at the same moment, 3 times", capsys)


def test_charon_that_was_killed_gets_the_credential_again(lab: IkeLab, ends: tuple[Site, Site]) -> None:
    enb, _ = ends
    lab.enb.kill()
    missing = enb.run("deploy")
    assert missing.code == 1
    assert "charon cannot be spoken to" in missing.problem
    assert "systemctl start strongswan" in missing.remedy
    lab.enb.start()
    assert not lab.enb.keys()
    enb.good("deploy")
    assert len(lab.enb.keys()) == 1
    assert len(lab.enb.established()) == 1
    assert lab.reaches()


def test_what_an_administrator_unloads_is_noticed_and_given_back_without_disturbing_the_tunnel(
    lab: IkeLab, ends: tuple[Site, Site]
) -> None:
    enb, _ = ends
    before = lab.enb.established()
    with lab.enb.session() as session:
        session.clear_creds()
    enb.good("deploy")
    assert len(lab.enb.keys()) == 1
    assert lab.enb.established() == before
    assert "restored" not in enb.record.targets[f"strongswan {lab.enb.socket}"].proof


def test_a_gateway_that_does_not_trust_the_new_issuer_keeps_the_tunnel_and_gets_the_old_certificate_back(
    lab: IkeLab, ends: tuple[Site, Site], ca: LabCa, tmp_path: Path
) -> None:
    enb, _ = ends
    good, keys = enb.serial, lab.enb.keys()
    with ca_in(tmp_path / "other") as other:
        know(enb, other)
        with lab.streams() as counted:
            refused = enb.run("enroll", "--again")
        assert all(sent == arrived for sent, arrived in counted.values()), counted
        assert refused.code == 1
        assert "AUTHENTICATION_FAILED" in refused.problem
        assert "trusts the issuer of the new certificate" in refused.remedy
        assert enb.serial == good
        assert lab.enb.keys() == keys
        assert len(lab.enb.established()) == 1
        seen = enb.status()
        assert seen["state"] == "deploying"
        assert "AUTHENTICATION_FAILED" in seen["last-error"]
        assert seen["held-back"] == seen["generation"] + 1

        # A new tunnel, as after an outage, comes up with the old certificate.
        lab.enb.swanctl("--rekey", "--ike", "gw", "--reauth")
        until(lambda: len(lab.enb.established()) == 1 and good in lab.seg.serials())

        # As soon as the gateway trusts the issuer, the certificate that was held back comes into use.
        assert other.settings.directory is not None
        lab.seg.trust((other.settings.directory / "root.pem").read_bytes())
        enb.good("deploy")
        assert enb.serial != good
        assert enb.serial in lab.seg.serials()
        assert enb.status()["state"] == "valid"

    # And back by hand, everywhere.
    enb.good("rollback")
    assert enb.serial == good
    assert len(lab.enb.keys()) == 1
    assert lab.enb.keys() == keys
    know(enb, ca)


def test_another_key_for_the_same_name_in_charon_is_no_proof(
    lab: IkeLab, ends: tuple[Site, Site], ca: LabCa, tmp_path: Path
) -> None:
    """With two keys for one identity nobody can tell which one a tunnel was authenticated with."""
    enb, _ = ends
    stranger = site(tmp_path / "stranger", ca, "enb1.ran.example", None, [])
    stranger.good("enroll")
    key = stranger.current.private_key
    assert key is not None
    with lab.enb.session() as session:
        session.load_cert({"type": "X509", "flag": "NONE", "data": stranger.current.certificate})
        loaded = session.load_key({"type": "any", "data": key.read_bytes()})
    before, serial = lab.enb.established(), enb.serial
    refused = enb.run("renew")
    assert refused.code == 1
    assert "another key and certificate for the same name" in refused.problem
    assert "swanctl" in refused.remedy
    assert lab.enb.established() == before
    assert enb.serial == serial
    with lab.enb.session() as session:
        session.unload_key({"id": loaded["id"].decode()})
    enb.good("deploy")
    assert enb.serial in lab.seg.serials()


def test_a_gateway_that_does_not_answer_proves_nothing_and_costs_nothing(lab: IkeLab, ends: tuple[Site, Site]) -> None:
    enb, seg = ends
    enb.good("deploy")
    keys, before = lab.enb.keys(), enb.current.number
    lab.seg.kill()
    silent = enb.run("renew")
    assert silent.code == 1
    assert "no tunnel of gw came up with the new certificate" in silent.problem
    assert "whether the peer can be reached" in silent.remedy
    assert lab.enb.keys() == keys, "what charon had is what it has"
    assert enb.current.number == before + 1, "silence is no reason to go back"
    assert enb.status()["state"] == "deploying"
    lab.seg.start()
    seg.good("deploy")
    enb.good("deploy")
    assert lab.enb.keys() == [key_id(enb)]
    assert enb.serial in lab.seg.serials()
    assert enb.status()["state"] == "valid"
    assert lab.reaches()


def test_a_connection_that_charon_does_not_know_is_named_with_those_it_does(
    lab: IkeLab, ends: tuple[Site, Site]
) -> None:
    enb, _ = ends
    enb.identity["deploy"] = to_charon(lab.enb.socket, "backhaul")
    enb.configure()
    enb.run("renew")
    unknown = enb.run("deploy")
    assert unknown.code == 1
    assert "charon knows no connection backhaul; it knows gw" in unknown.problem
    enb.identity["deploy"] = to_charon(lab.enb.socket, "gw")
    enb.configure()
    enb.good("deploy")


def test_a_charon_that_breaks_before_it_makes_is_told_of_and_its_tunnel_comes_back_after_a_refusal(
    ca: LabCa, tmp_path: Path
) -> None:
    """That is how strongSwan before 6.0 behaves unless it is told otherwise."""
    with ike_lab(tmp_path / "ike", make_before_break=False) as lab, ca_in(tmp_path / "other") as other:
        seg = site(tmp_path / "seg", ca, "seg1.core.example", lab.seg, to_charon(lab.seg.socket))
        enb = site(tmp_path / "enb", ca, "enb1.ran.example", lab.enb, to_charon(lab.enb.socket, "gw"))
        seg.good("enroll")
        enb.good("enroll")
        told = enb.good("renew")
        assert "set `make_before_break = yes`" in told.err
        assert lab.reaches()
        good = enb.serial
        know(enb, other)
        refused = enb.run("enroll", "--again")
        assert refused.code == 1
        assert enb.serial == good
        until(lab.enb.established)
        until(lab.reaches)


def test_a_user_without_rights_reaches_charon_and_the_directory_by_their_groups_alone(
    ca: LabCa, tmp_path: Path
) -> None:
    """What docs/deployment.md asks for is enough, and without it the remedy names it."""
    place = Path("/var/tmp") / f"enrolld-user-{os.getpid()}"  # noqa: S108 - nobody cannot enter tmp_path
    place.mkdir(mode=0o755)
    files = place / "tls"
    try:
        with ike_lab(tmp_path / "ike", extra="group = daemon") as lab:
            seg = site(tmp_path / "seg", ca, "seg1.core.example", lab.seg, to_charon(lab.seg.socket))
            enb = site(tmp_path / "enb", ca, "enb1.ran.example", lab.enb, [])
            seg.good("enroll")
            enb.good("enroll")
            socket = place / "charon.vici"
            lab.enb.socket.rename(socket)
            files.mkdir()
            os.chown(files, 0, grp.getgrnam("daemon").gr_gid)
            files.chmod(0o2770)
            hands = Hands(identity="ike", say=lambda _: None, read_secret=str.encode, read_pin=str.encode)
            change = Change(new=material.load(enb.current))
            charon = Strongswan(StrongswanTarget(vici=str(socket), connections=("gw",)), hands)
            directory = Directory(DirectoryTarget(path=files, group="daemon"), hands)

            assert "charon-systemd.group" in as_nobody(lambda: charon.deploy(change), member=False)
            assert "user nobody write to" in as_nobody(lambda: directory.deploy(change), member=False)
            assert "gw came up with it" in as_nobody(lambda: charon.deploy(change), member=True)
            assert lab.reaches()
            assert "5 files are in" in as_nobody(lambda: directory.deploy(change), member=True)
            assert (files / "private-key.pem").stat().st_gid == grp.getgrnam("daemon").gr_gid
    finally:
        shutil.rmtree(place)


def _forbidden(*_: object, **__: object) -> None:
    raise PermissionError(1, "Operation not permitted", "chown")


def as_nobody(deploy: Callable[[], str], *, member: bool) -> str:
    """Deploy in a process of user nobody without capabilities, perhaps in group daemon; give its answer or the remedy.

    It is forked, as nobody may not be able to reach this Python's files.
    """
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.setgroups([grp.getgrnam("daemon").gr_gid] if member else [])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        os.chown = os.fchown = _forbidden  # as the SystemCallFilter= of enrolld.service does
        try:
            said = deploy()
        except AgentError as error:
            said = error.remedy
        except BaseException as error:  # noqa: BLE001 - whatever it is, this process must not go on as pytest
            said = repr(error)
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        said = stream.read()
    os.waitpid(child, 0)
    return said


def test_certificates_of_one_key_are_taken_up_one_after_the_other_and_going_back_needs_a_person(
    ca: LabCa, tmp_path: Path
) -> None:
    """charon forgets no certificate while it runs, and offers the one that was loaded last."""
    with ike_lab(tmp_path / "ike") as lab:
        seg = site(tmp_path / "seg", ca, "seg1.core.example", lab.seg, to_charon(lab.seg.socket))
        enb = site(tmp_path / "enb", ca, "enb1.ran.example", lab.enb, to_charon(lab.enb.socket, "gw"))
        enb.identity["renewal"] = {"key": "same"}
        enb.configure()
        seg.good("enroll")
        enb.good("enroll")
        keys = lab.enb.keys()
        for _ in range(4):
            before = lab.enb.established()
            enb.good("renew")
            assert enb.serial in lab.seg.serials(), "the gateway was shown another certificate"
            until(lambda: len(lab.enb.established()) == 1)
            assert lab.enb.established() != before
            assert lab.enb.keys() == keys

        behind = enb.run("rollback")
        assert "because both have the same key" in behind.problem
        assert "swanctl --load-creds --clear" in behind.remedy
        assert lab.reaches()
        lab.enb.swanctl("--load-creds", "--clear", "--noprompt")
        enb.good("deploy")
        assert enb.status()["state"] == "valid"
        with lab.seg.session() as session:
            session.flush_certs({"type": "X509"})  # what it has been shown so far
        assert enb.serial not in lab.seg.serials()
        lab.enb.swanctl("--rekey", "--ike", "gw", "--reauth")
        until(lambda: enb.serial in lab.seg.serials())
