"""``python -m tests.interop.report``: run the combinations with the peers of this machine, and write what passed.

It writes recorded.json and the part of docs/interop.md between two markers. A test holds the document to that record
and the record to the table of combinations: one that did not pass is missing in it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from tests.interop.combinations import COMBINATIONS, Combination, Peer, of
from tests.interop.record import VARIABLE

ROOT: Final = Path(__file__).parents[2]
DOCUMENT: Final = ROOT / "docs" / "interop.md"
RECORDED: Final = Path(__file__).with_name("recorded.json")
_BEGIN: Final = "<!-- written by python -m tests.interop.report: begin -->"
_END: Final = "<!-- written by python -m tests.interop.report: end -->"


def document(text: str, recorded: dict[str, Any]) -> str:
    """Return ``text`` with what stands between the markers made from ``recorded``."""
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    assert begin, f"{DOCUMENT} has lost its first marker"
    assert end, f"{DOCUMENT} has lost its second marker"
    return "".join((before, _BEGIN, "\n\n", "\n\n".join(_tables(recorded)), "\n\n", _END, after))


def _tables(recorded: dict[str, Any]) -> list[str]:
    passed = len(recorded["passed"])
    parts = [f"{passed} of {len(COMBINATIONS)} combinations of operation, protection and kind of key passed."]
    for peer in Peer:
        rows = [_row(one, recorded) for one in of(peer)]
        head = ("operation", "protection of requests", "protection of answers", "key", "course", "result")
        lines = [head, tuple("---" for _ in head), *rows]
        parts += [
            f"### {peer[0].upper()}{peer[1:]}",
            f"Recorded with {recorded['versions'][peer.name]}.",
            "\n".join(f"| {' | '.join(line)} |" for line in lines),
        ]
    return parts


def _row(one: Combination, recorded: dict[str, Any]) -> tuple[str, ...]:
    result = "passed" if one.id in recorded["passed"] else "not passed"
    answers = one.answers.name if one.answers else "the same kind"
    return one.operation, one.protection.name, answers, one.key or "-", one.course, result


def main() -> int:
    """Run, record, write; the exit status is that of the tests."""
    with TemporaryDirectory() as folder:
        record = Path(folder, "record")
        command = [sys.executable, "-m", "pytest", "tests/interop", "-k", "test_combination"]
        status = subprocess.run(command, cwd=ROOT, check=False, env=os.environ | {VARIABLE: str(record)}).returncode
        noted = [json.loads(line) for line in record.read_text().splitlines()]
    versions = {one["id"]: one["version"] for one in noted}
    recorded = {
        "versions": {peer.name: versions[of(peer)[0].id] for peer in Peer},
        "passed": [one.id for one in COMBINATIONS if one.id in versions],
    }
    RECORDED.write_text(json.dumps(recorded, indent=1) + "\n")
    DOCUMENT.write_text(document(DOCUMENT.read_text(), recorded))
    return status


if __name__ == "__main__":
    sys.exit(main())
