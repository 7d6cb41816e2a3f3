"""Three key updates at each end of a tunnel, under a stream of a hundred packets a second each way."""

from __future__ import annotations

import sys

import pytest

from agent.deploy import material
from tests.station import until
from tests.system.ike_lab import IkeLab
from tests.system.sites import Site


def key_id(one: Site) -> str:
    """What charon calls the key of the certificate in use."""
    return material.load(one.current).key_id


def renew_three_times_and_lose_nothing(lab: IkeLab, enb: Site, seg: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """Each end re-authenticates the tunnel when it has a new certificate, and both watch for what comes too early."""
    seen: set[str] = set()
    watching = (lab.enb.catching_what_comes_early(), lab.seg.catching_what_comes_early())
    with watching[0], watching[1], lab.streams() as counted:
        for _ in range(3):
            for one, peer in ((seg, enb), (enb, seg)):
                before, old = one.charon.established(), key_id(one)
                one.good("renew")
                until(lambda: len(lab.enb.established()) == len(lab.seg.established()) == 1)
                assert one.charon.established() != before
                for end in (lab.enb, lab.seg):
                    (unique,) = end.established()
                    assert f"#{unique}, ESTABLISHED" in end.swanctl("--list-sas")
                # The tunnel was authenticated with it: the other end was shown this certificate.
                assert one.serial in peer.charon.serials()
                assert one.serial in one.charon.serials()
                assert peer.serial in one.charon.serials()
                assert one.charon.keys() == [key_id(one)] != [old], "an old key is still in charon"
                assert peer.charon.keys() == [key_id(peer)]
                seen.add(one.serial)
    assert len(seen) == 6
    demand_all(counted, "3 key updates each end", capsys)


def demand_all(counted: dict[str, tuple[int, int]], during: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Print how many packets were lost, and demand that none was."""
    with capsys.disabled():
        for name, (sent, arrived) in counted.items():
            sys.stdout.write(f"\n{name}: {sent} packets, 100 a second, {during}: {sent - arrived} lost\n")
    for name, (sent, arrived) in counted.items():
        assert sent > 300, name
        assert arrived == sent, name
