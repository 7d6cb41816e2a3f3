"""What turn-up, doctor and watch show on a serial console and on a larger terminal, with and without colour.

The screens are kept in docs/screens/; ``ENROLLD_SCREENS=write`` writes them anew.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.labca import LabCa
from tests.screen import PLAIN, SCREENS, Screen, screen
from tests.station import ENROLLCTL, ENVIRONMENT, REFERENCE, SECRET

SIZES = ((80, 24), (132, 43))
COLOURS = {"colour": ENVIRONMENT | {"TERM": "screen-256color"}, "plain": ENVIRONMENT | {"TERM": "screen"} | PLAIN}
_OF_THIS_MACHINE = ("synchronisation", "journal ", "service ", "noticed:", "machine:", "free-space")
"""Lines that depend on where the tests run."""


@pytest.fixture
def place() -> Iterator[Path]:
    """Give a directory whose name always has the same length: where lines break depends on it."""
    path = Path(tempfile.mkdtemp(prefix="enb-", dir="/tmp"))
    (path / "state").mkdir(mode=0o700)
    yield path
    shutil.rmtree(path)


def kept(name: str, terminal: Screen, shown: str) -> None:
    """Compare with the screen in docs/screens/, or write it."""
    terminal.assert_fits()
    text = re.sub(r"/tmp/enb-\w{8}", "/tmp/enb-00000000", shown)  # noqa: S108 - a name in a text
    path = SCREENS / f"{name}-{terminal.columns}x{terminal.rows}.txt"
    if os.environ.get("ENROLLD_SCREENS") == "write":
        SCREENS.mkdir(exist_ok=True)
        path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n")
    assert essence(text) == essence(path.read_text()), f"{path} is out of date; see the head of this test"


def essence(text: str) -> str:
    """Return ``text`` without what differs in every run or on every machine, wherever lines were broken."""
    lines, skipping = [], False
    for line in text.splitlines():
        if line.startswith(_OF_THIS_MACHINE):
            skipping = True
        elif not skipping or not line.startswith("    "):
            skipping = False
            lines.append(line)
    joined = re.sub(r"\[CN=[^]]*\]", "", "".join("".join(lines).split()))  # a name that this machine proposes
    return re.sub(r"[0-9a-f]*\d[0-9a-f]*", "N", joined)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("colour", COLOURS)
def test_the_screens_are_those_in_the_documentation(
    place: Path, lab: LabCa, size: tuple[int, int], colour: str
) -> None:
    columns, rows = size
    start: list[str | Path] = [ENROLLCTL, "--config", "enrolld.yaml"]
    form = {"columns": columns, "rows": rows}
    with screen(
        place, [*start, "turn-up", "--state-directory", "state"], **form, environment=COLOURS[colour]
    ) as terminal:
        for question, answer in (
            ("address of the CA", lab.url),
            ("root certificate (Enter: learn it)", ""),
            ("reference of the one-time secret:", REFERENCE),
            ("name of this device", "CN=enb-4711.ran.operator.example,O=Operator"),
            ("one-time secret of reference", SECRET),
        ):
            terminal.wait_for(question)
            terminal.type(answer)
        terminal.wait_for("finished:")
        assert terminal.ended() == 0
        assert ("\x1b[32m" in terminal.coloured()) is (colour == "colour")
        kept("turn-up", terminal, terminal.scrolled())

    with screen(place, [*start, "doctor"], **form, environment=COLOURS[colour]) as terminal:
        terminal.wait_for(" checks: ")
        terminal.ended()
        assert ("\x1b[32m" in terminal.coloured()) is (colour == "colour")
        kept("doctor", terminal, terminal.scrolled())

    with screen(place, [*start, "watch"], **form, environment=COLOURS[colour]) as terminal:
        terminal.wait_for("valid")
        if colour == "colour":
            kept("watch", terminal, terminal.shown())
        else:
            kept("watch-plain", terminal, terminal.scrolled())
        terminal.press("C-c")
        assert terminal.ended() == 0
