"""Files with what is secret: whether enrolld can take it from there, as far as whoever looks can tell."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from typing import TYPE_CHECKING

from agent.cli.checks.registry import Finding, Site, failed, skipped, warning
from agent.cli.ownership import acting_as_owner
from agent.errors import SecretError
from agent.supervisor.secrets import ONE_TIME_SECRET, Wanted, read_secret

if TYPE_CHECKING:
    from pathlib import Path

_ROOT = 0


def fault_of(site: Site, source: str, wanted: Wanted = ONE_TIME_SECRET) -> Finding | None:
    """Return what is wrong with the file that ``source`` names; None when enrolld can take ``wanted`` from it."""
    home = site.given().state_directory
    path = source.partition(":")[2]
    try:
        read_secret(source, ask=None, wanted=wanted)
    except SecretError as error:
        if isinstance(error.__cause__, PermissionError) and not _may_tell(home):
            return skipped(f"whether enrolld may read {path} is hidden from this user; use sudo")
        return failed(str(error), error.remedy)
    try:
        with acting_as_owner(home):
            read_secret(source, ask=None, wanted=wanted)
    except SecretError:
        give = f"chown --reference={shlex.quote(str(home))} {shlex.quote(path)}"
        return warning(f"a {wanted.noun} is in {path}, and enrolld may not read it", f"Give it the file: '{give}'.")
    return None


def _may_tell(home: Path) -> bool:
    """Tell whether we are root, or the user that enrolld runs as: what is closed to another one may be open to it."""
    with suppress(OSError):
        return os.geteuid() in {_ROOT, home.stat().st_uid}
    return True
