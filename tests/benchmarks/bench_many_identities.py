"""Many identities on one host, from nothing to all enrolled: time, memory, and what it asks of the CA.

    python tests/benchmarks/bench_many_identities.py [--identities 10 100 1000] [--together 20] [--runs 10] [--peers 2]

The lab CA is a process of its own on loopback and works on the same processors. Every identity gets a fresh P-256 key
and one certificate, with the secret of the site and explicit confirmation; the time is from the start of ``enrolld`` to
the last credential in place, with as many workers as it has by default.

Then twenty at once, beside certmonger (Debian's) with a helper that runs ``openssl cmp``. Both daemons run already, and
look after nothing: the time is from the first ``getcert request``, and from SIGHUP after the configuration was
written, to the last certificate. RSA-2048 is what certmonger makes where nobody says otherwise. It takes minutes, so
it has fewer runs than ``enrolld``.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks import certmonger
from tests.benchmarks.authority import Authority, lab_ca
from tests.benchmarks.processes import family_cpu, memory, until_quiet
from tests.benchmarks.tables import command_line, table, verdict
from tests.station import REFERENCE, SECRET

ENROLLD: Final = Path(sys.executable).with_name("enrolld")
_A_JOB: Final = 20.0
"""Seconds that one certificate may take on a machine that is busy with other things."""
_MEBIBYTE: Final = 1024
"""KiB."""
_FASTER: Final = 20.0
_LINEAR: Final = 1.1
"""What one among the many may take, by one among the few: a tenth is the noise of a busy machine."""
_KEYS: Final = {"ec-p256": certmonger.EC_P256, "rsa-2048": certmonger.RSA_2048}
_HELPER: Final = """\
#!/bin/sh
# A certmonger helper (certmonger's helpers.txt): 6 is "not supported", 2 is "rejected".
[ "$CERTMONGER_OPERATION" = SUBMIT ] || exit 6
place=$(mktemp -d) || exit 2
trap 'rm -rf "$place"' EXIT
printf '%s\\n' "$CERTMONGER_CSR" >"$place/request.pem"
openssl cmp -cmd p10cr -csr "$place/request.pem" -server HOST -path PATH -ref REFERENCE -secret pass:SECRET \\
    -digest sha256 -mac hmacWithSHA256 -keep_alive 0 -certout "$place/certificate.pem" >&2 || exit 2
cat "$place/certificate.pem"
"""
"""``-keep_alive 0``: with its defaults OpenSSL waits 40 ms for an acknowledgement in every message but the first."""


@dataclass(frozen=True, slots=True)
class Run:
    """``seconds`` until all were enrolled; ``pss`` of the supervisor then, in KiB; messages the CA answered."""

    number: int
    seconds: float
    pss: int
    round_trips: int
    cpu: float
    """Seconds of CPU of supervisor and workers together."""

    @property
    def each(self) -> float:
        """Seconds for one certificate."""
        return self.seconds / self.number


def configure(place: Path, authority: Authority, number: int, key: str) -> list[Path]:
    """Write the configuration of ``number`` identities with this kind of ``key``; return what is there in the end."""
    (place / "state").mkdir(mode=0o700, parents=True)
    (place / "run").mkdir()
    secret = place / "secret"
    secret.write_text(f"{SECRET}\n")
    secret.chmod(0o600)
    names = [f"enb-{index}" for index in range(number)]
    bootstrap = f'{{shared-secret: {{reference: {REFERENCE}, secret: "file:secret"}}}}'
    lines = [
        "state-directory: state",
        "runtime-directory: run",
        "authorities:",
        f'  lab: {{urls: ["{authority.url}"], trust-anchors: ["{authority.root}"]}}',
        "identities:",
        *(
            f'  {name}: {{authority: lab, subject: "CN={name}", key: {{algorithm: {key}}}, bootstrap: {bootstrap}}}'
            for name in names
        ),
    ]
    (place / "enrolld.yaml").write_text("\n".join(lines) + "\n")
    return [place / "state" / "identities" / name / "current" for name in names]


def until_all(files: Iterable[Path], *, seconds: float) -> None:
    """Wait until all ``files`` are there. Raise :class:`TimeoutError` after so many ``seconds``."""
    ends, missing = time.monotonic() + seconds, list(files)
    while missing := [one for one in missing if not one.exists()]:
        if time.monotonic() > ends:
            raise TimeoutError(f"{len(missing)} certificates were not there after {seconds:.0f} s: {missing[0]} ...")
        time.sleep(0.02)


@contextmanager
def enrolld(place: Path) -> Iterator[int]:
    """Run the daemon for the block; give its process number."""
    with (
        (place / "log").open("wb") as log,
        subprocess.Popen(
            [ENROLLD, "--config", place / "enrolld.yaml"], env={"PATH": os.environ["PATH"]}, stderr=log
        ) as process,
    ):
        try:
            yield process.pid
        finally:
            process.terminate()


def enroll(place: Path, number: int) -> Run:
    """Enroll so many identities with a CA that is new as well."""
    place.mkdir()
    with lab_ca(place / "ca") as authority:
        files = configure(place / "site", authority, number, "ec-p256")
        began = time.monotonic()
        with enrolld(place / "site") as pid:
            until_all(files, seconds=_A_JOB * number)
            took = time.monotonic() - began
            round_trips = authority.round_trips
            until_quiet(pid)
            return Run(number, took, memory(pid).pss, round_trips, family_cpu(pid))


def enroll_together(place: Path, number: int, key: str) -> float:
    """Return the seconds that a running ``enrolld`` needs for so many identities that a reload brings."""
    place.mkdir()
    with lab_ca(place / "ca") as authority:
        files = configure(place / "site", authority, number, key)
        configuration = place / "site" / "enrolld.yaml"
        whole = configuration.read_text()
        configuration.write_text(f"{whole.partition('identities:')[0]}identities: {{}}\n")
        with enrolld(place / "site") as pid:
            until_all([place / "site" / "run" / "io.enrolld.control"], seconds=_A_JOB)
            until_quiet(pid)
            configuration.write_text(whole)
            began = time.monotonic()
            os.kill(pid, signal.SIGHUP)
            until_all(files, seconds=_A_JOB * number)
            return time.monotonic() - began


def helper(authority: Authority) -> str:
    """Return the script by which certmonger asks ``authority``."""
    words = {"HOST": authority.host, "PATH": f"/{authority.path}", "REFERENCE": REFERENCE, "SECRET": SECRET}
    lines = _HELPER.splitlines(keepends=True)
    for word, value in words.items():
        lines = [line.replace(f" {word} ", f" {value} ").replace(f"pass:{word} ", f"pass:{value} ") for line in lines]
    return "".join(lines)


def certmonger_enrolls(place: Path, number: int, key: tuple[str, ...]) -> float:
    """Return the seconds certmonger needs for so many certificates that are asked for at once."""
    place.mkdir()
    with lab_ca(place / "ca") as authority:
        script = place / "helper"
        script.write_text(helper(authority))
        script.chmod(0o700)
        peer = certmonger.Certmonger(place / "certmonger")
        with peer.running():
            peer.add_helper("cmp", script)
            began = time.monotonic()
            files = [peer.request(f"enb-{index}", "cmp", key=key) for index in range(number)]
            until_all(files, seconds=_A_JOB * number)
            return time.monotonic() - began


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--identities", type=int, nargs="*", default=[10, 100, 1000])
    parser.add_argument("--together", type=int, default=20)
    parser.add_argument("--runs", type=int, default=10, help="of those together, with each kind of key")
    parser.add_argument("--peers", type=int, default=2, help="runs of certmonger with each kind of key")
    options = parser.parse_args()
    certmonger.install()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if options.identities:
            show_growth([enroll(place / f"{number}", number) for number in options.identities])
        show_together(place, options.together, options.runs, options.peers)


def show_growth(runs: list[Run]) -> None:
    """Print what one certificate costs among few and among many."""
    print(f"from nothing to all enrolled, P-256, explicit confirmation ({command_line()})")
    rows = [
        (
            f"enrolld, {one.number}",
            f"{one.seconds:.1f}",
            f"{one.each:.3f}",
            f"{one.each / runs[0].each:.2f}",
            f"{one.cpu / one.number:.3f}",
            f"{one.pss / _MEBIBYTE:.1f}",
            f"{one.round_trips / one.number:.2f}",
        )
        for one in runs
    ]
    heads = (
        "daemon, identities",
        "all s",
        "each s",
        f"x of {runs[0].number}",
        "CPU s each",
        "PSS MiB",
        "CA round trips each",
    )
    print(table(heads, rows))
    print()
    print(
        verdict(f"time for each, {runs[-1].number} over {runs[0].number}", runs[-1].each / runs[0].each, _LINEAR, "x")
    )


def show_together(place: Path, number: int, runs: int, peers: int) -> None:
    """Print how long ``number`` take that begin at once, with each kind of key."""
    rows, verdicts = [], []
    for kind, key in _KEYS.items():
        ours = [enroll_together(place / f"{kind}-{index}", number, kind) for index in range(runs)]
        theirs = [certmonger_enrolls(place / f"certmonger-{kind}-{index}", number, key) for index in range(peers)]
        fast, slow = statistics.median(ours), statistics.median(theirs)
        rows += [
            (f"enrolld, {kind}", *_times(ours, number), "1.0"),
            (f"certmonger with openssl cmp, {kind}", *_times(theirs, number), f"{slow / fast:.1f}"),
        ]
        verdicts.append(verdict(f"{number} at once, {kind}", slow / fast, _FASTER, "x as fast", at_least=True))
    print(f"\n{number} at once, explicit confirmation, medians")
    print(table(("daemon, key", "runs", "all s", "each s", "x enrolld"), rows))
    print()
    for line in verdicts:
        print(line)


def _times(seconds: list[float], number: int) -> tuple[str, str, str]:
    middle = statistics.median(seconds)
    return f"{len(seconds)}", f"{middle:.2f}", f"{middle / number:.3f}"


if __name__ == "__main__":
    main()
