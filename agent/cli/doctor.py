"""``enrollctl doctor``: look at everything that an enrollment rests on, and say what to do about each fault."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from agent import structure
from agent.cli import output
from agent.cli.checks import registry
from agent.cli.choosing import json_option
from agent.cli.output import Styled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.cli.checks.registry import Result, Site
    from agent.cli.main import Context

VERSION: Final = 1
"""Of the JSON document."""
MODULES: Final = ("machine", "network", "credentials", "tokens", "consumers")
"""Where the checks are, in the order they are run: what the others rest on first."""
_COLOURS: Final = {"ok": "32", "warning": "33", "failed": "31", "skipped": "2"}
_CHECK: Final = 15
_ABOUT: Final = 10
_STATUS: Final = 7
_MARGIN: Final = 4


@click.command("doctor")
@click.argument("name", required=False)
@json_option
@click.pass_obj
def command(context: Context, name: str | None, *, as_json: bool) -> int:
    """Check everything an enrollment rests on, for all identities or for NAME: what is wrong, and what to do.

    Nothing is changed, and no secret leaves this machine: the CA is asked a harmless question, signed with the
    certificate in use or not protected at all.

    Exit code 0 when nothing failed (warnings do not count), 1 when something did, 2 for the configuration.
    """
    site = registry.Site(config=context.config, only=name)
    if as_json:
        results = tuple(examine(site))
        output.say_json(document(results))
    else:
        results = tuple(shown(examine(site)))
        output.say(summary(results))
    return code(results)


def examine(site: Site) -> Iterator[Result]:
    """Run every check there is."""
    for module in MODULES:
        importlib.import_module(f"agent.cli.checks.{module}")  # registers its checks
    return registry.run(site)


def code(results: Iterable[Result]) -> int:
    """Return the exit code that ``results`` mean."""
    failures = {one.check for one in results if one.status is registry.Status.FAILED}
    if not failures:
        return 0
    return 2 if "configuration" in failures else 1


def document(results: tuple[Result, ...]) -> dict[str, Any]:
    """Return what ``--json`` prints."""
    return {"version": VERSION, "failed": code(results) != 0} | {
        "counts": {one.value: sum(result.status is one for result in results) for one in registry.Status},
        "checks": [structure.to_json(one) for one in results],
    }


def shown(results: Iterable[Result], *, to_error: bool = False) -> Iterator[Result]:
    """Print each result as it comes, and hand it on; ``to_error`` where another result goes to standard output."""
    stream = sys.stderr if to_error else sys.stdout
    check, about, state, what = map(output.shown, ("CHECK", "ABOUT", "STATE", "WHAT"))
    output.write_styled(Styled(f"{check:<{_CHECK}} {about:<{_ABOUT}} {state:<{_STATUS}} {what}"), stream)
    for one in results:
        for text in lines(one, stream):
            output.write_styled(text, stream)
        yield one


def lines(one: Result, stream: Any) -> list[Styled]:
    """Return a result as it is shown: one line, folded on a terminal, and below it what to do."""
    colour = _COLOURS[one.status.value]
    about = one.about if len(one.about) <= _ABOUT else f"{one.about[: _ABOUT - 3]}..."
    start = f"{one.check:<{_CHECK}} {about:<{_ABOUT}} "
    indent = len(start) + _STATUS + 1
    first, *more = output.wrapped(output.shown(one.reason), indent, stream)
    result = [Styled(start, f"{output.shown(one.status.value):<{_STATUS}}", f" {first}", colour)]
    result += [Styled(" " * indent + line) for line in more]
    if one.remedy:
        remedy = output.wrapped(f"{output.shown('what to do')}: {output.sentence(one.remedy)}", _MARGIN, stream)
        result += [Styled(" " * _MARGIN + line) for line in remedy]
    return result


def summary(results: tuple[Result, ...]) -> str:
    """Return the last line: how many of each kind."""
    counts = {one: sum(result.status is one for result in results) for one in registry.Status}
    parts = [f"{count} {output.shown(status.value)}" for status, count in counts.items() if count]
    return f"{len(results)} checks: {', '.join(parts)}"
