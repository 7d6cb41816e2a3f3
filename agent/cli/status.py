"""``enrollctl status``: one line an identity."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from agent import structure
from agent.cli import output
from agent.cli.choosing import chosen, json_option
from agent.cli.sight import REMEDIES, see
from agent.config import load

if TYPE_CHECKING:
    from agent.cli.main import Context
    from agent.overview import Overview

_TROUBLES = frozenset({"expiring", "expired", "revoked", "on-hold"})
"""States that need somebody though no attempt failed."""
_MARGIN = 14
"""Columns for the names of facts."""
_HEADINGS = ("NAME", "STATE", "SUBJECT", "EXPIRES", "NEXT")


@click.command("status")
@click.argument("name", required=False)
@json_option
@click.option("--prometheus", is_flag=True, help="Print figures for Prometheus (node_exporter's textfile collector).")
@click.pass_obj
def command(context: Context, name: str | None, *, as_json: bool, prometheus: bool) -> int:
    """Show the state of every identity, or of NAME in full.

    enrolld is asked where it runs, its files are read where it does not: the CA hears nothing and nothing is changed.
    """
    settings = load(context.config)
    names = [chosen(settings, name)] if name else list(settings.identities)
    now = datetime.now(UTC)
    sight = see(settings, names, now)
    seen = list(sight.seen)
    if prometheus:
        from agent import metrics  # noqa: PLC0415 - seldom needed

        output.say(metrics.text(seen).rstrip("\n"))
    elif as_json:
        output.say_json([structure.to_json(one) for one in seen])
    elif name:
        output.say(details(seen[0], now, kept=sight.kept))
    else:
        output.say("\n".join((overview_table(seen, now, kept=sight.kept), *troubles(seen, now))))
    if REMEDIES[sight.daemon] and not (as_json or prometheus):
        output.note(f"warning: {sight.daemon}, and without it nobody renews: {REMEDIES[sight.daemon]}")
    return 0


def overview_table(seen: list[Overview], now: datetime | None = None, *, kept: bool = False) -> str:
    """Return the table of all identities; ``kept``: enrolld runs."""
    now = now or datetime.now(UTC)
    headings, columns = list(_HEADINGS), [_row(one, now, kept=kept) for one in seen]
    if any(one.consumers for one in seen):
        headings.insert(-1, "USED BY")
        columns = [(*row[:-1], _users(one), row[-1]) for row, one in zip(columns, seen, strict=True)]
    return output.table(headings, columns, yielding=_HEADINGS.index("SUBJECT"))


def _row(one: Overview, now: datetime, *, kept: bool) -> tuple[str, ...]:
    return (
        one.name,
        one.state,
        one.subject or "-",
        output.shown(span(one.not_after, now)),
        output.shown(_next(one, now, kept=kept)),
    )


def _users(one: Overview) -> str:
    """Return how many consumers use the certificate: "2 of 2"."""
    using = sum(each.error is None for each in one.consumers)
    return f"{using} of {len(one.consumers)}" if one.consumers else "-"


def details(one: Overview, now: datetime, *, kept: bool = False) -> str:
    """Return all that is known of one identity, a fact a line; ``kept``: enrolld runs."""
    confirmed = {True: "yes", False: "no, the CA did not acknowledge it", None: None}[one.confirmed]
    facts = {
        "identity": one.name,
        "state": one.state,
        "that is": _shown(_words(one)[0]),
        "subject": one.subject,
        "serial": one.serial,
        "valid from": _moment(one.not_before, now),
        "valid until": _moment(one.not_after, now),
        "generation": one.generation,
        "confirmed": _shown(confirmed),
        "consumers": _shown(_consumers(one, now)),
        "open request": one.open_request and f"{one.open_request}, {one.open_state}",
        "attempts": _shown(f"{one.attempts} failed one after another") if one.attempts > 1 else None,
        "last error": one.last_error and f"{_at(one.failed_at, now)}{_shown(one.last_error)}",
        "what to do": _remedy(one),
        "next": _shown(_next(one, now, kept=kept)),
        "authority": _shown(_refresh(one, now)),
    }
    pairs = ((key, None if value is None else str(value)) for key, value in facts.items())
    return output.facts(pairs, _MARGIN, sys.stdout)


def _words(one: Overview) -> tuple[str | None, str | None]:
    """Return what the state means, and what is to be done about it, if anything; None where an error says more."""
    from agent.cli.state_words import NOTHING, STATES  # noqa: PLC0415 - the table has no room for them

    words = STATES.get(one.state)
    if words is None:
        return None, None
    return words.meaning, None if words.remedy == NOTHING else words.remedy.replace("NAME", one.name)


def _shown(text: str | None) -> str | None:
    return None if text is None else output.shown(text)


def _remedy(one: Overview) -> str | None:
    if one.last_error:
        return output.sentence(one.remedy) if one.remedy else None
    remedy = _words(one)[1]
    return None if remedy is None else output.sentence(remedy)


def _consumers(one: Overview, now: datetime) -> str | None:
    """Return who uses the credential and since when, and who does not."""
    words = [
        f"{each.target}: {'since ' + span(each.since, now) if each.error is None else f'not yet: {each.error}'}"
        for each in one.consumers
    ]
    return "; ".join(words) or None


def troubles(seen: list[Overview], now: datetime) -> list[str]:
    """Return what is wrong with each identity, or went wrong last, and what to do about it."""
    lines = []
    for one in seen:
        if one.last_error:
            when = f"failed {span(one.failed_at, now)}: " if one.failed_at else ""
            lines += ["", f"{one.name}: {output.shown(when)}{output.shown(one.last_error)}"]
            lines.append(f"    {output.shown('what to do')}: {output.sentence(one.remedy or '-')}")
        elif one.state in _TROUBLES:
            meaning, remedy = _words(one)
            lines += ["", f"{one.name}: {output.shown(meaning or '-')}"]
            lines.append(f"    {output.shown('what to do')}: {output.sentence(remedy or '-')}")
    return [output.folded(line, sys.stdout) for line in lines]


def _next(one: Overview, now: datetime, *, kept: bool) -> str:
    """Return what happens next, or the command that makes it happen where enrolld does not."""
    if one.running:
        return "enrolld is at work on it"
    if one.state == "revoked":
        return f"enrollctl enroll {one.name}"
    if kept and one.next_action and one.next_action_at:
        at = max(datetime.fromisoformat(one.next_action_at), now)
        return f"{one.next_action.partition(',')[0]} {span(at.isoformat(), now)}"
    if one.next_action_at is None or (not one.usable and one.open_request is None):
        return "-" if one.usable else f"enrollctl enroll {one.name}"
    if datetime.fromisoformat(one.next_action_at) > now:
        return f"{one.next_action} {span(one.next_action_at, now)}"
    return f"enrollctl {one.open_request or 'renew'} {one.name}"


def _refresh(one: Overview, now: datetime) -> str | None:
    """Say when the authority was asked what changed, and when it is again."""
    if one.refreshed_at is None and one.refresh_at is None and one.refresh_error is None:
        return None
    asked = f"asked what changed {span(one.refreshed_at, now)}" if one.refreshed_at else "not asked yet what changed"
    again = f", again {span(one.refresh_at, now)}" if one.refresh_at else ""
    failed = f"; the last attempt failed: {one.refresh_error}" if one.refresh_error else ""
    return f"{asked}{again}{failed}"


def _at(moment: str | None, now: datetime) -> str:
    return "" if moment is None else f"{output.shown(span(moment, now))}: "


def _moment(moment: str | None, now: datetime) -> str | None:
    if moment is None:
        return None
    return f"{datetime.fromisoformat(moment):%Y-%m-%d %H:%M:%S} UTC ({output.shown(span(moment, now))})"


def span(moment: str | None, now: datetime) -> str:
    """Return "in 3 days" or "2 hours ago"; "-" for nothing."""
    if moment is None:
        return "-"
    seconds = (datetime.fromisoformat(moment) - now).total_seconds()
    words = _amount(abs(seconds))
    return f"in {words}" if seconds >= 0 else f"{words} ago"


def _amount(seconds: float) -> str:
    for size, words in ((86_400, "{count} days"), (3600, "{count} hours"), (60, "{count} minutes")):
        if seconds >= 2 * size:
            return words.format(count=int(seconds // size))
    whole = int(seconds)
    return f"{whole} second" + ("" if whole == 1 else "s")
