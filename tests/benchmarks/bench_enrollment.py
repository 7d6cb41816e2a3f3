"""One enrollment as a whole process, from its start to the installed credential, beside ``openssl genpkey`` + ``cmp``.

Both talk to the same lab CA, a process of its own on loopback, by PasswordBasedMac with explicit confirmation, and make
a fresh key. OpenSSL is measured with its defaults and with ``-keep_alive 0``: by default it waits for a delayed
acknowledgement in every message but the first. ``worker`` is what the daemon starts; ``enrollctl`` adds the command and
the reading of the configuration. Figures are medians; what counts is the ratio to the faster OpenSSL.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from agent import structure
from agent.contract import Action, Job
from agent.settings import (
    AuthoritySettings,
    BootstrapSettings,
    IdentitySettings,
    KeyAlgorithm,
    KeySettings,
    SharedSecretSettings,
)
from tests.station import ENROLLCTL, ENVIRONMENT, REFERENCE, SECRET, SUBJECT, Station

ROUNDS = int(os.environ.get("ROUNDS", "15"))
ITERATIONS = 500
"""Of the MAC, on both sides alike: OpenSSL's default."""
KEYS = {
    KeyAlgorithm.EC_P256: ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
    KeyAlgorithm.RSA_2048: ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
}


@dataclass(frozen=True)
class Figures:
    """Seconds and MiB of one run, all its processes together; memory is that of the largest."""

    wall: float
    cpu: float
    peak: float


def spent(work: Callable[[], None]) -> Figures:
    """Measure the processes that ``work`` starts and waits for."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    work()
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Figures(wall, cpu, after.ru_maxrss / 1024)


def in_a_process(work: Callable[[], None]) -> Figures:
    """As :func:`spent`, in a child of its own: the peak of all children so far never falls again."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        try:
            figures = spent(work)
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


@contextmanager
def lab_ca(directory: Path) -> Iterator[str]:
    """Run a lab CA in a process of its own; give its address."""
    command = [
        str(ENROLLCTL),
        "lab-ca",
        "--directory",
        str(directory),
        "--port",
        "0",
        "--secret",
        f"{REFERENCE}={SECRET}",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            line = next(line for line in process.stdout if "urls:" in line)
            drain = subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)
            yield line.split("[")[1].split("]")[0].strip("\"' ")
        finally:
            process.terminate()
            process.wait()
            drain.wait()


def openssl(place: Path, url: str, key: tuple[str, ...], *options: str) -> Callable[[], None]:
    """Return the work of OpenSSL: make a key, get a certificate for it."""
    host, _, path = url.removeprefix("http://").partition("/")

    def work() -> None:
        run("openssl", "genpkey", *key, "-out", place / "key.pem")
        run(
            *("openssl", "cmp", "-cmd", "ir", "-server", host, "-path", path),
            *("-ref", REFERENCE, "-secret", f"pass:{SECRET}", "-subject", "/O=Operator/CN=enb-4711"),
            *("-newkey", place / "key.pem", "-certout", place / "certificate.pem"),
            *("-digest", "sha256", "-mac", "hmacWithSHA256"),
            *options,
        )

    return work


def authority(place: Path, url: str) -> AuthoritySettings:
    """Return the settings both of our rows use."""
    settings = AuthoritySettings(urls=(url,), trust_anchors=(place / "lab-ca" / "root.pem",))
    return replace(settings, mac=replace(settings.mac, iterations=ITERATIONS))


def worker(place: Path, url: str, key: KeyAlgorithm) -> Callable[[], None]:
    """Return the work of a worker: a job on standard input, an installed credential at the end."""
    identity = IdentitySettings(
        authority="operator",
        subject=SUBJECT,
        key=KeySettings(algorithm=key),
        bootstrap=BootstrapSettings(shared_secret=SharedSecretSettings(reference=REFERENCE, secret="file:secret")),
    )

    def work() -> None:
        reader, writer = os.pipe()
        os.write(writer, SECRET.encode())
        os.close(writer)
        job = Job(
            action=Action.ENROLL,
            name="ike",
            identity=identity,
            authority=authority(place, url),
            state_directory=Path(tempfile.mkdtemp(prefix="state-", dir=place)),
            secret_descriptor=reader,
        )
        document = json.dumps(structure.to_json(job)).encode()
        run(sys.executable, "-I", "-m", "agent.worker", input=document, pass_fds=(reader,))
        os.close(reader)
        assert (job.state_directory / "identities" / "ike" / "current").exists()

    return work


def command(place: Path, url: str, key: KeyAlgorithm) -> Callable[[], None]:
    """Return the work of ``enrollctl enroll``."""

    def work() -> None:
        station = Station(
            Path(tempfile.mkdtemp(prefix="station-", dir=place)), identity={"key": {"algorithm": key.value}}
        )
        station.configure(
            urls=[url], trust_anchors=[str(place / "lab-ca" / "root.pem")], mac={"iterations": ITERATIONS}
        )
        run(ENROLLCTL, "--config", station.config, "enroll", "ike")

    return work


def main() -> None:
    """Print a table for each kind of key."""
    with tempfile.TemporaryDirectory() as folder, lab_ca(Path(folder) / "lab-ca") as url:
        place = Path(folder)
        for key, options in KEYS.items():
            rows = {
                "openssl, -keep_alive 0": openssl(place, url, options, "-keep_alive", "0"),
                "openssl, defaults": openssl(place, url, options),
                "worker": worker(place, url, key),
                "enrollctl enroll": command(place, url, key),
            }
            taken: dict[str, list[Figures]] = {name: [] for name in rows}
            for _ in range(ROUNDS):
                for name, work in rows.items():  # in turn, so that a noisy moment meets all of them
                    taken[name].append(in_a_process(work))
            show(key, taken)


def show(key: KeyAlgorithm, taken: dict[str, list[Figures]]) -> None:
    """Print medians, and the ratio of the wall time to the faster and to the default OpenSSL."""
    wall, cpu, peak = (
        {name: statistics.median(getattr(one, what) for one in figures) for name, figures in taken.items()}
        for what in ("wall", "cpu", "peak")
    )
    fastest = min(wall["openssl, -keep_alive 0"], wall["openssl, defaults"])
    title = f"{key.value}, median of {ROUNDS}"
    print(f"  {title:26}{'wall s':>9}{'CPU s':>9}{'peak MiB':>10}{'x fastest':>11}{'x defaults':>12}")
    for name in taken:
        ratios = f"{wall[name] / fastest:11.1f}{wall[name] / wall['openssl, defaults']:12.1f}"
        print(f"  {name:26}{wall[name]:9.3f}{cpu[name]:9.3f}{peak[name]:10.1f}{ratios}")


if __name__ == "__main__":
    main()
