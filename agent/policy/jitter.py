"""Jitter that a device keeps: the same on every start and after every upgrade, spread evenly over a fleet.

A fleet that was rolled out in one night renews in one night unless something tells its members apart. A random
number would, but it moves at every restart, and a device that restarts often would draw until it hits an early one.
So the number is computed from who the device is.
"""

from __future__ import annotations

try:
    # The same function as hashlib.blake2b. hashlib itself loads OpenSSL, and that costs the long-lived
    # supervisor 3.5 MiB of memory and 4 ms of start for one hash.
    from _blake2 import blake2b
except ImportError:  # an interpreter built in another way
    from hashlib import blake2b

_BITS = 53
"""A float holds 53 bits exactly, so the fraction is never rounded up to 1."""


def fraction(device: str, purpose: str) -> float:
    """Return a number in [0, 1) that depends on nothing but ``device`` and ``purpose``.

    ``device`` is what tells this certificate from all others of the fleet. On a host that keeps several
    identities it names host and identity, or they would all be renewed at once. ``purpose`` (1 to 64 octets)
    makes the numbers of one device independent of each other: it is the key of BLAKE2b (RFC 7693), and
    a longer one raises ``ValueError``.

    The numbers are part of the behaviour of a fleet in the field: a test pins some of them, and an upgrade must
    not change them.
    """
    digest = blake2b(device.encode(errors="surrogatepass"), key=purpose.encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> (64 - _BITS)) / (1 << _BITS)
