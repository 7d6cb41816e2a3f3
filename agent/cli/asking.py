"""Asking a person: on the terminal only, each question with the option that answers it for a script."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from agent.cli import output
from agent.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable


def possible() -> bool:
    """Tell whether there is somebody to ask."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask(question: str, *, option: str, default: str | None = None, hidden: bool = False) -> str:
    """Return the answer to ``question``; ``default`` is what Enter means.

    Raises:
        ConfigurationError: nobody can be asked; the remedy names ``option``.
        click.Abort: the person pressed Ctrl-C or Ctrl-D, or the terminal is gone.
    """
    if not possible():
        if default is not None:
            return default
        raise ConfigurationError(f"{question} is not given, and nobody can be asked here", remedy=f"Give {option}.")
    answer: Any = _guarded(
        lambda: click.prompt(
            output.shown(question), default=default, show_default=bool(default), hide_input=hidden, err=True
        )
    )
    return str(answer).strip()


def agree(question: str, *, option: str, default: bool = False) -> bool:
    """Return whether the person agrees; False where nobody can be asked, unless ``option`` was given before."""
    if not possible():
        output.note(f"{question}: nobody can be asked here, so no; {option} says yes")
        return False
    answer: Any = _guarded(lambda: click.confirm(output.shown(question), default=default, err=True))
    return bool(answer)


def _guarded(prompt: Callable[[], Any]) -> Any:
    try:
        return prompt()
    except OSError as error:  # the terminal hung up
        raise click.Abort from error
