"""``python -I -m agent.worker.token_desk``: look at one token, in a process of its own, for ``enrollctl token``.

One JSON document on standard input (:class:`Inquiry`), one on standard output: a :class:`TokenReport` or a
:class:`Look`, or what went wrong and what to do. The PIN is in the document, which is a pipe.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent import structure
from agent.contract import VERDICTS, Verdict
from agent.errors import AgentError
from agent.frozen import frozen
from agent.settings import TokenSettings  # noqa: TC001 - the document is read by its types
from agent.worker.keyring import Keyring
from agent.worker.verdicts import outcome_of
from hsm.errors import KeyStoreError

if TYPE_CHECKING:
    from hsm.pkcs11 import TokenKeyStore

_LARGEST: Final = 1_048_576


@frozen(kw_only=True)
class Inquiry:
    """``look``: nobody logs in, and only what the token tells everybody is asked (:class:`Look`).

    ``destroy``: references of keys to destroy first; ``insist``: a person is there, so the PIN is tried anyhow.
    """

    name: str
    token: TokenSettings
    state_directory: Path
    look: bool = False
    pin: str = ""
    insist: bool = False
    destroy: tuple[str, ...] = ()


@frozen(kw_only=True)
class Look:
    """What a token tells of itself to whoever has no PIN (:class:`hsm.module.TokenFacts`)."""

    label: str
    serial: str
    model: str
    manufacturer: str
    write_protected: bool
    pin_is_set: bool
    pin_locked: bool
    pin_nearly_locked: bool
    pin_was_wrong: bool


@frozen(kw_only=True)
class KeyReport:
    """A private key on the token."""

    reference: str
    ours: bool
    algorithm: str | None
    certificate: bool
    """Whether one stands beside it."""


@frozen(kw_only=True)
class TokenReport:
    """What a token is, what it can do, and the keys on it."""

    name: str
    label: str
    serial: str
    model: str
    manufacturer: str
    write_protected: bool
    algorithms: tuple[str, ...]
    signatures: tuple[str, ...]
    keys: tuple[KeyReport, ...]


def main() -> int:
    """Answer one inquiry; return the worker's exit code for how it went."""
    output = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever the module prints is not our answer
    document: dict[str, Any]
    code = 0
    try:
        inquiry = structure.from_json(Inquiry, json.loads(sys.stdin.buffer.read(_LARGEST)))
        document = (
            {"look": structure.to_json(_look(inquiry))}
            if inquiry.look
            else {"report": structure.to_json(_report(inquiry))}
        )
    except (AgentError, KeyStoreError) as error:
        outcome = outcome_of(error, by_secret=False)
        document = {"text": outcome.text, "remedy": outcome.remedy, "verdict": outcome.verdict.value}
        code = VERDICTS[Verdict(outcome.verdict)].worker or 1
    with os.fdopen(output, "w") as stream:
        json.dump(document, stream)
    return code


def _look(inquiry: Inquiry) -> Look:
    facts = Keyring(inquiry.state_directory, {inquiry.name: inquiry.token}).token(inquiry.name).facts()
    return Look(**{one.name: getattr(facts, one.name) for one in fields(Look)})


def _report(inquiry: Inquiry) -> TokenReport:
    name = inquiry.name
    keys = Keyring(inquiry.state_directory, {name: inquiry.token}, {name: inquiry.pin.encode()}, insist=inquiry.insist)
    store: TokenKeyStore = keys.token(name)
    facts, able = store.facts(), store.capabilities()
    for reference in inquiry.destroy:
        store.destroy(reference)
    return TokenReport(
        name=name,
        label=facts.label,
        serial=facts.serial,
        model=facts.model,
        manufacturer=facts.manufacturer,
        write_protected=facts.write_protected,
        algorithms=tuple(one.value for one in able.algorithms),
        signatures=tuple(one.value for one in able.schemes),
        keys=tuple(
            KeyReport(
                reference=one.reference,
                ours=one.ours,
                algorithm=one.algorithm and one.algorithm.value,
                certificate=one.certificate is not None,
            )
            for one in store.inventory()
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
