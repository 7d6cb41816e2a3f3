"""``python -m tests.fuzz [--seconds N] [--inputs N] [--folder F] [--input FILE] [TARGET...]``: fuzz one after another.

Each target runs for so many seconds, or inputs, in a process of its own, forked once the code is instrumented, which
takes a while. Logs and the inputs that are findings lie in F. With ``--input`` the targets read one file, as after a
finding.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from tests.fuzz.targets import Target

_MAXIMUM: Final = 16_384
"""Octets of an input; larger ones have tests of their own."""
_GRACE: Final = 60.0
"""Seconds that a target may take beyond its time: its seeds, and a last input."""
_FOUND: Final = Path(__file__).parents[2] / ".fuzz"
NOTHING: Final = "nothing found"


@dataclass(frozen=True, slots=True)
class _Amount:
    """How long a target is fuzzed: so many seconds, and so many inputs, at the most."""

    seconds: float
    inputs: int | None


def main() -> int:
    """Run as the command line says; 1 when there is a finding."""
    guided = find_spec("atheris") is not None
    targets = _instrumented() if guided else _plain()
    wanted = _wanted(list(targets))
    if wanted.input is not None:
        from tests.fuzz import watch  # noqa: PLC0415 - what is imported before is not instrumented

        for name in wanted.targets:
            watch.examine(targets[name], wanted.input.read_bytes())
        return 0
    amount = _Amount(wanted.seconds, wanted.inputs)
    wanted.folder.mkdir(parents=True, exist_ok=True)
    sys.stdout.write("guided by coverage\n" if guided else "atheris is not here: blind\n")
    findings = 0
    for name in wanted.targets:
        good = _fuzz(targets[name], amount, wanted.folder, guided=guided)
        findings += not good
        sys.stdout.write(f"{name}: {NOTHING if good else f'a finding, see {wanted.folder}/{name}*'}\n")
        sys.stdout.flush()
    return 1 if findings else 0


def _wanted(known: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz everything that reads octets.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"one of {', '.join(known)}; all by default")
    parser.add_argument("--seconds", type=float, default=60, help="how long each target is fuzzed (60)")
    parser.add_argument("--inputs", type=int, help="how many inputs each target reads at the most (any number)")
    parser.add_argument("--folder", type=Path, default=_FOUND, help="where logs and findings go (.fuzz)")
    parser.add_argument("--input", type=Path, help="let the targets read this file instead")
    wanted = parser.parse_args()
    if unknown := set(wanted.targets) - set(known):
        parser.error(f"there is no target {', '.join(sorted(unknown))}")
    wanted.targets = wanted.targets or known
    return wanted


def _plain() -> dict[str, Target]:
    from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - here, or under the eyes of atheris

    return TARGETS


def _instrumented() -> dict[str, Target]:
    import atheris  # noqa: PLC0415 - it is not everywhere: its wheels are for x86-64

    with atheris.instrument_imports(include=["agent", "hsm"]):
        return _plain()


def _fuzz(target: Target, amount: _Amount, folder: Path, *, guided: bool) -> bool:
    """Fuzz one target in a child; return whether nothing was found."""
    seeds = target.seeds()
    # A child ends without ceremony, by its own hand, libFuzzer's or ours: what it leaves behind is taken away here.
    with TemporaryDirectory(prefix="enrolld-fuzz-") as scratch:
        child = os.fork()
        if child == 0:
            tempfile.tempdir = scratch
            _be_the_child(target, seeds, amount, folder, guided=guided)
        end = time.monotonic() + amount.seconds + _GRACE
        while time.monotonic() < end:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status) == 0
            time.sleep(0.05)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return False


def _be_the_child(target: Target, seeds: list[bytes], amount: _Amount, folder: Path, *, guided: bool) -> NoReturn:
    log = os.open(folder / f"{target.name}.log", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        _warm_up(target, seeds)
        (_guided if guided else _blind)(target, seeds, amount, folder)
    except BaseException:  # noqa: BLE001 - a child must not go on as its parent would
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    sys.stderr.flush()
    os._exit(0)


def _warm_up(target: Target, seeds: list[bytes]) -> None:
    """Read each seed once: what is loaded or computed once for all counts for no input."""
    from tests.fuzz import watch  # noqa: PLC0415 - after the instrumentation

    for octets in (b"", *seeds):
        watch.tolerate(target, octets)


def _guided(target: Target, seeds: list[bytes], amount: _Amount, folder: Path) -> None:
    import atheris  # noqa: PLC0415 - as above

    corpus = tempfile.mkdtemp(prefix="corpus-")
    for number, seed in enumerate(seeds):
        Path(corpus, f"{number:03}").write_bytes(seed)
    options = [f"-artifact_prefix={folder}/{target.name}-", "-seed=1", "-timeout=30", "-rss_limit_mb=0"]
    options += [f"-max_total_time={max(1, round(amount.seconds))}", f"-max_len={_MAXIMUM}"]
    if amount.inputs is not None:
        options.append(f"-runs={amount.inputs}")
    mutators = {"custom_mutator": target.mutate} if target.mutate else {}
    atheris.Setup([target.name, *options, corpus], lambda octets: _examine(target, octets, folder), **mutators)
    atheris.Fuzz()


def _blind(target: Target, seeds: list[bytes], amount: _Amount, folder: Path) -> None:
    from tests.fuzz.mutation import plain_mutator  # noqa: PLC0415 - after the instrumentation

    mutate = target.mutate or plain_mutator
    chance = random.Random(1)  # noqa: S311 - the same inputs in every run
    end = time.monotonic() + amount.seconds
    for _ in count() if amount.inputs is None else range(amount.inputs):
        if time.monotonic() >= end:
            return
        _examine(target, mutate(chance.choice(seeds), _MAXIMUM, chance.getrandbits(32)), folder)


def _examine(target: Target, octets: bytes, folder: Path) -> None:
    """Have the target read one input; one that is a finding is kept in ``folder``."""
    from tests.fuzz import watch  # noqa: PLC0415 - after the instrumentation

    try:
        watch.examine(target, octets)
    except Exception:
        (folder / f"{target.name}-found").write_bytes(octets)
        raise


if __name__ == "__main__":
    sys.exit(main())
