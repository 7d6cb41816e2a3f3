"""A smart card in pcscd's virtual reader: ``python cac.py DATABASE NICKNAME``. It is in the reader while this runs.

The card is a CAC of libcacard, with the key and the certificate called NICKNAME in the NSS database. The reader is that
of vsmartcard-vpcd, which listens on loopback: every message has a length of two octets before it; one octet alone is an
order (off, on, reset, tell the ATR), and anything else is a command APDU.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
from typing import Final

_READER: Final = "Virtual Reader"
_PORT: Final = 35963
_MOST: Final = 4096
"""Octets that the card may answer with."""
_OFF, _ON, _RESET, _TELL_ATR = b"\0", b"\1", b"\2", b"\4"
_NO_DIAGNOSIS: Final = b"\x6f\x00"
"""The status of ISO/IEC 7816-4 for a command that came to nothing."""


class Card:
    """The card, powered."""

    def __init__(self, database: str, nickname: str) -> None:
        library = self._library = ctypes.CDLL("libcacard.so.0")
        library.vcard_emul_options.restype = library.vreader_get_reader_by_name.restype = ctypes.c_void_p
        certificates = ",".join([nickname] * 3)  # a CAC has three
        options = f'db="{database}" use_hw=no soft=(,{_READER},CAC,,{certificates})'
        made = library.vcard_emul_init(ctypes.c_void_p(library.vcard_emul_options(options.encode())))
        reader = library.vreader_get_reader_by_name(_READER.encode())
        if made != 0 or reader is None:
            sys.exit(f"libcacard made no card of {nickname} in {database}")
        self._reader = ctypes.c_void_p(reader)
        self.atr = self.power_on()

    def power_on(self) -> bytes:
        """Power the card, or reset it; return its ATR."""
        answer, length = ctypes.create_string_buffer(_MOST), ctypes.c_int(_MOST)
        self._library.vreader_power_on(self._reader, answer, ctypes.byref(length))
        return answer.raw[: length.value]

    def power_off(self) -> None:
        self._library.vreader_power_off(self._reader)

    def command(self, apdu: bytes) -> bytes:
        """Return the answer to a command."""
        answer, length = ctypes.create_string_buffer(_MOST), ctypes.c_int(_MOST)
        status = self._library.vreader_xfr_bytes(self._reader, apdu, len(apdu), answer, ctypes.byref(length))
        return answer.raw[: length.value] if status == 0 else _NO_DIAGNOSIS

    def answer(self, message: bytes) -> bytes | None:
        """Do what the reader says; return what it waits for, if anything."""
        if message == _OFF:
            self.power_off()
        elif message in {_ON, _RESET}:
            self.power_on()
        elif message == _TELL_ATR:  # asked again and again, to see whether the card is there
            return self.atr
        else:
            return self.command(message)
        return None


def _receive(connection: socket.socket, length: int) -> bytes:
    octets = b""
    while len(octets) < length:
        # The reader sends length and message apart: an acknowledgement that is delayed costs 40 ms for each.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        more = connection.recv(length - len(octets))
        if not more:
            sys.exit("the reader is gone")
        octets += more
    return octets


def main(database: str, nickname: str) -> None:
    """Be in the reader until it goes."""
    card = Card(database, nickname)
    with socket.create_connection(("127.0.0.1", _PORT)) as connection:
        while True:
            (length,) = struct.unpack(">H", _receive(connection, 2))
            answer = card.answer(_receive(connection, length))
            if answer is not None:
                connection.sendall(struct.pack(">H", len(answer)) + answer)


if __name__ == "__main__":
    main(*sys.argv[1:])
