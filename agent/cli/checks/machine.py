"""The machine: configuration, clock, disk, journal, service."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import stat
import subprocess
from pathlib import Path
from typing import Final

from agent import RELEASED, config
from agent.cli.checks.kernel_clock import Synchronisation, synchronisation
from agent.cli.checks.registry import Finding, Scope, Site, check, failed, ok, skipped, warning
from agent.errors import ConfigurationError
from agent.policy import clock
from agent.supervisor.room import ENOUGH

SYSTEMD: Final = Path("/run/systemd/system")
JOURNAL: Final = Path("/run/systemd/journal/socket")
SERVICE: Final = "enrolld.service"
_MEBIBYTE: Final = 1_048_576
_LITTLE: Final = 16 * _MEBIBYTE
"""A generation takes some 20 kilobytes; less than this means that something else fills the disk."""
_FEW_FILES: Final = 200
_OTHERS: Final = 0o077
_SECONDS: Final = 10


@check("configuration", Scope.MACHINE, needs=())
def configuration(site: Site, _: str) -> Finding:
    """The file can be read and means something, and what it names is there."""
    check_it = f"Run 'enrollctl --config {shlex.quote(str(site.config))} config check' and mend what it lists."
    try:
        site.settings = settings = config.load(site.config)
    except ConfigurationError as error:
        mistakes = error.mistakes or (str(error),)
        more = f" (and {len(mistakes) - 1} more)" if mistakes[1:] else ""
        return failed(f"{mistakes[0]}{more}", check_it if error.mistakes else error.remedy)
    if site.only is not None and site.only not in settings.identities:
        known = ", ".join(settings.identities) or "none"
        return failed(f"there is no identity {site.only!r}", f"Name one of: {known}.")
    missing = [str(one) for one in config.check_files(settings)]
    if missing:
        more = f" (and {len(missing) - 1} more)" if missing[1:] else ""
        return warning(f"{missing[0]}{more}", check_it)
    odd = [str(one) for one in (*config.warnings(settings), *config.unsupported(settings))]
    if odd:
        return warning(odd[0], check_it)
    return ok(f"{site.config}, identities: {', '.join(settings.identities) or '(none)'}")


@check("clock", Scope.MACHINE, needs=())
def wall_clock(site: Site, _: str) -> Finding:
    """The date can be right: not before this software was made, not absurdly late."""
    shown = f"{site.now:%Y-%m-%d %H:%M} UTC"
    set_it = "Set it with date --utc --set 'YYYY-MM-DD hh:mm', or connect the time server."
    match clock.assess(site.now, build_time=RELEASED):
        case clock.ClockState.UNTRUSTED_PAST:
            return failed(f"it shows {shown}, before this software was made ({RELEASED:%Y-%m-%d})", set_it)
        case clock.ClockState.UNTRUSTED_LEAP:
            return failed(f"it shows {shown}, more than ten years after this software was made", set_it)
    return ok(shown)


@check("synchronisation", Scope.MACHINE, needs=())
def synchronised(_: Site, __: str) -> Finding:
    """A time source keeps the clock right; the kernel says so (adjtimex)."""
    found = synchronisation()
    match found:
        case Synchronisation(synchronised=True):
            return ok(f"a time source keeps the clock, within {found.maximum_error:.3f} s")
        case Synchronisation():
            return warning(
                "no time source has confirmed the clock",
                "See 'timedatectl' and 'chronyc sources' or 'timedatectl timesync-status'; without one the clock may "
                "drift until certificates seem expired.",
            )
    return skipped("this kernel does not say")


@check("state-directory", Scope.MACHINE)
def state_directory(site: Site, _: str) -> Finding:  # noqa: PLR0911 - one finding a line
    """The directory of keys and certificates is there, closed to others, and open to us."""
    path = site.given().state_directory
    quoted = shlex.quote(str(path))
    try:
        status = path.stat()
    except FileNotFoundError:
        return failed(f"there is no {path}", f"Mount its disk; on a new machine run 'install -d -m 700 {quoted}'.")
    except OSError as error:
        return failed(f"{path}: {error.strerror}", "Run the command with sudo, or as the user enrolld.")
    if not stat.S_ISDIR(status.st_mode):
        return failed(f"{path} is no directory", "Correct `state-directory` in the configuration.")
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return failed(f"{path} is closed to this user", "Run the command with sudo, or as the user enrolld.")
    mode = stat.S_IMODE(status.st_mode)
    if mode & _OTHERS:
        return failed(f"{path} is open to others (mode {mode:04o})", f"Run 'chmod 700 {quoted}'.")
    stray = _stray(path, status.st_uid)
    if stray is not None:
        owner = f"chown -R --reference={quoted} {quoted}"
        return failed(f"{stray} belongs to another user than {path}", f"Run '{owner}': the service cannot write there.")
    return ok(f"{path}, mode {mode:04o}")


def _stray(directory: Path, owner: int) -> Path | None:
    """Return something below that another user owns: what a command run by root left, most often."""
    for folder, _, names in os.walk(directory):
        for name in (".", *names):
            path = Path(folder, name)
            if path.lstat().st_uid != owner:
                return path
    return None


@check("free-space", Scope.MACHINE, needs=("configuration", "state-directory"))
def free_space(site: Site, _: str) -> Finding:
    """The disk of the state directory has room for the largest answer, and for another generation."""
    path = site.given().state_directory
    try:
        free = shutil.disk_usage(path).free
        files = os.statvfs(path).f_favail
        total = os.statvfs(path).f_files
    except OSError as error:
        return failed(f"{path}: {error.strerror}", "See 'dmesg' for disk errors.")
    make_room = f"Make room on the disk of {path}: 'df {shlex.quote(str(path))}' shows which it is."
    amount = f"{free / _MEBIBYTE:.0f} MiB free"
    if free < ENOUGH or (total and files == 0):
        return failed(f"{amount}, {files} files" if total else amount, make_room)
    if free < _LITTLE or (total and files < _FEW_FILES):
        return warning(f"{amount}, {files} files" if total else amount, make_room)
    return ok(amount)


@check("journal", Scope.MACHINE, needs=())
def journal(_: Site, __: str) -> Finding:
    """What the agent reports reaches the journal."""
    if not JOURNAL.exists():
        return warning("no journald here", "Events go to standard error only; keep that somewhere.")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.connect(str(JOURNAL))
    except OSError as error:
        return failed(f"journald does not take messages: {error.strerror}", "See 'systemctl status systemd-journald'.")
    return ok("journald listens")


@check("service", Scope.MACHINE, needs=())
def service(_: Site, __: str) -> Finding:
    """The daemon is enabled and runs."""
    if not SYSTEMD.exists():
        return skipped("this machine was not started by systemd")
    shown = properties(SERVICE)
    if shown is None:
        return skipped("systemctl does not answer")
    return judge_service(shown)


def properties(unit: str) -> dict[str, str] | None:
    """Return what systemd says of ``unit``; None when it does not answer."""
    command = ["systemctl", "show", unit, "--property=LoadState,ActiveState,SubState,UnitFileState,Result,NRestarts"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return None
    return dict(line.partition("=")[::2] for line in done.stdout.splitlines())


def judge_service(shown: dict[str, str]) -> Finding:  # noqa: PLR0911 - as above
    """Return what the properties of the unit mean."""
    if shown.get("LoadState") == "not-found":
        return warning(f"{SERVICE} is not installed", "Install the package: without it nobody renews certificates.")
    if shown.get("LoadState") == "masked" or shown.get("UnitFileState") == "masked":
        return failed(f"{SERVICE} is masked", f"Run 'systemctl unmask {SERVICE}', then enable it.")
    active, sub, result = (shown.get(key, "") for key in ("ActiveState", "SubState", "Result"))
    if active == "failed" or sub == "auto-restart":
        return failed(f"{SERVICE} does not stay up ({result or sub})", f"See 'journalctl -u {SERVICE} -n 50'.")
    if active != "active":
        return failed(f"{SERVICE} does not run ({active})", f"Run 'systemctl enable --now {SERVICE}'.")
    if shown.get("UnitFileState") not in {"enabled", "enabled-runtime", "static", "linked"}:
        return warning(f"{SERVICE} runs, but will not start at boot", f"Run 'systemctl enable {SERVICE}'.")
    restarts = shown.get("NRestarts", "0")
    if restarts not in {"", "0"}:
        return warning(f"{SERVICE} was restarted {restarts} times", f"See 'journalctl -u {SERVICE}' for why it ended.")
    return ok(f"{SERVICE} is enabled and runs")
