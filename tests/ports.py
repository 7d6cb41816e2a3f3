"""TCP ports of loopback: for a peer that cannot choose its own, and for an address at which nobody listens."""

from __future__ import annotations

import secrets
import socket
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

LOOPBACK: Final = "127.0.0.1"
_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST: Final = 10_000
_HIGHEST: Final = 65_535
_TRIES: Final = 100


def handed_out() -> range:
    """Return the ports of which the kernel gives one to whoever connects, or listens on port 0."""
    first, last = map(int, _RANGE.read_text().split())
    return range(first, last + 1)


def unused_port(host: str = LOOPBACK, *, together: int = 1) -> int:
    """Return a port of ``host`` on which nobody listens; of ``together`` in a row it is the first.

    It is none that the kernel hands out: whoever else runs on this machine meanwhile, as the tests of other files do,
    does not get it by chance before the one it is for.
    """
    taken = handed_out()
    candidates = [one for one in range(_LOWEST, _HIGHEST - together) if one + together <= taken[0] or one > taken[-1]]
    for _ in range(_TRIES):
        port = secrets.choice(candidates or range(_LOWEST, _HIGHEST - together))
        with suppress(OSError), ExitStack() as stack:
            for one in range(port, port + together):
                family = socket.AF_INET6 if ":" in host else socket.AF_INET
                stack.enter_context(socket.create_server((host, one), family=family))
            return port
    raise AssertionError(f"there are no {together} unused ports in a row")
