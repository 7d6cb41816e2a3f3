"""``python -I -m agent.deploy.early``: give charon once more the ESP packets that came before it could read them.

Whoever asks for a new CHILD SA can send on it at once: its peer has installed it before it answers. The peer may send
on it before the answer has arrived (RFC 7296 section 2.8), and strongSwan as a responder does, except when a CHILD SA
is rekeyed. What it sends until the answer is here and has been checked, which takes milliseconds, has an SPI that
nobody knows yet, and is dropped.

This program keeps a copy of packets with unknown SPIs, and sends them to this machine itself as soon as charon reports
the SA. Only a copy: nothing is held up, filtered or left behind. What charon could read the first time it drops the
second time, by the replay protection of ESP (RFC 4303 section 3.4.3); that is why nothing has to be timed well.

For ESP in UDP (RFC 3948) over IPv4, unfragmented. It runs in the network namespace of the charon that asks for the SA,
with CAP_NET_RAW and access to vici. It has no key and opens no port.
"""

from __future__ import annotations

import argparse
import ctypes
import socket
import struct
import sys
import time
from collections import deque
from typing import Final

from agent.deploy.charon import Charon
from agent.errors import AgentError

_ETH_P_IP: Final = 0x0800
_SO_ATTACH_FILTER: Final = 26
_STEP: Final = "HBBI"
"""One instruction of the kernel's: operation, jump if true, jump if false, operand."""
_PACKET_OUTGOING: Final = 4
_PORT: Final = 4500
"""Of IKE and ESP in UDP (RFC 3948 section 2)."""
_MOST_SPIS: Final = 1000
"""The kernel takes 4096 instructions."""
_KEPT: Final = 4096
_KEPT_FOR: Final = 5.0
"""Seconds. An answer that is lost is sent again after four."""
_BUFFER: Final = 4 * 1024 * 1024
_EVERY: Final = 1.0
"""Seconds between two looks at what has come, when nothing happens."""


def filter_program(known: frozenset[int]) -> bytes:
    """Return a classic BPF program that takes IPv4 packets with ESP in UDP, but for those with ``known`` SPIs."""
    drop = (0x06, 0, 0, 0)
    steps = [
        (0x30, 0, 0, 9), (0x15, 1, 0, socket.IPPROTO_UDP), drop,
        (0x28, 0, 0, 6), (0x45, 0, 1, 0x3FFF), drop,  # a fragment
        (0xB1, 0, 0, 0), (0x48, 0, 0, 2), (0x15, 1, 0, _PORT), drop,
        (0x40, 0, 0, 8),
    ]  # fmt: skip
    for spi in (0, *sorted(known)[:_MOST_SPIS]):  # 0 marks IKE
        steps += [(0x15, 0, 1, spi), drop]
    return b"".join(struct.pack(_STEP, *one) for one in [*steps, (0x06, 0, 0, 0xFFFF)])


def attach(watched: socket.socket, program: bytes) -> None:
    """Have the kernel ask ``program`` which packets ``watched`` gets."""
    octets = ctypes.create_string_buffer(program, len(program))
    filtering = struct.pack("HP", len(program) // struct.calcsize(_STEP), ctypes.addressof(octets))
    watched.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filtering)


def spi_of(packet: bytes) -> int:
    """Return the SPI of a packet that passed the filter; 0 for one that is too short."""
    start = (packet[0] & 0x0F) * 4 + 8
    return int.from_bytes(packet[start : start + 4]) if len(packet) >= start + 4 else 0


def without_checksum(packet: bytes) -> bytes:
    """Return it without UDP checksum: the network card may have been left to finish it. ESP has its own check."""
    at = (packet[0] & 0x0F) * 4 + 6
    return packet[:at] + b"\0\0" + packet[at + 2 :]


class Early:
    """The packets with unknown SPIs, each with the time at which it was taken."""

    def __init__(self) -> None:
        """Listen on every interface."""
        self._packets: deque[tuple[float, bytes]] = deque(maxlen=_KEPT)
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._seen = socket.socket(socket.AF_PACKET, kind, socket.htons(_ETH_P_IP))
        self._seen.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self.know(frozenset())
        self._again = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW)

    def know(self, spis: frozenset[int]) -> None:
        """Take no more packets with these SPIs."""
        attach(self._seen, filter_program(spis))

    def take(self) -> None:
        """Take what has come, forget what is too old."""
        now = time.monotonic()
        while True:
            try:
                packet, (interface, _, kind, *_) = self._seen.recvfrom(0xFFFF)
            except BlockingIOError:
                break
            if kind != _PACKET_OUTGOING and interface != "lo":
                self._packets.append((now, packet))
        while self._packets and self._packets[0][0] < now - _KEPT_FOR:
            self._packets.popleft()

    def forget(self) -> None:
        """Forget all there are."""
        self.take()
        self._packets.clear()

    def repeat(self, spis: frozenset[int]) -> int:
        """Send those with these SPIs to this machine, in their order, and forget them; return how many there were."""
        found = [packet for _, packet in self._packets if spi_of(packet) in spis]
        self._packets = deque((one for one in self._packets if spi_of(one[1]) not in spis), maxlen=_KEPT)
        for packet in found:
            self._again.sendto(without_checksum(packet), (socket.inet_ntoa(packet[16:20]), 0))
        return len(found)


def watch(charon: Charon) -> None:
    """Do it until charon goes away.

    Raises:
        ConsumerUnavailable: charon is not there, or we may not speak to it.
        PermissionError: CAP_NET_RAW is missing.
    """
    early, known = Early(), frozenset[int]()
    with charon.connected(), charon.inbound_spis(every=_EVERY) as changes:
        for number, change in enumerate(changes):
            early.take()
            if count := early.repeat(change.came) if number else 0:
                _say(f"{count} packets had come too early: given to charon again")
            if change.came or change.went:
                known = known - change.went | change.came
                early.know(known)
            if not number:
                early.forget()
                _say("watching for packets that come too early")


def main() -> int:
    """Run it; return the exit status."""
    parser = argparse.ArgumentParser(description="Give charon once more the ESP packets that came too early.")
    parser.add_argument("--vici", default="/run/charon.vici", help="charon's socket (default: %(default)s)")
    try:
        watch(Charon(parser.parse_args().vici))
    except PermissionError:
        return _fail("packets may not be watched", "Run it with CAP_NET_RAW (AmbientCapabilities=).")
    except AgentError as error:
        return _fail(str(error), error.remedy)
    except KeyboardInterrupt:
        return 0
    return _fail("charon has closed its socket", "It is started again by systemd as soon as charon is there.")


def _fail(what: str, remedy: str) -> int:
    sys.stderr.write(f"enrolld-early: error: {what}\nenrolld-early: what to do: {remedy}\n")
    return 1


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
