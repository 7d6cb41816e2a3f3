"""Notes which combinations passed, and against which version of the peer, where :data:`VARIABLE` names a file."""

from __future__ import annotations

import json
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.interop.combinations import Combination

VARIABLE: Final = "ENROLLD_INTEROP_RECORD"


def passed(combination: Combination, version: str) -> None:
    """Note that ``combination`` went as it should; the last line of its test."""
    if file := os.environ.get(VARIABLE):
        line = json.dumps({"id": combination.id, "version": version})
        with Path(file).open("a") as record:
            record.write(f"{line}\n")


@cache
def openssl_version() -> str:
    """Return what the ``openssl`` of this machine calls itself: name, version and date."""
    said = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=True, timeout=20).stdout
    return " ".join(said.partition("(")[0].split())
