"""What workers are forked from has loaded what a job needs, and nothing of any job stays with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from agent import structure
from agent.labca import LabCa, LabCaSettings, running
from agent.overview import look
from tests.unit.supervisor.daemons import CONFIG, daemon, eventually
from tests.unit.worker.desk import SECRET, Desk

NUMBER = 5
STREAMS = 3

LOADED_AT_WORK = """
import sys
from agent.worker import forking
forking.load()
before = set(sys.modules)
forking.worker.main()
print(*sorted(sys.modules.keys() - before), file=sys.stderr)
"""


def identities(number: int) -> str:
    head, _, body = CONFIG.partition("  ike:\n")
    return head + "".join(f"  enb-{one}:\n{body}" for one in range(number))


def forking_below(pid: int) -> list[int]:
    """Return the children of ``pid`` from which workers are forked."""
    found = []
    for one in children_of(pid):
        with suppress(OSError):  # it was done
            if b"agent.worker.forking" in Path(f"/proc/{one}/cmdline").read_bytes():
                found.append(one)
    return found


def children_of(pid: int) -> list[int]:
    """Return the processes that ``pid`` has started; none when it is gone."""
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def open_in(pid: int) -> int:
    """Return how many descriptors ``pid`` has; none when it is gone."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - of a running process
    except FileNotFoundError:
        return 0


def test_many_identities_are_enrolled_by_workers_that_are_forked_and_nothing_of_them_stays(tmp_path: Path) -> None:
    ca = LabCa(LabCaSettings(directory=tmp_path / "ca", secrets={"enb": "geheim"}, durable=False))
    names = [f"enb-{one}" for one in range(NUMBER)]
    with running(ca), daemon(tmp_path, identities(NUMBER).format(url=ca.url)) as site:
        assert eventually(lambda: bool(forking_below(site.process.pid)))
        (server,) = forking_below(site.process.pid)
        assert eventually(lambda: all(look(tmp_path / "state", one).usable for one in names)), site.errors()
        # A fork has one thread of those that there are: a lock that another one held would stay locked in it for ever.
        with suppress(FileNotFoundError):  # nobody needs it any more
            assert len(list(Path(f"/proc/{server}/task").iterdir())) == 1
        # Whoever is done is gone, and all that is open are three streams and the socket that requests come by.
        assert eventually(lambda: not children_of(server))
        assert eventually(lambda: open_in(server) <= STREAMS + 1)
    assert eventually(lambda: not Path(f"/proc/{server}").exists())
    assert [one.state for one in ca.record().transactions] == ["confirmed"] * NUMBER
    ca.close()


def test_what_a_job_needs_is_loaded_before_anything_is_forked(desk: Desk) -> None:
    secret, writer = os.pipe()
    os.write(writer, SECRET)
    os.close(writer)
    job = json.dumps(structure.to_json(desk.job) | {"secret-descriptor": secret}).encode()
    done = subprocess.run(
        [sys.executable, "-c", LOADED_AT_WORK], input=job, capture_output=True, check=True, pass_fds=(secret,)
    )
    os.close(secret)
    assert b'"issued"' in done.stdout
    assert done.stderr.split() == []
