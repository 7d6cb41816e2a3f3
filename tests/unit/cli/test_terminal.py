"""What a technician sees on a terminal: lines that fit, a moving line that ends cleanly, no secret."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.station import ENROLLCTL, ENVIRONMENT, SECRET, Station, until

COLOURFUL = ENVIRONMENT | {"TERM": "xterm-256color"}
PLAIN = {
    "dumb": ENVIRONMENT | {"TERM": "dumb"},
    "NO_COLOR": COLOURFUL | {"NO_COLOR": "1"},
}


def on_terminal(
    station: Station,
    *arguments: str,
    environment: dict[str, str] = COLOURFUL,
    columns: int = 80,
    answer: Callable[[bytes], bytes | None] = lambda _: None,
) -> tuple[int, str]:
    """Run ``enrollctl`` on a terminal; return its exit code and all that was shown."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with subprocess.Popen(
        ["setsid", "--ctty", ENROLLCTL, "--config", station.config, *arguments],
        stdin=theirs, stdout=theirs, stderr=theirs, env=environment,
    ) as process:  # fmt: skip
        os.close(theirs)
        shown = b""
        answered = False
        try:
            while octets := read(ours):
                shown += octets
                reply = None if answered else answer(shown)
                if reply is not None:
                    # A signal that comes just before a read is seen after it only.
                    until(lambda: waits(process.pid))
                    os.write(ours, reply)
                    answered = True
        finally:
            os.close(ours)
        return process.wait(timeout=60), shown.decode().replace("\r\n", "\n")


def waits(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def read(descriptor: int) -> bytes:
    ready, _, _ = select.select([descriptor], [], [], 60)
    assert ready, "nothing more is shown, but the command does not end"
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # EIO: nobody has the other end any more
        return b""


def left(shown: str) -> list[str]:
    """What stays on the terminal: lines that were erased and codes are taken out."""
    lines = [line.rsplit("\x1b[2K", 1)[-1].rsplit("\r", 1)[-1] for line in shown.split("\n")]
    return [plain for line in lines if (plain := re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).rstrip())]


def test_a_moving_line_ends_cleanly(station: Station) -> None:
    code, shown = on_terminal(station, "enroll", "ike")
    assert code == 0
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1, "the cursor is hidden and comes back"
    assert shown.rindex("\x1b[?25h") < shown.rindex("ike: installed: ")
    lines = left(shown)
    assert [line for line in lines if line.endswith("ike: sending ir")]
    assert lines[-1].startswith("    ")  # the result is folded
    assert all(len(line) <= 80 for line in lines), lines


@pytest.mark.parametrize("environment", PLAIN.values(), ids=PLAIN)
def test_a_terminal_that_is_none_of_the_colourful_gets_plain_lines(
    station: Station, environment: dict[str, str]
) -> None:
    station.configure(urls=["http://127.0.0.1:9/a/rather/long/path/that/does/not/fit/into/eighty/columns/at/all"])
    code, shown = on_terminal(station, "enroll", "ike", environment=environment)
    assert code == 1
    assert "\x1b" not in shown
    *lines, last = shown.splitlines()
    assert any(line.startswith("enrollctl: error: ike: ") for line in lines)
    assert "enrollctl: what to do: " in shown
    assert last.endswith(".")


def test_an_error_is_red_where_there_is_colour(station: Station) -> None:
    code, shown = on_terminal(station, "enroll", "nobody")
    assert code == 2
    assert shown == (
        "enrollctl: \x1b[31merror:\x1b[0m there is no identity 'nobody'\n"
        "enrollctl: \x1b[1mwhat to do:\x1b[0m The only one is ike.\n"
    )


def test_the_table_fits_a_narrow_terminal(station: Station) -> None:
    station.identity["subject"] = "CN=enb-4711.north.ran.operator.example,OU=Radio,O=Operator,C=DE"
    station.configure()
    code, shown = on_terminal(station, "status", columns=80)
    assert code == 0
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert "...  -        enrollctl enroll ike" in shown
    assert station.run("status").out.count("O=Operator,C=DE") == 1  # a pipe gets all of it


def test_a_typed_secret_does_not_show(station: Station) -> None:
    station.identity["bootstrap"] = {"shared-secret": {"reference": "enb-4711", "secret": "prompt"}}
    station.configure()

    def type_it(shown: bytes) -> bytes | None:
        return SECRET.encode() + b"\n" if shown.endswith(b": ") else None

    code, shown = on_terminal(station, "enroll", "ike", answer=type_it)
    assert code == 0, shown
    assert shown.startswith("one-time secret of ike (reference enb-4711): ")
    assert SECRET not in shown
    assert station.current.confirmed


def test_ctrl_c_at_the_question_is_no_traceback(station: Station) -> None:
    station.identity["bootstrap"] = {"shared-secret": {"reference": "enb-4711", "secret": "prompt"}}
    station.configure()

    def interrupt(shown: bytes) -> bytes | None:
        return b"\x03" if shown.endswith(b": ") else None

    code, shown = on_terminal(station, "enroll", "ike", answer=interrupt)
    assert code == 1
    assert "Traceback" not in shown
    assert "nothing on disk was lost" in " ".join(shown.split())
