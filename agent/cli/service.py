"""Having systemd run enrolld after a turn-up: a certificate that nobody renews is a visit to the site in some weeks."""

from __future__ import annotations

import os
import subprocess
from typing import Final

from agent.cli import asking, output
from agent.cli.checks import machine
from agent.cli.checks.machine import SERVICE
from agent.cli.checks.registry import Result

_LOADED: Final = "loaded"
_RUNNING: Final = frozenset({"active", "reloading", "activating"})
_SECONDS: Final = 120
"""A start may take its 90 seconds (systemd/enrolld.service)."""
_START: Final = f"systemctl enable --now {SERVICE}"
_RELOAD: Final = f"systemctl reload {SERVICE}"
_TOLD: Final = {_START: "enrolld runs now, and after every boot", _RELOAD: "enrolld reads its file again"}


def offer(*, start: bool | None) -> Result | None:
    """Have the service started, or read its configuration again; return what the doctor says of it then.

    None where this machine has none. ``start`` is what the command line says; None: ask where somebody can be asked,
    else only say how.
    """
    shown = machine.properties(SERVICE) if machine.SYSTEMD.exists() else None
    if shown is None or shown.get("LoadState") != _LOADED:
        return None
    runs = shown.get("ActiveState") in _RUNNING
    if start is None:
        start = _wanted(runs=runs)
    if start:
        _have_it_done(_RELOAD if runs else _START)
    found = machine.judge_service(machine.properties(SERVICE) or shown)
    return Result(check="service", status=found.status, reason=found.reason, remedy=found.remedy)


def _wanted(*, runs: bool) -> bool:
    if os.geteuid() != 0:
        return False
    if runs:
        return True  # it is there to follow the file
    if asking.possible():
        return asking.agree("start enrolld, which renews the certificate?", option="--start", default=True)
    output.note(f"enrolld does not run and nobody renews the certificate: {_START}, or give --start")
    return False


def _have_it_done(command: str) -> None:
    try:
        done = subprocess.run(command.split(), capture_output=True, text=True, check=False, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        output.note(f"warning: '{command}' did not end well: {error}")
        return
    output.note(f"warning: '{command}' did not end well: {done.stderr.strip()}" if done.returncode else _TOLD[command])
