"""What a key that does not sign finds in answers: the number of a challenge, and its encrypted certificate.

Both only where we asked for it so: nothing is decrypted for a CA that was not invited to encrypt. What decrypts is
imported where it is used: most transactions do without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.cmp.acceptance import Objection
from agent.cmp.envelope import violation
from agent.cmp.errors import RemoteError
from agent.cmp.failures import PKIFailureInfo
from agent.cmp.possession import PopMethod
from agent.cmp.request import Wanted

if TYPE_CHECKING:
    from agent.cmp.bodies import CertResponse, PopDecChallenges
    from agent.cmp.decryption import Decryptor
    from agent.cmp.terms import Terms

NOT_ENCRYPTED: Final = "the CA did not encrypt the certificate as it was asked to, so our key was not proven to it"


def number(body: PopDecChallenges, sender: bytes, terms: Terms) -> int:
    """Return the number in the CA's challenge; ``sender`` is the DER GeneralName of the message's header.

    Raises:
        RemoteError: when it is not to be answered.
    """
    key = _decryptor(terms, PopMethod.CHALLENGE)
    if key is None:
        raise violation("it challenges a key that was not to be proven so")
    from agent.cmp import challenge  # noqa: PLC0415

    return challenge.solve(body, key, sender, legacy=terms.rules.protection.legacy)


def certificate(response: CertResponse, terms: Terms) -> tuple[bytes | Objection, tuple[str, ...]]:
    """Return the DER certificate in a response that grants one, decrypted if need be, and remarks about it.

    An objection stands for one that does not open. It can be refused in certConf, as whole and without its hash.

    Raises:
        ProtocolViolation: when there is none that we asked for.
    """
    key = _decryptor(terms, PopMethod.ENCRYPTED_CERTIFICATE)
    if response.certificate is not None:
        return response.certificate, () if key is None else (NOT_ENCRYPTED,)
    if response.encrypted_certificate is None or key is None:
        raise violation("it grants a certificate, but brings none that we could read")
    from agent.cmp.decryption import open_encrypted_key  # noqa: PLC0415

    try:
        return open_encrypted_key(response.encrypted_certificate, key, legacy=terms.rules.protection.legacy), ()
    except RemoteError as error:
        objection = Objection(
            check="decryption",
            fail_info=PKIFailureInfo.INCORRECT_DATA,
            text="the encrypted certificate cannot be opened",
            remedy=f"{error.remedy} ({error})",
        )
        return objection, ()


def _decryptor(terms: Terms, proof: PopMethod) -> Decryptor | None:
    wanted = terms.wanted
    return wanted.decryptor if isinstance(wanted, Wanted) and wanted.proof is proof else None
