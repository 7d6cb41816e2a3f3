"""What a transaction remembers across a reboot (RFC 9483 4.4), and its form on disk: JSON values, octets as hex."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

from agent.cmp.errors import LocalError
from agent.cmp.failures import clean_text
from agent.cmp.messages import PVNO_2, BodyType
from agent.cmp.request import ANSWER_TO
from agent.cmp.states import State
from agent.frozen import frozen

VERSION: Final = 1


@frozen(kw_only=True)
class Memory:
    """All that changes in the course of a transaction. Certificates are DER, names the DER of a GeneralName."""

    state: State = State.READY
    type: BodyType
    """The request that opened the transaction."""
    transaction_id: bytes
    implicit_asked: bool = False
    """Whether the request asked that certConf be left out."""
    awaits_challenge: bool = False
    """Whether the request asked to be challenged and was not yet: one challenge is answered, and no second one."""
    number: int | None = None
    """What the challenge held: our answer to it."""
    delayed_nonce: bytes = b""
    """senderNonce of the request that an answer is delayed to."""
    last_nonce: bytes = b""
    """senderNonce of the last message sent."""
    last_message: bytes = b""
    last_pvno: int = PVNO_2
    sent_at: datetime | None = None
    """The messageTime of the last message; None when it has none."""
    peer_nonce: bytes = b""
    peer_name: bytes = b""
    peer_certificates: tuple[bytes, ...] = ()
    """What came along; servers leave out later what they sent before. The verified signer's path comes first."""
    cert_req_id: int = 0
    poll_id: int = 0
    check_at: datetime | None = None
    certificate: bytes = b""
    granted_with_mods: bool = False
    implicit_confirmation: bool = False
    """Whether certConf may be left out: asked for and granted."""
    learned: tuple[bytes, ...] = ()
    """Trust anchors from caPubs; they hold for this transaction and are kept with the certificate."""
    refusal: str = ""
    """Why the certificate is refused; or, in state disputed, what the CA said to its confirmation."""
    refusal_failure: int | None = None


def freeze(memory: Memory) -> dict[str, Any]:
    """Return ``memory`` as JSON values; it holds no secret and no key."""
    return {"version": VERSION} | {one.name: _freeze(getattr(memory, one.name)) for one in fields(Memory)}


def recall(snapshot: dict[str, Any]) -> Memory:
    """Return the memory in a snapshot.

    Raises:
        LocalError: when it is not one of ours.
    """
    try:
        _demand_version(snapshot["version"])
        memory = Memory(**{one.name: _THAW[str(one.type)](snapshot[one.name]) for one in fields(Memory)})
        _demand_request(memory)
    except (KeyError, TypeError, ValueError) as error:
        raise LocalError(
            f"the snapshot of the open transaction cannot be used ({clean_text(str(error))})",
            remedy="It is left behind; the next attempt starts a new transaction with the same key.",
        ) from error
    return memory


def _demand_version(value: Any) -> None:
    if value != VERSION:
        raise ValueError(f"its version is {value!r:.40}")


def _demand_request(memory: Memory) -> None:
    if memory.type not in ANSWER_TO or not memory.transaction_id:
        raise ValueError(
            f"it is about no request: {memory.type.label}, transactionID {memory.transaction_id.hex():.40}"
        )


def _freeze(value: Any) -> Any:
    match value:
        case bytes():
            return value.hex()
        case tuple():
            return [one.hex() for one in value]
        case datetime():
            return value.isoformat()
    return value


def _of(kind: type) -> Callable[[Any], Any]:
    def thaw(value: Any) -> Any:
        if type(value) is not kind:
            raise ValueError(f"{value!r:.40} is no {kind.__name__}")
        return value

    return thaw


def _moment(value: Any) -> datetime:
    found = datetime.fromisoformat(value)
    if found.tzinfo is None:
        raise ValueError(f"{value!r:.40} has no time zone")
    return found


def _optional(thaw: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else thaw(value)


_THAW: Final[dict[str, Callable[[Any], Any]]] = {
    "State": State,
    "BodyType": BodyType,
    "bool": _of(bool),
    "int": _of(int),
    "int | None": _optional(_of(int)),
    "str": _of(str),
    "bytes": bytes.fromhex,
    "tuple[bytes, ...]": lambda value: tuple(bytes.fromhex(one) for one in _of(list)(value)),
    "datetime | None": _optional(_moment),
}
"""From JSON, by the type of the field as it is written above."""
