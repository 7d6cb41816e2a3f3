"""``python -m tests.soak SECONDS``: run it, print what was seen; the exit status is 1 when something is wrong.

Ten minutes or more are written into docs/soak.md.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.soak.document import DOCUMENT, document
from tests.soak.plan import Plan
from tests.soak.soak import Soak

_WHOLE: Final = 600.0

plan = Plan(seconds=float(sys.argv[1]))
with tempfile.TemporaryDirectory() as place:
    report = Soak(Path(place), plan).run()
sys.stdout.write(f"{report}\n")
wrong = report.complaints()
sys.stdout.writelines(f"WRONG: {one}\n" for one in wrong)
if plan.seconds >= _WHOLE and not wrong:
    DOCUMENT.write_text(document(report))
sys.exit(1 if wrong else 0)
