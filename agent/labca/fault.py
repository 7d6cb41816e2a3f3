"""The names of the faults the CA can be told to show, and how they are written on a command line."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from agent.cmp.messages import BodyType
from agent.errors import ConfigurationError
from agent.labca.refusal import FAILURES_BY_NAME

if TYPE_CHECKING:
    from agent.cmp.failures import PKIFailureInfo


class Misbehaviour(StrEnum):
    """What the CA does wrong; a comment names the value it takes."""

    # How a request is handled.
    REJECT = "reject"  # the failure's name, as badPOP
    WAIT_THEN_REJECT = "wait-then-reject"  # the failure's name
    # What is in the certificate.
    WRONG_KEY = "wrong-key"
    WRONG_SUBJECT = "wrong-subject"
    WRONG_ALTERNATIVE_NAME = "wrong-alternative-name"
    CA_CERTIFICATE = "ca-certificate"
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    SHORTENED = "shortened"  # seconds of life left
    BACKDATED = "backdated"  # days before now at which it begins
    UNKNOWN_ISSUER = "unknown-issuer"
    # What is encrypted for the end entity, where that is how it proves possession.
    WRONG_WITNESS = "wrong-witness"
    NOT_A_CHALLENGE = "not-a-challenge"
    CHALLENGE_OF_ANOTHER = "challenge-of-another"
    SEALED_FOR_ANOTHER = "sealed-for-another"
    # The message.
    WRONG_RECIP_NONCE = "wrong-recip-nonce"
    NO_RECIP_NONCE = "no-recip-nonce"
    WRONG_TRANSACTION_ID = "wrong-transaction-id"
    NO_SENDER_NONCE = "no-sender-nonce"
    BAD_PROTECTION = "bad-protection"
    WRONG_SECRET = "wrong-secret"  # noqa: S105 - the name of a fault
    UNPROTECTED = "unprotected"
    UNPROTECTED_ERROR = "unprotected-error"  # the failure's name
    UNAUTHORISED_SIGNER = "unauthorised-signer"
    STRANGE_SIGNER = "strange-signer"
    NO_EXTRA_CERTS = "no-extra-certs"
    HUGE_ITERATIONS = "huge-iterations"  # the count
    WRONG_CERT_REQ_ID = "wrong-cert-req-id"  # the number
    WRONG_BODY = "wrong-body"
    CHECK_AFTER = "check-after"  # the seconds, any integer
    ERROR_WITH_PVNO_1 = "error-with-pvno-1"  # the failure's name
    # The octets.
    TRUNCATED = "truncated"
    TRAILING_OCTETS = "trailing-octets"
    LONG_LENGTH = "long-length"
    OVERSIZE = "oversize"  # octets
    OTHER_TRANSACTION = "other-transaction"
    # The transfer.
    LATE = "late"  # seconds
    DUPLICATE = "duplicate"
    DROP_AFTER = "drop-after"
    STATUS_WITH_ANSWER = "status-with-answer"  # the HTTP status
    DROP_BEFORE = "drop-before"
    HTML = "html"
    HTTP_STATUS = "http-status"  # the HTTP status
    RETRY_AFTER = "retry-after"  # seconds


@dataclass(slots=True, kw_only=True)
class Fault:
    """One fault that is switched on: for requests of type ``on`` (None: any), for ``times`` answers (None: always)."""

    kind: Misbehaviour
    value: str = ""
    on: BodyType | None = None
    times: int | None = None

    @property
    def failure(self) -> PKIFailureInfo:
        """The failure it names; badRequest when it names none."""
        return FAILURES_BY_NAME[self.value or "badRequest"]

    def __str__(self) -> str:
        """Write it as on the command line."""
        value = f"={self.value}" if self.value else ""
        on = f"@{self.on.label}" if self.on is not None else ""
        return f"{self.kind}{value}{on}" + (f"*{self.times}" if self.times is not None else "")


def parse(text: str) -> Fault:
    """Read ``kind[=value][@request][*times]``, as ``reject=badPOP``, ``drop-after@ir*1``, ``late=2.5``.

    Raises:
        ConfigurationError: for an unknown fault, value or request.
    """
    rest, _, times = text.partition("*")
    rest, _, on = rest.partition("@")
    name, _, value = rest.partition("=")
    types = {kind.label.lower(): kind for kind in BodyType}
    if name not in Misbehaviour.__members__.values():
        raise _unknown(text, f"there is no {name!r}", ", ".join(Misbehaviour))
    if on and on.lower() not in types:
        raise _unknown(text, f"there is no message {on!r}", "ir, cr, p10cr, kur, rr, genm, certConf, pollReq")
    if times and not times.isdigit():
        raise _unknown(text, f"{times!r} is not a number of times", "*1, *2 and so on")
    return check(
        Fault(
            kind=Misbehaviour(name),
            value=value,
            on=types[on.lower()] if on else None,
            times=int(times) if times else None,
        )
    )


def check(fault: Fault) -> Fault:
    """Return ``fault`` if its value is one its kind can use.

    Raises:
        ConfigurationError: otherwise.
    """
    if fault.kind in _FAILURE_VALUES:
        if fault.value and fault.value not in FAILURES_BY_NAME:
            raise _unknown(str(fault), f"there is no failure {fault.value!r}", ", ".join(FAILURES_BY_NAME))
    elif fault.value:
        if fault.kind not in _NUMBER_VALUES:
            raise _unknown(str(fault), f"{fault.kind} takes no value", str(fault.kind))
        try:
            float(fault.value)
        except ValueError as error:
            raise _unknown(str(fault), f"{fault.value!r} is not a number", f"{fault.kind}=2") from error
    return fault


_FAILURE_VALUES: Final = frozenset({
    Misbehaviour.REJECT, Misbehaviour.WAIT_THEN_REJECT, Misbehaviour.UNPROTECTED_ERROR, Misbehaviour.ERROR_WITH_PVNO_1
})  # fmt: skip
_NUMBER_VALUES: Final = frozenset({
    Misbehaviour.SHORTENED, Misbehaviour.BACKDATED, Misbehaviour.HUGE_ITERATIONS, Misbehaviour.WRONG_CERT_REQ_ID,
    Misbehaviour.CHECK_AFTER, Misbehaviour.OVERSIZE, Misbehaviour.LATE, Misbehaviour.STATUS_WITH_ANSWER,
    Misbehaviour.HTTP_STATUS, Misbehaviour.RETRY_AFTER,
})  # fmt: skip


def _unknown(text: str, what: str, choices: str) -> ConfigurationError:
    return ConfigurationError(f"misbehaviour {text!r}: {what}", remedy=f"Use one of: {choices}.")
