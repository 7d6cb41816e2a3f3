"""``enrollctl token``: what a token is, what it can do, and whose the keys on it are."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import click

from agent import structure
from agent.cli import desk, output
from agent.cli.choosing import json_option
from agent.config import load
from agent.contract import VERDICTS, Verdict
from agent.errors import ConfigurationError, PinError, StateError
from agent.frozen import frozen
from agent.store.generations import IdentityStore
from agent.store.token_keys import KEY_DESTROYED, TokenKeys
from agent.supervisor.secrets import Wanted, read_secret
from hsm import uri

if TYPE_CHECKING:
    from agent.cli.main import Context
    from agent.settings import Settings

_HEADINGS: Final = ("KEY", "ALGORITHM", "CERTIFICATE", "USED BY")


@frozen(kw_only=True)
class TokenTrouble:
    """Why a token tells nothing."""

    name: str
    text: str
    remedy: str
    verdict: Verdict


@frozen(kw_only=True)
class Users:
    """Which identity uses a key, by the key's CKA_ID; ``unread`` and ``remedy`` say why some may be missing."""

    by_key: dict[bytes, str]
    unread: str
    remedy: str


@click.group("token")
def command() -> None:
    """See the tokens, what they can do, and the keys on them."""


@command.command("list")
@click.option("--remove-orphans", is_flag=True, help="Destroy the keys of ours that no credential or request uses.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
@click.pass_obj
def list_(context: Context, *, remove_orphans: bool, yes: bool, as_json: bool) -> int:
    """Show every token of the configuration with its keys, and which of these nobody uses.

    A key that this machine does not use may be another machine's, when several share a token: look before you remove.
    """
    settings = load(context.config)
    if not settings.tokens:
        output.note("no token is configured")
    return _show(settings, list(settings.tokens), as_json=as_json, insist=False, remove=remove_orphans, sure=yes)


@command.command("probe")
@click.argument("name")
@json_option
@click.pass_obj
def probe(context: Context, name: str, *, as_json: bool) -> int:
    """Log in to the token NAME and show what it can do.

    The PIN is tried even if the token refused it before: a wrong one may lock the token.
    """
    settings = load(context.config)
    if name not in settings.tokens:
        known = ", ".join(sorted(settings.tokens))
        remedy = f"Name one of: {known}." if known else "Add it under `tokens` in the configuration."
        raise ConfigurationError(f"there is no token {name!r}", remedy=remedy)
    return _show(settings, [name], as_json=as_json, insist=True, remove=False, sure=True)


def _show(settings: Settings, names: list[str], *, as_json: bool, insist: bool, remove: bool, sure: bool) -> int:
    documents = []
    code = 0
    for name in names:
        answer, users = _asked(settings, name, insist=insist)
        orphans = [] if "report" not in answer else [one["reference"] for one in _orphans(answer["report"], users)]
        if remove and orphans and users.unread:
            code = 1
            output.problem(
                f"{name}: nothing is removed, because not every credential can be read: {users.unread}", users.remedy
            )
        elif remove and orphans:
            for reference in orphans:
                output.note(f"{name}: nobody here uses the key {_called(reference)}")
            if not sure:
                output.confirm(f"destroy what nobody here uses on {name} for good?", option="--yes")
            answer, users = _asked(settings, name, insist=insist, destroy=orphans)
        documents.append(_document(name, answer, users))
        if "report" not in answer:
            code = VERDICTS[Verdict(answer["verdict"])].command
            output.problem(f"{name}: {answer['text']}", answer["remedy"])
        elif not as_json:
            output.say(_words(answer["report"], users))
    if as_json:
        output.say_json(documents)
    return code


def _asked(
    settings: Settings, name: str, *, insist: bool, destroy: list[str] | None = None
) -> tuple[dict[str, Any], Users]:
    """Ask the token, and only then who uses its keys: each key was written down before it was made."""
    answer = _ask(settings, name, insist=insist, destroy=destroy)
    return answer, _users(settings)


def _ask(settings: Settings, name: str, *, insist: bool, destroy: list[str] | None = None) -> dict[str, Any]:
    by_hand = "Write `prompt` in its place in the configuration for as long, and type it in."
    wanted = Wanted("PIN", f"the PIN of the token {name}", f"Find out the user PIN of {name}", PinError, by_hand)
    pin = read_secret(settings.tokens[name].pin, ask=_prompt if sys.stdin.isatty() else None, wanted=wanted)
    return desk.ask(settings, name, pin=pin.decode(errors="replace"), insist=insist, destroy=destroy or [])


def _prompt(question: str) -> str:
    answer: Any = click.prompt(question, hide_input=True, err=True)
    return str(answer)


def _users(settings: Settings) -> Users:
    by_key: dict[bytes, str] = {}
    unread = remedy = ""
    for name in settings.identities:
        store = IdentityStore(settings.state_directory, name)
        references: list[str | None] = list(TokenKeys(store.directory).load())
        try:
            references.append(store.transaction.key_reference)
            references += [one.key_reference for one in store.generations if KEY_DESTROYED not in one.marks]
        except StateError as error:
            output.note(f"note: not every credential of {name} can be read: {error}")
            unread, remedy = str(error), error.remedy
        for reference in references:
            key_id = uri.parse(reference).id if reference and uri.is_token_key(reference) else None
            if key_id is not None:
                by_key[key_id] = name
    return Users(by_key=by_key, unread=unread, remedy=remedy)


def _called(reference: str) -> str:
    """Return what a key is called: its label, else its CKA_ID."""
    where = uri.parse(reference)
    return where.object or (where.id or b"").hex()


def _user(key: dict[str, Any], users: Users) -> str | None:
    return users.by_key.get(uri.parse(key["reference"]).id or b"")


def _orphans(report: dict[str, Any], users: Users) -> list[dict[str, Any]]:
    return [one for one in report["keys"] if one["ours"] and _user(one, users) is None]


def _document(name: str, answer: dict[str, Any], users: Users) -> dict[str, Any]:
    if "report" not in answer:
        return structure.to_json(TokenTrouble(name=name, **answer))
    keys = [one | {"identity": _user(one, users)} for one in answer["report"]["keys"]]
    return dict(answer["report"]) | {
        "keys": keys,
        "orphans": [one["reference"] for one in _orphans(answer["report"], users)],
    }


def _words(report: dict[str, Any], users: Users) -> str:
    lines = [
        f"{report['name']}: {report['label']}, serial {report['serial']}, {report['manufacturer']} {report['model']}",
        f"    makes: {', '.join(report['algorithms']) or 'no keys'}",
        f"    signs: {', '.join(report['signatures']) or 'nothing'}",
    ]
    rows = []
    for one in report["keys"]:
        mine = "nobody: an orphan" if one["ours"] else "not made here"
        rows.append(
            (
                _called(one["reference"]),
                one["algorithm"] or "-",
                "yes" if one["certificate"] else "no",
                _user(one, users) or mine,
            )
        )
    lines.append(output.table(_HEADINGS, rows) if rows else "    no keys")
    return "\n".join(lines)
