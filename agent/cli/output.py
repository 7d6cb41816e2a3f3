"""The rules for what ``enrollctl`` prints, all in this file.

- A result goes to standard output, everything else to standard error, so that a pipe carries results only.
- ``--json`` makes the result one JSON document; nothing else changes.
- The last line of every error says what to do next.
- Colour and the moving line are for terminals; a serial console, a file and ``NO_COLOR`` get plain lines.
- Text is lower case, without a full stop at the end of a line; a remedy is a whole sentence.
- Lines are folded for terminals only. No text can move the cursor: some of it was written by others.
"""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NoReturn

from agent.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PROGRAM = "enrollctl"


def prepare() -> None:
    """Make standard output take every character in every locale, escaped where it must be."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def finish(code: int) -> int:
    """Hand over what was printed; return ``code``, or 1 when the result could not be written."""
    if error := next(iter(_LOST), _hand_over(sys.stdout)):
        problem(f"the result cannot be written: {error.strerror}", "Run the command again with another output.")
        code = code or 1
    _hand_over(sys.stderr)
    return code


def _hand_over(stream: Any) -> OSError | None:
    """Flush ``stream``; return why that failed, unless whoever read it merely went away: no error of ours."""
    try:
        stream.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return None if isinstance(error, BrokenPipeError) else error
    return None


def say(text: str) -> None:
    """Print lines of the result; one line alone is a message, several were made of translated parts."""
    _write(harmless(text if "\n" in text else shown(text)) + "\n")


def shown(text: str) -> str:
    """Return ``text`` in the language of whoever reads it; what is already, or is no message, stays as it is."""
    if not _foreign():
        return text
    from agent.cli.words import translated  # noqa: PLC0415 - only where another language is wanted

    return translated(text)


@cache
def _foreign() -> bool:
    """Tell whether another language than English is wanted (gettext's order of variables, locale(7))."""
    values = (os.environ.get(name) for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"))
    return not next((value for value in values if value), "C").startswith(_ENGLISH)


_ENGLISH: Final = ("C", "POSIX", "en")


def say_now(text: str) -> None:
    """Print a line of the result at once, for programs that run on."""
    say(text)
    sys.stdout.flush()


def say_json(document: Any) -> None:
    """Print the result as one JSON document."""
    _write(json.dumps(document, indent=2) + "\n")


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
    except BrokenPipeError:  # whoever read it has read enough
        return
    except OSError as error:  # what does not fit into the buffer is written at once
        _LOST.append(error)


_LOST: Final[list[OSError]] = []
"""Why a part of the result could not be written, for `finish`."""


def note(text: str) -> None:
    """Print a line beside the result, with the program's name in front."""
    _tell(shown(text))


def advise(remedy: str) -> None:
    """Print what to do next where nothing went wrong."""
    _tell(sentence(remedy), label="what to do", style=_BOLD)


def problem(what: str, remedy: str) -> None:
    """Print what went wrong and, as the last line, what to do next."""
    _tell(shown(what), label="error", style=_RED)
    _tell(sentence(remedy), label="what to do", style=_BOLD)


def end_line() -> None:
    """Leave the line of a question that was not answered."""
    if sys.stderr.isatty():
        with suppress(OSError):  # the terminal is gone
            sys.stderr.write("\n")


def sentence(remedy: str) -> str:
    """Return ``remedy`` as a whole sentence in the reader's language, however whoever wrote it spelled it."""
    remedy = shown(remedy)
    end = "" if remedy.endswith((".", "?", "!")) else "."
    return f"{remedy[:1].upper()}{remedy[1:]}{end}"


def defect(error: Exception) -> int:
    """Print what only we can mend, with all that we need to know for that; return the exit code."""
    import traceback  # noqa: PLC0415 - hopefully never

    traceback.print_exception(error)
    problem(
        f"a defect of {PROGRAM}: {type(error).__name__}: {error}",
        "Report this with the lines above; nothing on disk was lost, and trying again is safe.",
    )
    return 1


_RED: Final = "\x1b[31m"
_BOLD: Final = "\x1b[1m"


def _tell(text: str, *, label: str = "", style: str = "") -> None:
    label = shown(label)
    start = f"{PROGRAM}: {label}: " if label else f"{PROGRAM}: "
    lines = folded(start + harmless(text), sys.stderr)
    if styled(sys.stderr) and label:
        lines = lines.replace(f"{label}:", f"{style}{label}:\x1b[0m", 1)
    with suppress(BrokenPipeError):  # nobody reads it; the work goes on all the same
        sys.stderr.write(lines + "\n")
        sys.stderr.flush()


def harmless(text: str) -> str:
    """Return ``text`` with every character escaped that is not for printing; lines stay lines."""
    if text.isprintable():
        return text
    return "\n".join(line if line.isprintable() else "".join(map(_escaped, line)) for line in text.split("\n"))


def _escaped(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")


def folded(text: str, stream: Any) -> str:
    """Return ``text`` in lines that fit the terminal ``stream``, further ones indented; as it is for a file or pipe."""
    if not stream.isatty():
        return text
    import textwrap  # noqa: PLC0415 - for terminals only

    lines = (
        textwrap.wrap(line, width(stream), subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
        for line in text.split("\n")
    )
    return "\n".join("\n".join(parts) for parts in lines)


def wrapped(text: str, indent: int, stream: Any) -> list[str]:
    """Return ``text`` in lines that fit beside a margin of ``indent`` on a terminal; one line for a file or pipe."""
    text = harmless(text)
    if not stream.isatty():
        return [text]
    import textwrap  # noqa: PLC0415 - for terminals only

    room = max(width(stream) - indent, _NARROWEST)
    return textwrap.wrap(text, room, break_on_hyphens=False) or [""]


def facts(pairs: Iterable[tuple[str, str | None]], margin: int, stream: Any = None) -> str:
    """Return a fact a line, its name in a margin of so many columns; on a terminal ``stream`` folded beside it.

    What is None or empty is left out; a fact without a name belongs to the one before.
    """
    lines = []
    for name, value in pairs:
        if value:
            start = f"{shown(name)}:" if name else ""
            first, *more = [value] if stream is None else wrapped(value, margin, stream)
            lines += [f"{start:<{margin}}{first}", *(" " * margin + line for line in more)]
    return "\n".join(lines)


@frozen
class Styled:
    """A line of which the middle part may be coloured (``colour`` as in SGR, ISO 6429)."""

    before: str
    middle: str = ""
    after: str = ""
    colour: str = ""


def write_styled(line: Styled, stream: Any) -> None:
    """Print a line at once, coloured where ``stream`` is a terminal that shows it."""
    middle = harmless(line.middle)
    if line.colour and styled(stream):
        middle = f"\x1b[{line.colour}m{middle}\x1b[0m"
    with suppress(BrokenPipeError):  # nobody reads it; the work goes on all the same
        stream.write(f"{harmless(line.before)}{middle}{harmless(line.after)}".rstrip() + "\n")
        stream.flush()


def width(stream: Any) -> int:
    """Return the columns of the terminal ``stream``; 80 where it does not say, as a serial console."""
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        columns = 0
    return max(columns, _LEAST_WIDTH) if columns else _WIDTH


_WIDTH: Final = 80
_LEAST_WIDTH: Final = 40


def confirm(question: str, *, option: str) -> None:
    """Ask a person to confirm; end the program unless he does. ``option`` is how a script says yes."""
    import click  # noqa: PLC0415 - this module is imported where click is not wanted yet

    if not sys.stdin.isatty():
        stop("nobody can be asked here", f"Repeat the command with {option}.", 2)
    if not click.confirm(f"{PROGRAM}: {question}", err=True):
        stop("not confirmed, nothing was done", "Repeat the command and answer yes.", 1)


def stop(what: str, remedy: str, code: int) -> NoReturn:
    """Print a problem and end the program with ``code``."""
    problem(what, remedy)
    raise SystemExit(code)


def styled(stream: Any) -> bool:
    """Tell whether ``stream`` is a terminal that shows colour."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb" and "NO_COLOR" not in os.environ


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, yielding: int | None = None) -> str:
    """Return rows under their headings in aligned columns, two blanks between; the last column is not padded.

    On a terminal the column numbered ``yielding`` is cut where the lines would be too long.
    """
    lines = [tuple(map(shown, headings)), *(tuple(harmless(cell) for cell in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    if yielding is not None and sys.stdout.isatty():
        excess = sum(widths) + 2 * (len(widths) - 1) - width(sys.stdout)
        widths[yielding] = max(widths[yielding] - max(excess, 0), len(lines[0][yielding]), _NARROWEST)
    return "\n".join(
        "  ".join(cut(cell, size).ljust(size) for cell, size in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


_NARROWEST: Final = 12


def cut(cell: str, size: int) -> str:
    """Return ``cell`` cut to ``size`` characters, with dots where something is missing."""
    return cell if len(cell) <= size else f"{cell[: size - 3]}..."
