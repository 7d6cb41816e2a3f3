"""The CA's challenge and our answer: how a key that cannot sign proves itself (RFC 9810 5.2.8.3.3, RFC 4210 5.2.8.3).

The CA encrypts a number for the key it is asked to certify, and wants to see the number. Whoever answers such
challenges blindly decrypts for everybody who asks. So one challenge is answered in a transaction, it must come from the
CA the request went to (its protection was verified before), and the number is given only when all of it is what a
challenge must be: the number and the CA's own name, and a number that the CA knew before, as its witness shows.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final, NamedTuple

from agent.cmp import algorithms, der, names
from agent.cmp.decryption import decrypt_directly, open_enveloped
from agent.cmp.errors import MalformedMessage, ProtocolViolation

if TYPE_CHECKING:
    from cryptography.x509 import Name

    from agent.cmp.bodies import Challenge, PopDecChallenges
    from agent.cmp.decryption import Decryptor

MAXIMUM_BITS: Final = 2048
"""Of the number; it "will typically not be longer than 64 bits"."""
_COMMON_NAME: Final = "2.5.4.3"


class _Rand(NamedTuple):
    """What is encrypted: the number as contents octets of an INTEGER, and the DER of a GeneralName."""

    number: bytes
    sender: bytes


def solve(body: PopDecChallenges, key: Decryptor, sender: bytes, *, legacy: bool = False) -> int:
    """Return the number in the one challenge of popdecc; ``sender`` is the DER GeneralName of its header.

    Both forms are taken: encryptedRand (pvno 3), and the ciphertext without structure (pvno 2, RSA only). ``legacy``
    accepts SHA-1 and MD5 as one-way functions and triple DES.

    Raises:
        RemoteError: when it is no challenge of that sender for this key. Nothing must be answered then.
    """
    if len(body.challenges) != 1:
        raise _refused(f"it holds {len(body.challenges)} challenges for our one key")
    challenge = body.challenges[0]
    if challenge.owf is None:
        raise _refused("its challenge does not say how its witness was made (owf)")
    hash_ = algorithms.hash_algorithm(challenge.owf)
    if hash_.legacy and not legacy:
        raise algorithms.unsupported(f"one-way function {hash_.name} in a challenge")
    rand = _decode(_open(challenge, key, legacy=legacy))
    # The RFC does not say which octets of the INTEGER are hashed: all of it, as Bouncy Castle does, or its value.
    witnesses = [hash_.digest(one) for one in (der.wrap(der.INTEGER, rand.number), rand.number)]
    if not any(hmac.compare_digest(one, challenge.witness) for one in witnesses):
        raise _refused("the number in its challenge is not the one it vouches for (witness)")
    if not _names(rand.sender, sender):
        raise _refused("its challenge was made by somebody else (sender)")
    return int.from_bytes(rand.number, "big")


def _open(challenge: Challenge, key: Decryptor, *, legacy: bool) -> bytes:
    if challenge.encrypted_rand is None:
        return decrypt_directly(challenge.challenge, key)
    if challenge.challenge:
        raise _refused("its challenge comes in two forms at once")
    return open_enveloped(challenge.encrypted_rand, key, legacy=legacy)


def _decode(octets: bytes) -> _Rand:
    """Read the DER of Rand: a number that is not negative and not too long, and a name.

    All that is wrong with it is said in the same words: they might become known to whoever made it.
    """
    try:
        der.check(octets)
        der.unwrap(octets)
        number, sender = der.values(octets)
        contents = der.unwrap(number, der.INTEGER)
    except (MalformedMessage, ValueError) as error:
        raise _no_rand() from error
    if not 0 <= der.integer(contents) < 1 << MAXIMUM_BITS:
        raise _no_rand()
    return _Rand(contents, sender)


def _names(claimed: bytes, sender: bytes) -> bool:
    """Tell whether the name in a challenge is the sender's, or as much of it as fitted into one RSA block.

    A part must at least have the common name (RFC 4210 5.2.8.3).
    """
    if claimed == sender:
        return True
    try:
        part, whole = names.name_of(claimed), names.name_of(sender)
        if part is None or whole is None:
            return False
        if names.same_name(part, whole):
            return True
        some, all_ = _attributes(names.parse_name(part)), _attributes(names.parse_name(whole))
    except MalformedMessage:
        return False
    return some <= all_ and any(kind == _COMMON_NAME for kind, _ in some)


def _attributes(name: Name) -> set[tuple[str, str | bytes]]:
    return {(one.oid.dotted_string, one.value) for one in name}


def _no_rand() -> ProtocolViolation:
    return _refused("what its challenge holds is no number with a name")


def _refused(what: str) -> ProtocolViolation:
    return ProtocolViolation(
        f"the CA's challenge is not answered: {what}",
        remedy="Nothing was decrypted for anybody. Give the CA's operator this message; until it is mended, ask for a "
        "key that signs, or for the certificate in encrypted form.",
    )
