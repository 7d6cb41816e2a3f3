"""Every term that a person may meet on a screen or in the journal, collected from the tables that the program works by.

Nothing is explained here that has its words elsewhere: a table that grows is explained at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Final, get_origin

from agent.cli import token_codes
from agent.cli.main import EXITS
from agent.cli.state_words import STATES
from agent.cmp.failures import FAILURES, STATUSES, PKIFailureInfo, RetryClass
from agent.contract import VERDICTS
from agent.events import EVENTS, Event
from agent.frozen import frozen
from agent.settings import Quirk, Settings
from agent.structure import entry_type, members


@frozen(kw_only=True)
class Entry:
    """One term. ``aliases`` are other ways to write it: a number, a MESSAGE_ID, the last part of a key."""

    term: str
    kind: str
    meaning: str
    remedy: str = ""
    aliases: tuple[str, ...] = ()


RETRIES: Final[dict[RetryClass, str]] = {
    RetryClass.FINAL: "trying again changes nothing",
    RetryClass.RETRY_LATER: "it is tried again later",
    RetryClass.NEW_TRANSACTION: "it is tried once more, in a new transaction",
    RetryClass.FIX_CLOCK_THEN_RETRY: "it is tried again once the clock is right",
    RetryClass.OTHER_CA: "the next address or CA is tried",
    RetryClass.NEW_KEY: "it is tried again with a new key",
    RetryClass.SUCCESS_IF_SAME: "what was wanted may be done already; that is checked",
}


def entries() -> Iterator[Entry]:
    """Yield every term."""
    for source in (_states, _verdicts, _failures, _statuses, _events, _token_codes, _exits, _settings):
        yield from source()


def _states() -> Iterator[Entry]:
    for name, words in STATES.items():
        yield Entry(term=name, kind="state of an identity", meaning=words.meaning, remedy=words.remedy)


def _verdicts() -> Iterator[Entry]:
    for verdict, rule in VERDICTS.items():
        yield Entry(
            term=verdict.value,
            kind="end of an attempt",
            meaning=f"{rule.meaning}; enrollctl ends with exit code {rule.command}",
            remedy="" if rule.command == 0 else "'enrollctl status NAME' says what to do in this very case.",
        )


def _failures() -> Iterator[Entry]:
    for bit in PKIFailureInfo:
        rule = FAILURES[bit]
        yield Entry(
            term=bit.label,
            kind=f"PKIFailureInfo, bit {bit.value}",
            meaning=f"{rule.meaning}; {RETRIES[rule.retry]}",
            remedy=rule.remedy,
            aliases=(str(bit.value), f"bit {bit.value}"),
        )


def _statuses() -> Iterator[Entry]:
    for status, meaning in STATUSES.items():
        yield Entry(
            term=status.label,
            kind=f"PKIStatus {status.value}",
            meaning=meaning,
            aliases=(str(status.value), f"status {status.value}"),
        )


def _events() -> Iterator[Entry]:
    for event in Event:
        rule = EVENTS[event]
        yield Entry(
            term=event.value,
            kind="event in the journal",
            meaning=rule.help,
            remedy=f"Show all of them: 'journalctl MESSAGE_ID={rule.message_id}'.",
            aliases=(rule.message_id, f"message_id={rule.message_id}"),
        )


def _token_codes() -> Iterator[Entry]:
    for name, number, meaning in token_codes.meanings():
        words = {"token": "NAME", "doing": "used it", "code": name}
        short = name.removeprefix("CKR_")
        yield Entry(
            term=name,
            kind=f"code of a PKCS#11 module, {number:#x}",
            meaning=f"the token {meaning.text.format_map(words)}",
            remedy=meaning.remedy.format_map(words),
            aliases=(short, short.replace("_", ""), f"{number:#x}", f"{number:#010x}"),
        )


def _exits() -> Iterator[Entry]:
    for number, meaning in EXITS.items():
        yield Entry(term=f"exit code {number}", kind="exit code of enrollctl", meaning=meaning, aliases=(str(number),))


def _settings() -> Iterator[Entry]:
    yield from _section(Settings, ())


def _section(cls: type, path: tuple[str, ...]) -> Iterator[Entry]:
    from agent.config.reference.describe import section_of  # noqa: PLC0415 - pulls in the loader

    for key, member in members(cls).items():
        here = (*path, key)
        yield Entry(
            term=".".join(here),
            kind="setting of enrolld.yaml",
            meaning=str(member.metadata["doc"]),
            aliases=(key,),
        )
        inner = section_of(member.type)
        if is_dataclass(inner) and isinstance(inner, type):
            yield from _section(inner, (*here, "NAME") if get_origin(member.type) is dict else here)
        elif get_origin(member.type) is tuple and entry_type(member.type) is Quirk:
            for quirk in Quirk:
                yield Entry(term=quirk.value, kind="quirk of an authority", meaning=str(member.metadata["doc"]))
