"""Run the matrix of faults: ``python -m tests.faults`` writes docs/faults.md, ``--cells`` answers a test.

Either way it starts itself again in namespaces of its own: no packet leaves them, and the machine's name service and
firewall stay as they are.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Final

INSIDE: Final = "--inside"
ROOT: Final = Path(__file__).parents[2]


def command(*arguments: str) -> list[str]:
    """Return the command that runs this program with ``arguments`` in namespaces of its own."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *user, "--mount", "--net", sys.executable, "-m", "tests.faults", INSIDE, *arguments]


def _settle() -> None:
    """Make this place ours: loopback up, /etc/hosts a file of our own, no other name service."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.TemporaryDirectory() as place:
        for name, text in (("hosts", ""), ("resolv.conf", ""), ("nsswitch.conf", "hosts: files\n")):
            own = Path(place, name)
            own.write_text(text)
            subprocess.run(["mount", "--bind", own, f"/etc/{name}"], check=True)


def _answer(place: Path) -> None:
    """Run the cell named in each line of standard input, and write what came of it as a line."""
    from tests.faults.matrix import CELLS, run  # noqa: PLC0415 - only inside

    for line in sys.stdin:
        try:
            said: dict[str, object] = {"result": asdict(run(CELLS[line.strip()], place))}
        except Exception:  # noqa: BLE001 - the test shows it
            said = {"trouble": traceback.format_exc()}
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()


def main() -> int:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--cells", action="store_true", help="run the cells named on standard input")
    parser.add_argument(INSIDE, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.inside:
        return subprocess.run(command(*sys.argv[1:]), cwd=ROOT, check=False).returncode
    _settle()
    with tempfile.TemporaryDirectory() as place:
        if options.cells:
            _answer(Path(place))
        else:
            from tests.faults.document import DOCUMENT, document, run_all  # noqa: PLC0415 - only inside

            DOCUMENT.write_text(document(run_all(Path(place))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
