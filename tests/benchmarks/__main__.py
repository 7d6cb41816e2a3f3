"""Run every benchmark, and print how the goals are met in one table.

    python -m tests.benchmarks [NAME ...] [--write]

NAME is that of a file without ``bench_`` and ``.py``. With ``--write`` what each one printed is put into
docs/performance.md as well: no figure there was typed by hand.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.benchmarks.tables import table

_FOLDER: Final = Path(__file__).parent
_ROOT: Final = _FOLDER.parents[1]
DOCUMENT: Final = _ROOT / "docs" / "performance.md"
_VERDICT: Final = re.compile(r"(?P<verdict>met|MISSED) +(?P<what>.+): (?P<found>[^:]+), goal (?P<goal>.+)")


def run(name: str) -> str:
    """Run the benchmark ``name``, show what it prints, and return it."""
    command = [sys.executable, f"tests/benchmarks/bench_{name}.py"]
    said = []
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            said.append(line)
    if process.returncode:
        sys.exit(f"bench_{name}.py ended with status {process.returncode}")
    return "".join(said)


def verdicts(name: str, said: str) -> Iterator[tuple[str, ...]]:
    """Return the rows of the table that a benchmark has printed lines for (``tables.verdict``)."""
    for line in said.splitlines():
        if found := _VERDICT.fullmatch(line):
            command = f"python tests/benchmarks/bench_{name}.py"
            yield found["what"], found["found"].strip(), found["goal"].strip(), found["verdict"], command


def written(document: str, name: str, said: str) -> str:
    """Return the document with what the benchmark ``name`` printed between its marks; a new one gets a section."""
    begin, end = f"<!-- {name}: begin, written by python -m tests.benchmarks --write -->", f"<!-- {name}: end -->"
    if begin not in document:
        document = f"{document.rstrip()}\n\n## {name.replace('_', ' ').capitalize()}\n\n{begin}\n{end}\n"
    before, _, rest = document.partition(begin)
    return f"{before}{begin}\n```\n{said.strip()}\n```\n{end}{rest.partition(end)[2]}"


def main() -> None:
    """Run them."""
    every = sorted(one.stem.removeprefix("bench_") for one in _FOLDER.glob("bench_*.py"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(every))
    parser.add_argument("--write", action="store_true", help=f"put the output into {DOCUMENT.relative_to(_ROOT)}")
    options = parser.parse_args()
    if unknown := set(options.names) - set(every):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(every)}")
    rows: list[tuple[str, ...]] = []
    for name in options.names or every:
        said = run(name)
        rows += verdicts(name, said)
        if options.write:
            DOCUMENT.write_text(written(DOCUMENT.read_text(), name, said))
    print(f"\n{table(('what', 'found', 'goal', '', 'command'), rows)}")


if __name__ == "__main__":
    main()
