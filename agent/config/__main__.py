"""``python -I -m agent.config FILE``: check a configuration and print it as JSON lines.

The daemon runs this beside itself: it stays in memory for years, and neither a YAML parser nor a thousand settings
should. The first line is either ``{"refused": {"text", "remedy", "mistakes"}}``, with exit code 2, or
``{"settings": ..., "warnings": [...], "names": [...]}``, settings without their identities and what these are called.
Each line after that is one of them, in that order, which the daemon need not look into before its time has come.
Everything is in the form of ``agent.structure``, without what has its default.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent import structure
from agent.deferred import patterns_on_demand
from agent.errors import ConfigurationError

with patterns_on_demand():  # most are for what nobody wrote
    from agent.config import check_files, load, unsupported, warnings

if TYPE_CHECKING:
    from agent.settings import Settings


def main() -> int:
    """Print the configuration that the command line names; return 0, or 2 when it cannot be used."""
    gc.disable()  # it ends soon
    try:
        settings = load(Path(sys.argv[1]))
        refuse_what_cannot_work(settings)
    except ConfigurationError as error:
        _say({"refused": {"text": str(error), "remedy": error.remedy, "mistakes": error.mistakes}})
        return 2
    document = structure.to_json(settings, brief=True)
    identities = document.pop("identities")
    rest = {"warnings": [str(one) for one in warnings(settings)], "names": list(identities)}
    _say({"settings": document | {"identities": {}}} | rest, *identities.values())
    return 0


def refuse_what_cannot_work(settings: Settings) -> None:
    """Stop before the first job for files that are missing and keys that this version would make elsewhere.

    Raises:
        ConfigurationError: with every mistake.
    """
    missing = [one for one in unsupported(settings) if one.path[:1] == ("identities",) and "deploy" not in one.path]
    mistakes = tuple(str(one) for one in (*check_files(settings), *missing))
    if mistakes:
        raise ConfigurationError(
            "the configuration cannot be used as it is", remedy="Correct what is listed.", mistakes=mistakes
        )


def _say(*documents: Any) -> None:
    encode = json.JSONEncoder(separators=(",", ":")).encode
    sys.stdout.write("".join(f"{encode(one)}\n" for one in documents))


if __name__ == "__main__":
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        code = 1  # whoever wanted to know is gone
    os._exit(code)  # to take apart what was read takes as long as writing it, and the system does it by itself
