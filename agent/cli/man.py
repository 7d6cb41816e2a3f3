"""Manual pages and shell completion, made from the code: ``python -m agent.cli.man`` writes them.

docs/man/ has the pages in troff (man(7)), config/completion/ the scripts; the package installs both. Runtime never
imports this module. A test holds the files to it and the pages to groff's warnings.
"""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_origin

import click
from click.shell_completion import get_completion_class

from agent import RELEASED, __version__, structure
from agent.cli import output
from agent.cli.main import EXITS, cli
from agent.cli.state_words import STATES
from agent.config.reference.describe import default, form, section_of
from agent.contract import VERDICTS
from agent.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = ROOT / "docs" / "man"
COMPLETION: Final = ROOT / "config" / "completion"
_SHELLS: Final = {"bash": "enrollctl.bash", "zsh": "_enrollctl", "fish": "enrollctl.fish"}
_VARIABLE: Final = "_ENROLLCTL_COMPLETE"

FILES: Final = {
    "/etc/enrolld/enrolld.yaml": "the configuration, enrolld.yaml(5)",
    "/var/lib/enrolld": "keys, certificates and open requests, one directory an identity",
    "/run/enrolld": "the control socket of the daemon",
}
ENVIRONMENT: Final = {
    "NO_COLOR": "when set, nothing is coloured and no line moves",
    "TERM": "with the value dumb, the same",
    "CREDENTIALS_DIRECTORY": "where systemd passes credentials that the configuration names by credential:NAME",
}


def documents() -> dict[Path, str]:
    """Return the text of every generated file by its path."""
    pages = {"enrollctl.1": enrollctl(), "enrolld.8": enrolld(), "enrolld.yaml.5": configuration()}
    return {PAGES / name: text for name, text in pages.items()} | {
        COMPLETION / name: _completion(shell) for shell, name in _SHELLS.items()
    }


def main() -> None:
    """Write the files."""
    for path, text in documents().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def enrollctl() -> str:
    """Return the page of enrollctl."""
    helps = cli.context_settings["help_option_names"]
    with click.Context(cli, info_name=output.PROGRAM, help_option_names=helps) as context:
        parts = [
            _head("enrollctl", 1, "get and keep certificates for base stations"),
            ".SH SYNOPSIS\n.B enrollctl\n[\\fIOPTIONS\\fR] \\fICOMMAND\\fR [\\fIARGUMENTS\\fR]\n",
            _section("DESCRIPTION", _paragraphs(cli.help)),
            _section("OPTIONS", _options(cli, context)),
            ".SH COMMANDS\n" + "".join(_commands(cli, context)),
        ]
    states = _tagged((name, f"{one.meaning}. {one.remedy}") for name, one in STATES.items())
    ends = _tagged((one.value, rule.meaning) for one, rule in VERDICTS.items())
    return "".join((
        *parts,
        _section("EXIT STATUS", _tagged((str(number), meaning) for number, meaning in EXITS.items())),
        _section("STATES", states + _paragraph("Where no certificate can be used, how the last attempt ended:") + ends),
        _section("ENVIRONMENT", _tagged(ENVIRONMENT.items())),
        _section("FILES", _tagged(FILES.items())),
        _see_also("enrolld(8)", "enrolld.yaml(5)", "journalctl(1)", "swanctl(8)"),
    ))  # fmt: skip


def enrolld() -> str:
    """Return the page of the daemon."""
    return "".join((
        _head("enrolld", 8, "keep certificates alive, unattended"),
        ".SH SYNOPSIS\n.B enrolld\n[\\fIOPTIONS\\fR]\n",
        _section(
            "DESCRIPTION",
            _paragraph(
                "enrolld looks after every identity of its configuration: it enrolls, goes on with open requests, "
                "renews what is due, and brings new certificates to those that use them. Everything it knows is on "
                "disk: it may be stopped, killed and started at any time, and goes on where it stood."
            )
            + _paragraph("Work is done by a worker process for each job, which is gone when the job is done."),
        ),
        _section("OPTIONS", f".nf\n{_escaped(_daemon_help())}\n.fi\n"),
        _section(
            "SIGNALS",
            _tagged([("SIGTERM, SIGINT", "end; a request that is under way stays open on disk and goes on later")]),
        ),
        _section("FILES", _tagged(FILES.items())),
        _see_also("enrollctl(1)", "enrolld.yaml(5)", "systemctl(1)", "journalctl(1)"),
    ))  # fmt: skip


def configuration() -> str:
    """Return the page of the configuration."""
    return "".join((
        _head("enrolld.yaml", 5, "configuration of enrolld"),
        _section(
            "DESCRIPTION",
            _paragraph(
                "The file is YAML. Keys are written as below, relative paths start in the directory of the file, and "
                "an unknown key is refused with the nearest known one named. 'enrollctl config check' names every "
                "mistake with file, line, key and remedy."
            )
            + _paragraph("Secrets never stand in the file; it says where they come from."),
        ),
        *_settings(Settings, ()),
        _section("FILES", _tagged(FILES.items())),
        _see_also("enrollctl(1)", "enrolld(8)"),
    ))  # fmt: skip


def _settings(cls: type, path: tuple[str, ...]) -> Iterator[str]:
    """Yield a section for the keys of ``cls``, and one for each section below."""
    known = structure.members(cls)
    title = ".".join(path) or "TOP LEVEL"
    yield _section(title, _paragraphs(cls.__doc__) + _tagged((key, _setting(one)) for key, one in known.items()))
    for key, one in known.items():
        inner = section_of(one.type)
        if inner is not None:
            named = ("NAME",) if get_origin(one.type) is dict else ()
            yield from _settings(inner, (*path, key, *named))


def _setting(member: structure.Member) -> str:
    preset = default(member)
    text = f"{member.metadata['doc']}. Takes: {form(member)}."
    if member.required:
        return f"{text} Must be given."
    return text if preset is None or preset == [] else f"{text} Default: {preset}."


def _commands(group: click.Group, context: click.Context, path: tuple[str, ...] = ()) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None:
            continue
        with click.Context(command, info_name=name, parent=context) as inner:
            usage = " ".join((output.PROGRAM, *path, name, *command.collect_usage_pieces(inner)))
            yield f".SS {_escaped(usage)}\n{_paragraphs(command.help)}{_options(command, inner)}"
            if isinstance(command, click.Group):
                yield from _commands(command, inner, (*path, name))


def _options(command: click.Command, context: click.Context) -> str:
    records = (one.get_help_record(context) for one in command.get_params(context))
    return _tagged(record for record in records if record is not None and "--help" not in record[0])


def _daemon_help() -> str:
    from agent.supervisor.main import main as daemon  # noqa: PLC0415 - what it loads is for this only

    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        daemon(["--help"])
    return shown.getvalue().partition("\n\n")[2].strip()


def _completion(shell: str) -> str:
    found: Any = get_completion_class(shell)
    source: str = found(cli, {}, output.PROGRAM, _VARIABLE).source()
    return f"{source.strip()}\n"


# ------------------------------------------------------------------------------------------------------------ troff


def _head(name: str, section: int, purpose: str) -> str:
    return (
        f'.\\" Written by python -m agent.cli.man from the code; do not edit.\n'
        f'.TH {_escaped(name.upper())} {section} {RELEASED:%Y-%m-%d} "enrolld {__version__}"\n'
        f".ad l\n.SH NAME\n{_escaped(name)} \\- {_escaped(purpose)}\n"
    )


def _section(title: str, body: str) -> str:
    return f'.SH "{_escaped(title)}"\n{body}'


def _see_also(*pages: str) -> str:
    shown = (re.sub(r"(.+)\((\d)\)", r".BR \1 (\2)", page).replace("-", "\\-") for page in pages)
    return ".SH SEE ALSO\n" + " ,\n".join(shown) + "\n"


def _paragraphs(text: str | None) -> str:
    return "".join(_paragraph(" ".join(one.split())) for one in (text or "").replace("``", "'").split("\n\n"))


def _paragraph(text: str) -> str:
    return f".PP\n{_escaped(text)}\n" if text else ""


def _tagged(entries: Iterable[tuple[str, str]]) -> str:
    return "".join(f".TP\n.B {_escaped(tag)}\n{_escaped(text)}\n" for tag, text in entries)


def _escaped(text: str) -> str:
    """Return text that troff takes as it is; a line never begins with what it takes for a request."""
    plain = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga").replace('"', "\\(dq")
    plain = "".join(one if one.isascii() else f"\\[u{ord(one):04X}]" for one in plain)
    return "\n".join(f"\\&{line}" if line[:1] in {".", "'"} else line for line in plain.split("\n"))


if __name__ == "__main__":
    main()
