"""``python -I -m agent.worker``: read one job from standard input, do it, say how it ended. See ``agent.contract``."""

from __future__ import annotations

import errno
import gc
import json
import os
import resource
import sys
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from agent import cores, deferred, structure
from agent.contract import VERDICTS, VERSION, Action, Job, Outcome, Verdict
from agent.errors import AgentError
from agent.worker.environment import Environment, Interruption
from agent.worker.reporting import Reporter

if TYPE_CHECKING:
    from collections.abc import Callable

MAXIMUM_JOB = 1_048_576
_MAXIMUM_SECRET = 4096
_MEBIBYTE = 1 << 20
_SELDOM = ("agent.cmp.by_schema", "agent.cmp.schema")
"""What reads and writes what most jobs never see. A request and the answer to it take another way."""


def main() -> int:
    """Run the worker; return its exit code, which repeats the verdict."""
    cores.prevent()
    output = _own_output()
    reporter = Reporter(output, {})
    try:
        job = read_job(sys.stdin.buffer.read(MAXIMUM_JOB + 1))
        secret = read_secret(job.secret_descriptor, "secret-descriptor")
        pins = {name: read_secret(one, f"pin-descriptors.{name}") or b"" for name, one in job.pin_descriptors.items()}
        passwords = {
            source: read_secret(one, f"password-descriptors.{source}") or b""
            for source, one in job.password_descriptors.items()
        }
        reporter.remember(IDENTITY=job.name, AUTHORITY=job.identity.authority)
        perform = load()

        interruption = Interruption(output)
        environment = Environment(
            sleep=interruption.sleep,
            interrupted=lambda: interruption.heard() or reporter.unheard,
            known_time=read_time(job.known_time),
        )
        if job.action is Action.PROBE:
            from agent.worker.probing import probe  # noqa: PLC0415 - as above

            outcome = probe(job, environment)
        else:
            outcome = perform(job, secret, reporter, environment, pins=pins, passwords=passwords)
    except AgentError as error:
        outcome = Outcome(verdict=Verdict.MISCONFIGURED, text=str(error), remedy=error.remedy)
    except Exception as error:  # noqa: BLE001 - the last line of defence: a defect must still be reported in words
        outcome = _without_memory() if _lacks_memory(error) else _defect(error)
    reporter.finish(outcome)
    return VERDICTS[outcome.verdict].worker or 0


def load(*more: str) -> Callable[..., Outcome]:
    """Load what does the job, and the modules ``more``: a bad one is refused before that.

    Collecting garbage meanwhile finds none, at a quarter of the time that loading takes; and what was loaded never
    becomes any.
    """
    gc.disable()
    with deferred.on_demand(*_SELDOM):
        from agent.worker.enrollment import perform  # noqa: PLC0415 - see above

        for module in more:
            import_module(module)
    gc.freeze()
    gc.enable()
    return perform


def leave(code: int) -> NoReturn:
    """End at once: to take apart what was loaded takes as long as a few messages, and the system does it by itself.

    Where a vendor's library was loaded it is given the chance to end properly.
    """
    if "pkcs11" in sys.modules:
        sys.exit(code)
    sys.stderr.flush()
    os._exit(code)


def _lacks_memory(error: Exception) -> bool:
    """Tell whether ``error`` is how Python, the kernel or the dynamic linker say that there is no more memory."""
    match error:
        case MemoryError():
            return True
        case OSError():
            return error.errno == errno.ENOMEM
        case ImportError():
            return "failed to map segment" in str(error) or os.strerror(errno.ENOMEM) in str(error)
    return False


def _without_memory() -> Outcome:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    text, remedy = "there was not enough memory for this job", "Free memory on this machine"
    if limit != resource.RLIM_INFINITY:
        text += f", which may address {limit // _MEBIBYTE} MiB"
        remedy = "Raise worker-memory, under daemon in the configuration, or free memory on this machine"
    return Outcome(verdict=Verdict.FAILED, text=text, remedy=f"{remedy}; nothing on disk was lost.")


def _defect(error: Exception) -> Outcome:
    import traceback  # noqa: PLC0415 - defects are rare, and it reads source code

    traceback.print_exception(error, file=sys.stderr)
    return Outcome(
        verdict=Verdict.FAILED,
        text=f"a defect of enrolld: {type(error).__name__}: {error}",
        remedy="Report this with the lines above; nothing on disk was lost, and trying again is safe.",
    )


def read_job(octets: bytes) -> Job:
    """Return the job in ``octets`` (JSON).

    Raises:
        StructureError: when it is no job of this version.
    """
    if len(octets) > MAXIMUM_JOB:
        raise structure.StructureError("", f"is larger than {MAXIMUM_JOB} octets")
    try:
        document = json.loads(octets)
    except (ValueError, RecursionError) as error:
        raise structure.StructureError("", f"is not JSON ({error})") from error
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise structure.StructureError("version", f"should be {VERSION}")
    return structure.from_json(Job, document)


def read_time(text: str | None) -> datetime | None:
    """Return the time that a job names; None when it names none.

    Raises:
        StructureError: when it is no time with its zone.
    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise structure.StructureError("known-time", "is no time in ISO 8601") from error
    if moment.tzinfo is None:
        raise structure.StructureError("known-time", "names no time zone")
    return moment


def read_secret(descriptor: int | None, key: str) -> bytes | None:
    """Return what the inherited ``descriptor`` that the job names under ``key`` holds, to its end; None without one.

    Raises:
        StructureError: when it holds more than a secret may have, or is not open.
    """
    if descriptor is None:
        return None
    try:
        with os.fdopen(descriptor, "rb") as stream:
            secret = stream.read(_MAXIMUM_SECRET + 1)
    except OSError as error:
        raise structure.StructureError(key, f"cannot be read: {error.strerror}") from error
    if len(secret) > _MAXIMUM_SECRET:
        raise structure.StructureError(key, f"holds more than {_MAXIMUM_SECRET} octets")
    return secret or None


def _own_output() -> int:
    """Return a descriptor that is ours alone for what we tell; whatever a library prints goes to standard error."""
    own = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return own


if __name__ == "__main__":
    leave(main())
