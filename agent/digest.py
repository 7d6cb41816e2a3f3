"""SHA-256 without OpenSSL, for what starts often or stays in memory for years.

``hashlib`` loads OpenSSL's libcrypto, even for a hash that the interpreter has itself: 4 ms at every start, and in the
daemon up to 3 MiB that never go away. A fingerprint of a file of a few KiB is no slower this way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import sha256 as sha256  # noqa: PLC0414 - so that it is known to be meant for others
else:
    try:
        from _sha2 import sha256  # Python 3.12 and later
    except ImportError:
        try:
            from _sha256 import sha256  # Python 3.11
        except ImportError:  # an interpreter built in another way, with OpenSSL's hashes alone
            from hashlib import sha256


def sha256_hex(octets: bytes) -> str:
    """Return the SHA-256 of ``octets`` in lower-case hexadecimal."""
    return sha256(octets).hexdigest()
