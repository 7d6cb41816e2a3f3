"""What each fault changes: a table each for certificates, what is encrypted, messages, octets; two for the transfer."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519

from agent.cmp import algorithms, der, names
from agent.cmp.bodies import CertRepMessage, ErrorMessage, General, PkiConf, PollResponse, StatusInfo
from agent.cmp.failures import PKIStatus
from agent.cmp.messages import BodyType
from agent.cmp.protection import PASSWORD_BASED_MAC, Kind, MacParameters, MacProtector, SignatureProtector
from agent.frozen import frozen
from agent.labca import certificates, encoding
from agent.labca.encoding import Extension
from agent.labca.fault import Fault, Misbehaviour
from agent.labca.keys import LabKey
from agent.labca.outgoing import Outgoing, Reply

if TYPE_CHECKING:
    from agent.cmp.bodies import Body
    from agent.cmp.messages import Message
    from agent.cmp.protection import Protector
    from agent.labca.certificates import Credential, Plan
    from agent.labca.enveloping import Sealing
    from agent.labca.gate import Requester
    from agent.labca.pki import Pki


@frozen(kw_only=True)
class Circumstances:
    """What a fault may look at: the request, who sent it, the lab's credentials."""

    request: Message
    requester: Requester | None
    pki: Pki
    answer_of_another: Callable[[BodyType], bytes | None]
    """Return the newest answer of a type that was sent in another transaction."""


# --- the certificate ------------------------------------------------------------------------------------------------


def _wrong_names(plan: Plan, _: Fault) -> Plan:
    other = Extension(
        certificates.SUBJECT_ALTERNATIVE_NAME,
        critical=False,
        value=der.wrap(der.SEQUENCE, der.wrap(0x82, b"somebody-else.example")),
    )
    return replace(plan, extensions=(*_without(plan, other.oid), other))


def _authority(plan: Plan, _: Fault) -> Plan:
    kept = _without(plan, certificates.BASIC_CONSTRAINTS, certificates.KEY_USAGE)
    return replace(plan, extensions=(*kept, *certificates.authority_extensions()))


def _without(plan: Plan, *oids: str) -> tuple[Extension, ...]:
    return tuple(one for one in plan.extensions if one.oid not in oids)


def _shift(plan: Plan, *, begin: timedelta, life: timedelta) -> Plan:
    start = plan.not_before + begin
    return replace(plan, not_before=start, not_after=start + life)


CERTIFICATE: Final[dict[Misbehaviour, Callable[[Plan, Fault], Plan]]] = {
    Misbehaviour.WRONG_KEY: lambda plan, _: replace(plan, public_key=LabKey.generate().public_key),
    Misbehaviour.WRONG_SUBJECT: lambda plan, _: replace(plan, subject=names.common_name("somebody-else.example")),
    Misbehaviour.WRONG_ALTERNATIVE_NAME: _wrong_names,
    Misbehaviour.CA_CERTIFICATE: _authority,
    Misbehaviour.EXPIRED: lambda plan, _: _shift(plan, begin=timedelta(days=-30), life=timedelta(days=29)),
    Misbehaviour.NOT_YET_VALID: lambda plan, _: _shift(plan, begin=timedelta(days=30), life=timedelta(days=30)),
    Misbehaviour.SHORTENED: lambda plan, fault: _shift(
        plan, begin=timedelta(), life=timedelta(seconds=float(fault.value or 60))
    ),
    Misbehaviour.BACKDATED: lambda plan, fault: replace(
        plan, not_before=plan.not_before - timedelta(days=float(fault.value or 80))
    ),
}


# --- what is encrypted ----------------------------------------------------------------------------------------------

_SOMETHING_SECRET: Final = b"what somebody else sent to this key, and this CA would like to read"


def _challenge(**changes: bytes) -> Callable[[Sealing], Sealing]:
    return lambda sealing: replace(sealing, **changes) if sealing.witness else sealing


def _by_another(sealing: Sealing) -> Sealing:
    if not sealing.witness:
        return sealing
    number = der.children(sealing.content)[0]
    other = names.directory_name(names.common_name("another CA"))
    return replace(sealing, content=der.wrap(der.SEQUENCE, sealing.content[number.start : number.end], other))


def _for_another(sealing: Sealing) -> Sealing:
    """Choose a new key of the same kind."""
    public: Any = algorithms.load_public_key(sealing.public_key)
    match public:
        case rsa.RSAPublicKey():
            private: Any = rsa.generate_private_key(65537, public.key_size)
        case ec.EllipticCurvePublicKey():
            private = ec.generate_private_key(public.curve)
        case _:
            private = x25519.X25519PrivateKey.generate()
    return replace(sealing, public_key=LabKey(private).public_key)


SEALING: Final[dict[Misbehaviour, Callable[[Sealing], Sealing]]] = {
    Misbehaviour.WRONG_WITNESS: _challenge(witness=bytes(32)),
    Misbehaviour.NOT_A_CHALLENGE: _challenge(content=_SOMETHING_SECRET),
    Misbehaviour.CHALLENGE_OF_ANOTHER: _by_another,
    Misbehaviour.SEALED_FOR_ANOTHER: _for_another,
}


# --- the message ----------------------------------------------------------------------------------------------------


class _Spoiled:
    """A protector whose every protection has one bit wrong."""

    def __init__(self, inner: Protector) -> None:
        self._inner = inner
        self.kind: Kind = inner.kind
        self.algorithm = inner.algorithm

    def protect(self, protected_part: bytes) -> bytes:
        good = bytearray(self._inner.protect(protected_part))
        good[-1] ^= 1
        return bytes(good)


class _Nonsense:
    """A MAC nobody could compute: the header asks for more iterations than there is time."""

    kind = Kind.MAC

    def __init__(self, iterations: int) -> None:
        parameters = der.wrap(
            der.SEQUENCE,
            encoding.octet_string(secrets.token_bytes(16)),
            algorithms.build_algorithm(algorithms.HASHES["sha256"].oid),
            encoding.integer(iterations),
            algorithms.build_algorithm(algorithms.MACS["hmac-sha256"].oid, algorithms.NULL),
        )
        self.algorithm = algorithms.build_algorithm(PASSWORD_BASED_MAC, parameters)

    def protect(self, protected_part: bytes) -> bytes:
        return bytes(32) if protected_part else b""


def _header(**changes: bytes | int | None) -> Callable[[Outgoing, Fault, Circumstances], Outgoing]:
    return lambda outgoing, _, __: replace(outgoing, header=replace(outgoing.header, **changes))  # type: ignore[arg-type]


def _random(field: str) -> Callable[[Outgoing, Fault, Circumstances], Outgoing]:
    return lambda outgoing, _, __: replace(
        outgoing,
        header=replace(outgoing.header, **{field: secrets.token_bytes(16)}),  # type: ignore[arg-type]
    )


def _protected_by(outgoing: Outgoing, protector: Protector | None, **header: bytes | None) -> Outgoing:
    algorithm = protector.algorithm if protector else None
    return replace(
        outgoing,
        header=replace(outgoing.header, protection_alg=algorithm, **header),  # type: ignore[arg-type]
        protector=protector,
    )


def _spoiled(outgoing: Outgoing, _: Fault, __: Circumstances) -> Outgoing:
    return replace(outgoing, protector=_Spoiled(outgoing.protector)) if outgoing.protector else outgoing


def _wrong_secret(outgoing: Outgoing, _: Fault, circumstances: Circumstances) -> Outgoing:
    if circumstances.requester is None or circumstances.requester.kind is not Kind.MAC:
        return outgoing
    parameters = MacParameters(salt=secrets.token_bytes(16))
    return _protected_by(outgoing, MacProtector(b"not the secret", parameters))


def _signed_by(choose: Callable[[Pki], Credential]) -> Callable[[Outgoing, Fault, Circumstances], Outgoing]:
    def change(outgoing: Outgoing, _: Fault, circumstances: Circumstances) -> Outgoing:
        signer = choose(circumstances.pki)
        signed = _protected_by(
            outgoing,
            SignatureProtector(signer.key),
            sender=names.directory_name(signer.subject),
            sender_kid=signer.key_identifier,
        )
        return replace(signed, extra_certs=(signer.certificate, *signer.chain, *outgoing.extra_certs))

    return change


def _error(outgoing: Outgoing, fault: Fault) -> Outgoing:
    status = StatusInfo(
        status=PKIStatus.REJECTION, failures=frozenset({fault.failure}), text=("refused by misbehaviour",)
    )
    return replace(outgoing, body=ErrorMessage(status))


def _old_error(outgoing: Outgoing, fault: Fault, _: Circumstances) -> Outgoing:
    error = _protected_by(_error(outgoing, fault), None)
    return replace(error, header=replace(error.header, pvno=1), extra_certs=())


def _wrong_number(outgoing: Outgoing, fault: Fault, _: Circumstances) -> Outgoing:
    number = int(fault.value or 7)
    match outgoing.body:
        case CertRepMessage(responses=responses):
            wrong = tuple(replace(one, cert_req_id=number) for one in responses)
            return replace(outgoing, body=replace(outgoing.body, responses=wrong))
        case PollResponse(polls=polls):
            return replace(outgoing, body=PollResponse(tuple(replace(one, cert_req_id=number) for one in polls)))
    return outgoing


def _check_after(outgoing: Outgoing, fault: Fault, _: Circumstances) -> Outgoing:
    if not isinstance(outgoing.body, PollResponse):
        return outgoing
    seconds = int(fault.value or 0)
    return replace(outgoing, body=PollResponse(tuple(replace(one, check_after=seconds) for one in outgoing.body.polls)))


def _wrong_body(outgoing: Outgoing, _: Fault, __: Circumstances) -> Outgoing:
    wrong: Body
    match outgoing.body:
        case CertRepMessage(type=BodyType.IP):
            wrong = replace(outgoing.body, type=BodyType.CP)
        case CertRepMessage():
            wrong = replace(outgoing.body, type=BodyType.IP)
        case PkiConf():
            wrong = General(BodyType.GENP, ())
        case _:
            wrong = PkiConf()
    return replace(outgoing, body=wrong)


MESSAGE: Final[dict[Misbehaviour, Callable[[Outgoing, Fault, Circumstances], Outgoing]]] = {
    Misbehaviour.WRONG_RECIP_NONCE: _random("recip_nonce"),
    Misbehaviour.NO_RECIP_NONCE: _header(recip_nonce=None),
    Misbehaviour.WRONG_TRANSACTION_ID: _random("transaction_id"),
    Misbehaviour.NO_SENDER_NONCE: _header(sender_nonce=None),
    Misbehaviour.BAD_PROTECTION: _spoiled,
    Misbehaviour.WRONG_SECRET: _wrong_secret,
    Misbehaviour.UNPROTECTED: lambda outgoing, _, __: _protected_by(outgoing, None),
    Misbehaviour.UNPROTECTED_ERROR: lambda outgoing, fault, _: _protected_by(_error(outgoing, fault), None),
    Misbehaviour.UNAUTHORISED_SIGNER: _signed_by(lambda pki: pki.bystander),
    Misbehaviour.STRANGE_SIGNER: _signed_by(lambda pki: pki.other_ra),
    Misbehaviour.NO_EXTRA_CERTS: lambda outgoing, _, __: replace(outgoing, extra_certs=()),
    Misbehaviour.HUGE_ITERATIONS: lambda outgoing, fault, _: _protected_by(
        outgoing, _Nonsense(int(fault.value or 2**31 - 1))
    ),
    Misbehaviour.WRONG_CERT_REQ_ID: _wrong_number,
    Misbehaviour.WRONG_BODY: _wrong_body,
    Misbehaviour.CHECK_AFTER: _check_after,
    Misbehaviour.ERROR_WITH_PVNO_1: _old_error,
}


# --- the octets -----------------------------------------------------------------------------------------------------


def _long_length(octets: bytes, _: Fault) -> bytes:
    """Write the outermost length with a leading zero octet: BER, not DER."""
    contents = octets[der.read(octets).contents :]
    return bytes((der.SEQUENCE, 0x84)) + len(contents).to_bytes(4, "big") + contents


OCTETS: Final[dict[Misbehaviour, Callable[[bytes, Fault], bytes]]] = {
    Misbehaviour.TRUNCATED: lambda octets, _: octets[: len(octets) // 2],
    Misbehaviour.TRAILING_OCTETS: lambda octets, _: octets + b"\x05\x00",
    Misbehaviour.LONG_LENGTH: _long_length,
    Misbehaviour.OVERSIZE: lambda _, fault: der.wrap(
        der.SEQUENCE, encoding.octet_string(bytes(int(fault.value or 5 * 2**20)))
    ),
}


# --- the transfer ---------------------------------------------------------------------------------------------------

_HTML: Final = b"<!DOCTYPE html><html><body><h1>Welcome to the hotel network</h1></body></html>\n"

REPLY: Final[dict[Misbehaviour, Callable[[Reply, Fault], Reply]]] = {
    Misbehaviour.LATE: lambda reply, fault: replace(reply, delay=float(fault.value or 1)),
    Misbehaviour.DUPLICATE: lambda reply, _: replace(reply, copies=2),
    Misbehaviour.DROP_AFTER: lambda reply, _: replace(reply, dropped=True),
    Misbehaviour.STATUS_WITH_ANSWER: lambda reply, fault: replace(reply, status=int(fault.value or 500)),
}

INSTEAD: Final[dict[Misbehaviour, Callable[[Fault], Reply]]] = {
    Misbehaviour.DROP_BEFORE: lambda _: Reply(dropped=True),
    Misbehaviour.HTML: lambda _: Reply(octets=_HTML, content_type="text/html"),
    Misbehaviour.HTTP_STATUS: lambda fault: Reply(
        octets=_HTML, content_type="text/html", status=int(fault.value or 500)
    ),
    Misbehaviour.RETRY_AFTER: lambda fault: Reply(
        octets=_HTML, content_type="text/html", status=503, headers={"Retry-After": fault.value or "5"}
    ),
}
