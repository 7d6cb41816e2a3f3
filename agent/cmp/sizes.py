"""How large what is kept of a transaction can get: the caps in one place, and what follows from them.

Most of it is from peers, some of it from anybody on the way (extraCerts are not protected). What follows is what the
disk must have room for before a message is sent (:mod:`agent.worker.room`).
"""

from __future__ import annotations

from typing import Final

MAXIMUM_CERTIFICATE: Final = 32_768
"""Octets of any one certificate that is read: one with ML-DSA-87 keys takes some eight thousand."""
MAXIMUM_ALONG: Final = 131_072
"""Octets of all the certificates that came along with answers and are kept: a chain of the largest keys three times."""
MAXIMUM_LEARNED: Final = 65_536
"""Octets of the trust anchors that one transaction learns."""
MAXIMUM_CERTIFICATES: Final = 32
"""More certificates in one list than this are refused: path building must stay bounded."""
MAXIMUM_NAME: Final = 4096
"""Octets of the name that an answer gives as its sender; it is repeated in what we send."""
MAXIMUM_NONCE: Final = 128
"""Octets of a senderNonce; it is repeated as well. RFC 9810 5.1.1 has 16."""
MAXIMUM_LIST: Final = 4_194_304
"""Octets of a CRL, wherever it comes from: some hundred thousand entries."""
SMALLER_LISTS: Final = (
    "Ask the CA's operator for smaller CRLs: each for a part of his certificates, and without those that have expired."
)
"""What to do about a larger one."""
_MORE: Final = 2 * MAXIMUM_NAME
"""Octets by which a certConf can be longer than the request: it names its recipient, and gives his nonce back."""
_REST: Final = 8192
"""Octets of JSON around all that: names of fields, times, numbers, the address of the CA."""


def largest_snapshot(message: int) -> int:
    """Return how many octets a transaction with its certificate takes as JSON.

    ``message`` is the length of the request. Octets are written as hexadecimal digits.
    """
    lists = MAXIMUM_ALONG + MAXIMUM_LEARNED
    octets = MAXIMUM_CERTIFICATE + lists + message + _MORE + MAXIMUM_NAME + MAXIMUM_NONCE
    return 2 * octets + _REST
