"""Asking about a token: always in another process, because a vendor's module may crash or hang."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

from agent import structure
from agent.cli.ownership import acting_as_owner
from agent.contract import Verdict

if TYPE_CHECKING:
    from agent.settings import Settings

_DESK: Final = (sys.executable, "-I", "-m", "agent.worker.token_desk")
_PATIENCE: Final = 60.0
"""Seconds that a token may take to answer."""


def ask(settings: Settings, name: str, **details: Any) -> dict[str, Any]:
    """Return what the token ``name`` is, or what is wrong (``text``, ``remedy``, ``verdict``).

    ``details`` are further fields of :class:`agent.worker.token_desk.Inquiry`, as JSON.
    """
    token = settings.tokens[name]
    inquiry = {
        "name": name,
        "token": structure.to_json(token),
        "state-directory": str(settings.state_directory),
    } | details
    try:
        with acting_as_owner(settings.state_directory):
            done = subprocess.run(
                _DESK, input=json.dumps(inquiry), stdout=subprocess.PIPE, text=True, timeout=_PATIENCE, check=False
            )
    except subprocess.TimeoutExpired:
        return _broken(f"the module {token.module} does not answer", Verdict.TIMED_OUT)
    if done.returncode < 0 or not done.stdout:
        return _broken(f"the module {token.module} crashed (status {done.returncode})", Verdict.CRASHED)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _broken(text: str, verdict: Verdict) -> dict[str, Any]:
    remedy = "Update the vendor's module, or ask the vendor; enrolld itself is not harmed."
    return {"text": text, "remedy": remedy, "verdict": verdict.value}
