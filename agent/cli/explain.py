"""``enrollctl explain``: what a word on the screen or in the journal means, and what to do."""

from __future__ import annotations

import difflib
import sys
from typing import Final

import click

from agent import structure
from agent.cli import output
from agent.cli.choosing import json_option
from agent.cli.glossary import Entry, entries
from agent.errors import ConfigurationError

_LISTED: Final = 3


@click.command("explain")
@click.argument("term", nargs=-1)
@json_option
def command(term: tuple[str, ...], *, as_json: bool) -> int:
    """Say what TERM means and what to do: a state, a failure of the CA, an event, a setting, an exit code, a number.

    Without TERM every word it knows is listed. A MESSAGE_ID of the journal is explained too.
    """
    known = tuple(entries())
    wanted = " ".join(term)
    found = look_up(wanted, known) if wanted else known
    if not found:
        raise ConfigurationError(f"nothing is called {wanted!r} here", remedy=_remedy(wanted, known))
    if as_json:
        output.say_json([structure.to_json(one) for one in found])
    elif wanted:
        output.say("\n\n".join(_shown(one) for one in found))
    else:
        output.say(output.table(("TERM", "WHAT IT IS"), [(one.term, one.kind) for one in found]))
    return 0


def look_up(wanted: str, known: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """Return every entry that is called so; letter case, underscores and a leading CMP name do not matter."""
    folded = _folded(wanted)
    exact = tuple(one for one in known if _folded(one.term) == folded)
    return exact or tuple(one for one in known if folded in map(_folded, one.aliases))


def _folded(text: str) -> str:
    return text.casefold().strip().replace("_", "-").replace(" ", "-")


def _remedy(wanted: str, known: tuple[Entry, ...]) -> str:
    names = {_folded(name): name for one in known for name in (one.term, *one.aliases)}
    near = difflib.get_close_matches(_folded(wanted), names, n=_LISTED, cutoff=0.6)
    if near:
        return f"Perhaps {' or '.join(names[one] for one in near)} is meant; 'enrollctl explain' lists all."
    return "'enrollctl explain' lists every word that is explained."


def _shown(one: Entry) -> str:
    lines = [f"{one.term} ({one.kind})", f"    {one.meaning}"]
    if one.remedy:
        lines.append(f"    what to do: {output.sentence(one.remedy)}")
    return "\n".join(output.folded(line, sys.stdout) for line in lines)
