"""Packets that come before charon can read them: which are kept, and what is sent again. The kernel's own filter."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.deploy import early

KNOWN = frozenset({0x1000_0001, 0xFFFF_FFFE})


def packet(
    spi: int, *, protocol: int = 17, port: int = 4500, fragment: int = 0, options: int = 0, payload: bytes = b"\1\2\3\4"
) -> bytes:
    """An IPv4 packet with UDP and ESP in it, or what looks like it."""
    length = 20 + options * 4
    header = struct.pack(
        ">BBHHHBBH4s4s", 0x40 | length // 4, 0, 0, 7, fragment, 64, protocol, 0, b"\x0a\1\1\2", b"\x0a\1\1\1"
    )
    return header + bytes(options * 4) + struct.pack(">HHHHI", 4500, port, 0, 0xABCD, spi) + payload


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends; what the second one hears has passed the filter."""
    sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with sender, receiver:
        early.attach(receiver, early.filter_program(KNOWN))
        receiver.settimeout(0)
        yield sender, receiver


def passes(pair: tuple[socket.socket, socket.socket], octets: bytes) -> bool:
    """Whether the kernel lets it through, and whole."""
    sender, receiver = pair
    sender.send(octets)
    try:
        heard = receiver.recv(0xFFFF)
    except BlockingIOError:
        return False
    assert heard == octets
    return True


@given(
    spi=st.sampled_from([0, 1, 0x1000_0000, *KNOWN, 0xFFFF_FFFF]) | st.integers(0, 0xFFFF_FFFF),
    options=st.integers(0, 10),
    protocol=st.sampled_from([17, 17, 17, 6, 50]),
    port=st.sampled_from([4500, 4500, 4500, 500, 4501]),
    fragment=st.sampled_from([0, 0, 0x4000, 0x2000, 1]),
)
def test_the_kernel_gives_whole_esp_in_udp_with_an_unknown_spi_and_nothing_else(
    pair: tuple[socket.socket, socket.socket], spi: int, options: int, protocol: int, port: int, fragment: int
) -> None:
    octets = packet(spi, protocol=protocol, port=port, fragment=fragment, options=options)
    wanted = protocol == 17 and port == 4500 and not fragment & 0x3FFF and spi not in {0, *KNOWN}
    assert passes(pair, octets) is wanted
    assert early.spi_of(octets) == spi


@given(st.binary(max_size=80))
def test_no_octets_upset_the_filter_or_what_is_read_from_them(
    pair: tuple[socket.socket, socket.socket], octets: bytes
) -> None:
    if passes(pair, octets):
        assert early.spi_of(octets) not in {0, *KNOWN}


def test_a_thousand_known_spis_fit() -> None:
    """The kernel takes no longer program; of more SAs than that the packets are copied for nothing."""
    sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with sender, receiver:
        early.attach(receiver, early.filter_program(frozenset(range(1, 1500))))
        receiver.settimeout(0)
        assert [spi for spi in (1, 1000, 1001, 1499) if passes((sender, receiver), packet(spi))] == [1001, 1499]


def test_a_packet_is_sent_again_without_its_checksum_which_a_card_may_have_been_left_to_finish() -> None:
    octets = packet(7, options=3)
    again = early.without_checksum(octets)
    assert len(again) == len(octets)
    assert again[38:40] == b"\0\0"
    assert again[:38] + again[40:] == octets[:38] + octets[40:]


def run(*arguments: str, prefix: tuple[str, ...] = ()) -> tuple[int, str]:
    done = subprocess.run(
        [*prefix, sys.executable, "-I", "-m", "agent.deploy.early", *arguments],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr


def test_without_the_right_it_says_which(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "vici"))
        # Who is not root has it not anyway.
        prefix = () if os.geteuid() else ("setpriv", "--bounding-set=-net_raw")
        code, said = run("--vici", str(tmp_path / "vici"), prefix=prefix)
    assert code == 1
    assert "CAP_NET_RAW" in said
