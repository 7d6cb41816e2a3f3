"""How an answer is addressed and protected (RFC 9483 3.1 to 3.3, 4.1.5)."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from agent.cmp import names, protection
from agent.cmp.bodies import ErrorMessage, StatusInfo
from agent.cmp.errors import CmpError
from agent.cmp.failures import PKIFailureInfo as Failure
from agent.cmp.failures import PKIStatus
from agent.cmp.messages import NULL_DN, PVNO_2, PVNO_3, Header
from agent.cmp.protection import Kind, MacParameters, Protector, SignatureProtector
from agent.labca import mac
from agent.labca.outgoing import Outgoing

if TYPE_CHECKING:
    from agent.cmp.messages import Message
    from agent.cmp.protection import ProtectionRules
    from agent.labca.gate import Requester
    from agent.labca.office import Answer
    from agent.labca.pki import Pki
    from agent.labca.settings import LabCaSettings

_NONCE_SIZE: Final = 16


class Secretary:
    """Writes answers. Called with the CA's lock held."""

    def __init__(self, settings: LabCaSettings, pki: Pki, rules: ProtectionRules) -> None:
        """Take the settings, the credentials that may sign, and which MAC parameters are mirrored."""
        self._settings = settings
        self._rules = rules
        self.signer = pki.ra if settings.ra_protects else pki.issuing
        self._root = (pki.root.certificate,) if settings.root_in_extra_certs else ()
        self._signature = SignatureProtector(self.signer.key)

    def write(
        self, request: Message, requester: Requester | None, answer: Answer, now: datetime, *, first: bool
    ) -> Outgoing:
        """Return ``answer`` as a message to ``requester``; ``first``: the first one of its transaction."""
        protector, reference = self._protector(request, requester)
        signed = protector is not None and protector.kind is Kind.SIGNATURE
        header = Header(
            pvno=_version(request.header.pvno),
            sender=names.directory_name(self.signer.subject if signed else names.common_name(reference))
            if protector
            else NULL_DN,
            recipient=request.header.sender,
            message_time=now,
            protection_alg=protector.algorithm if protector else None,
            sender_kid=(self.signer.key_identifier if signed else reference.encode()) if protector else None,
            transaction_id=request.header.transaction_id,
            sender_nonce=secrets.token_bytes(_NONCE_SIZE) if self._settings.sends_nonce else None,
            recip_nonce=answer.recip_nonce or request.header.sender_nonce,
            general_info=answer.general_info,
        )
        if not self._settings.names_signer:
            header = replace(header, sender=request.header.recipient, sender_kid=None)
        path = (self.signer.certificate, *self.signer.chain) if signed else ()
        if not (first or self._settings.repeat_extra_certs):
            path = ()
        extra_certs = tuple(dict.fromkeys((*path, *answer.chain, *(self._root if path else ()))))
        return Outgoing(header=header, body=answer.body, protector=protector, extra_certs=extra_certs)

    def unreadable(self, words: str, now: datetime) -> Outgoing:
        """Return the error for octets that are no PKIMessage: there is nobody to address and nothing to repeat."""
        header = Header(
            sender=names.directory_name(self.signer.subject),
            message_time=now,
            protection_alg=self._signature.algorithm,
            sender_kid=self.signer.key_identifier,
            sender_nonce=secrets.token_bytes(_NONCE_SIZE),
        )
        return Outgoing(
            header=header,
            body=ErrorMessage(
                StatusInfo(status=PKIStatus.REJECTION, text=(words,), failures=frozenset({Failure.BAD_DATA_FORMAT}))
            ),
            protector=self._signature,
            extra_certs=(self.signer.certificate, *self.signer.chain),
        )

    def _protector(self, request: Message, requester: Requester | None) -> tuple[Protector | None, str]:
        """Return the protector of the answer, and the reference it names when it is a MAC.

        A MAC nobody could verify is answered without protection, as RFC 9483 3.6.4 allows where there is no other way;
        everybody else gets a signature.
        """
        by_mac = requester.kind is Kind.MAC if requester else _claims_mac(request)
        if not by_mac or self._settings.sign_mac_answers:
            return self._signature, ""
        if requester is None:
            return None, ""
        return self._mac(request, requester), requester.reference

    def _mac(self, request: Message, requester: Requester) -> Protector:
        algorithm = request.header.protection_alg or b""
        chosen = self._settings.mac
        if chosen is None:
            twin = mac.mirrored(algorithm, requester.secret, self._rules)
            if twin is not None:
                return twin
            chosen = MacParameters()
        # The salt stays the same through a transaction, so that nobody derives the key twice (RFC 9810 5.1.3.1).
        parameters = MacParameters(
            algorithm=mac.name(algorithm),
            one_way_function=chosen.one_way_function,
            mac=chosen.mac,
            iterations=chosen.iterations,
            salt=chosen.salt or (request.header.transaction_id or b"").ljust(16, b"\0")[:32],
        )
        return mac.protector(requester.secret, parameters)


def _version(asked: int) -> int:
    """Return the pvno of the answer: the same, or the nearest one there is (RFC 9810 section 7)."""
    return min(max(asked, PVNO_2), PVNO_3)


def _claims_mac(request: Message) -> bool:
    try:
        return protection.kind_of(request) is Kind.MAC
    except CmpError:
        return False
