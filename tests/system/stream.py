"""A stream of numbered datagrams, a hundred a second: ``send OWN PEER PORT`` until SIGTERM, ``receive OWN PORT``.

The receiver prints ``SENT RECEIVED`` when the sender has said how many there were.
"""

from __future__ import annotations

import signal
import socket
import sys
import time

EVERY = 0.01
_END = b"end"


def send(own: str, peer: str, port: int) -> None:
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind((own, 0))
        number = 0
        due = time.monotonic()
        while not ended:
            link.sendto(number.to_bytes(4), (peer, port))
            number += 1
            due += EVERY
            time.sleep(max(due - time.monotonic(), 0))
        for _ in range(5):  # any one of them will do
            time.sleep(0.1)
            link.sendto(_END + number.to_bytes(4), (peer, port))


def receive(own: str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind((own, port))
        link.settimeout(60)
        say("ready")
        numbers = set()
        while not (datagram := link.recv(64)).startswith(_END):
            numbers.add(datagram)
        say(f"{int.from_bytes(datagram.removeprefix(_END))} {len(numbers)}")


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    role, own, *rest = sys.argv[1:]
    if role == "send":
        send(own, rest[0], int(rest[1]))
    else:
        receive(own, int(rest[0]))
