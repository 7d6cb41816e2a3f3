"""One enrollment beside ``openssl genpkey`` + ``openssl cmp``: as a whole process, and job after job in one.

    python tests/benchmarks/bench_enrollment.py [--rounds 15] [--jobs 10]

All talk to the same lab CA, a process of its own on loopback, by PasswordBasedMac with explicit confirmation, and make
a fresh key. OpenSSL is measured with its defaults and with ``-keep_alive 0``: by default it waits for a delayed
acknowledgement in every message but the first. ``worker`` is what the daemon starts, from its start to the installed
credential; ``enrollctl`` adds the command and the reading of the configuration. Ours is on disk for good (fsync) at
every step, OpenSSL's is not.

``forked`` is a worker where many jobs wait: it is forked from one that has loaded everything, whose own start does not
count here.

``jobs in a row`` is what a worker costs once it is loaded: ``--jobs`` jobs, one after the other, in one process. The
product starts a process for each job; this row shows what of its cost is the start. The same with the state in memory
(tmpfs) shows what being on disk for good costs.

Rows take turns, so that a noisy moment meets all of them; figures are medians of ``--rounds``.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import select
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[2]))

from agent import structure
from agent.contract import Action, Job, Progress, Verdict
from agent.settings import (
    AuthoritySettings,
    BootstrapSettings,
    IdentitySettings,
    KeyAlgorithm,
    KeySettings,
    SharedSecretSettings,
)
from agent.supervisor.children import Child
from agent.supervisor.forks import ForkServer
from agent.supervisor.secrets import Secrets
from agent.worker.enrollment import perform
from agent.worker.reporting import Reporter
from tests.benchmarks.authority import Authority, lab_ca
from tests.benchmarks.processes import cpu
from tests.benchmarks.tables import table, verdict
from tests.station import ENROLLCTL, ENVIRONMENT, REFERENCE, SECRET, SUBJECT, Station

ITERATIONS = 500
"""Of the MAC, on both sides alike: OpenSSL's default."""
KEYS = {
    KeyAlgorithm.EC_P256: ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
    KeyAlgorithm.RSA_2048: ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
}


FAST: Final = "openssl, -keep_alive 0"
DEFAULTS: Final = "openssl, defaults"
WORKER: Final = "worker"
COMMAND: Final = "enrollctl enroll"
FORKED: Final = "worker, forked"
ROW: Final = "jobs in a row"
ROW_IN_MEMORY: Final = "jobs in a row, tmpfs"
MEMORY: Final = Path("/dev/shm")  # noqa: S108 - where Linux has a tmpfs for everybody
GOALS: Final = {KeyAlgorithm.EC_P256: 5.0, KeyAlgorithm.RSA_2048: 2.0}
"""The most that the wall time may be, over that of the faster OpenSSL."""


@dataclass(frozen=True)
class Figures:
    """Seconds and MiB of one run, all its processes together; memory is that of the largest."""

    wall: float
    cpu: float
    peak: float


def spent(work: Callable[[], None], whose: int = resource.RUSAGE_CHILDREN) -> Figures:
    """Measure the processes that ``work`` starts and waits for, or, with RUSAGE_SELF, this one."""
    before, began = resource.getrusage(whose), time.perf_counter()
    work()
    wall, after = time.perf_counter() - began, resource.getrusage(whose)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Figures(wall, cpu, after.ru_maxrss / 1024)


def in_a_process(work: Callable[[], Figures]) -> Figures:
    """Run ``work`` in a child of its own: the peak of all children so far never falls again."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        try:
            figures = work()
            os.write(writer, json.dumps([figures.wall, figures.cpu, figures.peak]).encode())
        except subprocess.CalledProcessError as error:
            print(error, error.stdout.decode(), error.stderr.decode(), sep="\n", file=sys.stderr)
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return Figures(*json.loads(said))


def run(*command: object, **options: object) -> None:
    """Run a command that must succeed."""
    subprocess.run(
        [str(one) for one in command],
        check=True,
        env=ENVIRONMENT,
        capture_output=True,
        **options,  # type: ignore[call-overload]
    )


def openssl(place: Path, ca: Authority, key: tuple[str, ...], *options: str) -> Callable[[], None]:
    """Return the work of OpenSSL: make a key, get a certificate for it."""

    def work() -> None:
        run("openssl", "genpkey", *key, "-out", place / "key.pem")
        run(
            *("openssl", "cmp", "-cmd", "ir", "-server", ca.host, "-path", ca.path),
            *("-ref", REFERENCE, "-secret", f"pass:{SECRET}", "-subject", "/O=Operator/CN=enb-4711"),
            *("-newkey", place / "key.pem", "-certout", place / "certificate.pem"),
            *("-digest", "sha256", "-mac", "hmacWithSHA256"),
            *options,
        )

    return work


def authority(ca: Authority) -> AuthoritySettings:
    """Return the settings both of our rows use."""
    settings = AuthoritySettings(urls=(ca.url,), trust_anchors=(ca.root,))
    return replace(settings, mac=replace(settings.mac, iterations=ITERATIONS))


def job_of(place: Path, ca: Authority, key: KeyAlgorithm, state: Path | None = None) -> Job:
    """Return an enrollment with nothing yet on disk, which is below ``state`` if that is given."""
    identity = IdentitySettings(
        authority="operator",
        subject=SUBJECT,
        key=KeySettings(algorithm=key),
        bootstrap=BootstrapSettings(shared_secret=SharedSecretSettings(reference=REFERENCE, secret="file:secret")),
    )
    return Job(
        action=Action.ENROLL,
        name="ike",
        identity=identity,
        authority=authority(ca),
        state_directory=Path(tempfile.mkdtemp(prefix="state-", dir=state or place)),
    )


def worker(place: Path, ca: Authority, key: KeyAlgorithm) -> Callable[[], None]:
    """Return the work of a worker: a job on standard input, an installed credential at the end."""

    def work() -> None:
        reader, writer = os.pipe()
        os.write(writer, SECRET.encode())
        os.close(writer)
        job = replace(job_of(place, ca, key), secret_descriptor=reader)
        document = json.dumps(structure.to_json(job)).encode()
        run(sys.executable, "-I", "-m", "agent.worker", input=document, pass_fds=(reader,))
        os.close(reader)
        assert (job.state_directory / "identities" / "ike" / "current").exists()

    return work


def forked(place: Path, ca: Authority, key: KeyAlgorithm, number: int) -> Callable[[], Figures]:
    """Return the work of workers that are forked, one after the other; the figures are those of one."""

    def work() -> Figures:
        server = ForkServer(lambda: None, address_space=None)
        select.select([server.process.output], [], [])
        server.hear()
        assert server.ready
        loading, began = cpu(server.process.pid), time.perf_counter()
        for _ in range(number):
            child = Child(job_of(place, ca, key), Secrets(SECRET.encode()), _unheard, deadline=60, server=server)
            select.select([child.process.exited], [], [])
            assert child.over
            outcome = child.outcome()
            assert outcome.verdict is Verdict.ISSUED, outcome
            child.close()
        wall = time.perf_counter() - began
        server.dismiss()
        select.select([server.process.exited], [], [])
        assert server.over
        server.close()
        whole = resource.getrusage(resource.RUSAGE_CHILDREN)  # there are no others: see in_a_process
        return Figures(wall / number, (whole.ru_utime + whole.ru_stime - loading) / number, whole.ru_maxrss / 1024)

    return work


def _unheard(_: Progress) -> None:
    """Nobody watches."""


def in_a_row(place: Path, ca: Authority, key: KeyAlgorithm, number: int, state: Path) -> Callable[[], Figures]:
    """Return a worker's jobs one after the other in one process; the figures are those of one job."""

    def jobs(documents: list[bytes]) -> None:
        with Path(os.devnull).open("wb") as nowhere:
            for document in documents:
                job = structure.from_json(Job, json.loads(document))
                outcome = perform(job, SECRET.encode(), Reporter(nowhere.fileno(), {}))
                assert outcome.verdict is Verdict.ISSUED, outcome

    def work() -> Figures:
        documents = [json.dumps(structure.to_json(job_of(place, ca, key, state))).encode() for _ in range(number + 1)]
        jobs(documents[:1])  # what is made at the first use only
        gc.freeze()  # as a worker does
        whole = spent(lambda: jobs(documents[1:]), resource.RUSAGE_SELF)
        return Figures(whole.wall / number, whole.cpu / number, whole.peak)

    return work


def command(place: Path, ca: Authority, key: KeyAlgorithm) -> Callable[[], None]:
    """Return the work of ``enrollctl enroll``."""

    def work() -> None:
        station = Station(
            Path(tempfile.mkdtemp(prefix="station-", dir=place)), identity={"key": {"algorithm": key.value}}
        )
        station.configure(urls=[ca.url], trust_anchors=[str(ca.root)], mac={"iterations": ITERATIONS})
        run(ENROLLCTL, "--config", station.config, "enroll", "ike")

    return work


def main() -> None:
    """Print a table for each kind of key, and how the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--jobs", type=int, default=10, help="how many jobs a loaded worker does in each round")
    options = parser.parse_args()
    found = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory(dir=MEMORY) as memory,
        lab_ca(Path(folder) / "lab-ca") as ca,
    ):
        place = Path(folder)
        for key in KEYS:
            rows = rows_of(place, Path(memory), ca, key, options.jobs)
            taken: dict[str, list[Figures]] = {name: [] for name in rows}
            for _ in range(options.rounds):
                for name, work in rows.items():
                    taken[name].append(in_a_process(work))
            found[key] = {name: median(figures) for name, figures in taken.items()}
    for key, medians in found.items():
        print(f"{key.value}, median of {options.rounds}, Python {sys.version.split()[0]} of {sys.base_prefix}")
        show(medians)
    for key, medians in found.items():
        for line in verdicts(key, medians):
            print(line)


def rows_of(place: Path, memory: Path, ca: Authority, key: KeyAlgorithm, jobs: int) -> dict[str, Callable[[], Figures]]:
    """Return what is measured, by its name."""
    processes = {
        FAST: openssl(place, ca, KEYS[key], "-keep_alive", "0"),
        DEFAULTS: openssl(place, ca, KEYS[key]),
        WORKER: worker(place, ca, key),
        COMMAND: command(place, ca, key),
    }
    measured: dict[str, Callable[[], Figures]] = {name: partial(spent, work) for name, work in processes.items()}
    return measured | {
        FORKED: forked(place, ca, key, jobs),
        ROW: in_a_row(place, ca, key, jobs, place),
        ROW_IN_MEMORY: in_a_row(place, ca, key, jobs, memory),
    }


def median(figures: list[Figures]) -> Figures:
    """Return the median of each figure."""
    return Figures(*(statistics.median(getattr(one, what) for one in figures) for what in ("wall", "cpu", "peak")))


def fastest(medians: dict[str, Figures]) -> float:
    """Return the wall time of the faster OpenSSL."""
    return min(medians[FAST].wall, medians[DEFAULTS].wall)


def show(medians: dict[str, Figures]) -> None:
    """Print the medians, and the ratio of the wall time to the faster and to the default OpenSSL."""
    heads = ("one enrollment", "wall ms", "CPU ms", "peak MiB", "wall / faster", "wall / defaults", "a second and core")
    rows = [
        (
            name,
            f"{one.wall * 1000:.0f}",
            f"{one.cpu * 1000:.1f}",
            f"{one.peak:.1f}",
            f"{one.wall / fastest(medians):.2f}",
            f"{one.wall / medians[DEFAULTS].wall:.2f}",
            f"{1 / one.cpu:.0f}",
        )
        for name, one in medians.items()
    ]
    print(f"{table(heads, rows)}\n")


def verdicts(key: KeyAlgorithm, medians: dict[str, Figures]) -> Iterator[str]:
    """Give a line for each goal."""
    for name in (WORKER, COMMAND):
        yield verdict(
            f"{key.value}, {name}, wall / faster OpenSSL", medians[name].wall / fastest(medians), GOALS[key], "times"
        )
    if key is KeyAlgorithm.EC_P256:
        ratio = medians[WORKER].wall / medians[DEFAULTS].wall
        yield verdict(f"{key.value}, {WORKER}, wall / OpenSSL's defaults", ratio, 2.5, "times")
        for row in (ROW, ROW_IN_MEMORY):
            ratio = medians[FAST].cpu / medians[row].cpu
            yield verdict(f"{key.value}, {row}, a second and core / OpenSSL", ratio, 1.5, "times", at_least=True)


if __name__ == "__main__":
    main()
