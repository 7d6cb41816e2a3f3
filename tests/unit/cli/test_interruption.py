"""Ctrl-C, kill and a closed terminal while the CA is undecided: the request stays open, the same command goes on."""

from __future__ import annotations

import os
import signal

import pytest

from agent.cmp.messages import BodyType
from agent.labca import LabCa
from tests.station import Station, until, worker_of


def pending(station: Station) -> bool:
    snapshot = station.store.transaction.load_snapshot()
    transaction = snapshot["transaction"] if snapshot else {}
    return isinstance(transaction, dict) and transaction.get("state") == "waiting"


def goes_on(station: Station, ca: LabCa, transaction_id: object) -> None:
    """Demand that the same transaction ends in one certificate."""
    assert ca.approve() == 1
    done = station.run("enroll", "ike")
    assert done.code == 0, done.err
    assert "going on with the request of" in done.err
    assert "sending ir" not in done.err
    current = station.current
    assert current.description["transaction_id"] == transaction_id
    (transaction,) = [one for one in ca.record().transactions if one.id.hex() == transaction_id]
    assert [one.type for one in transaction.messages].count(BodyType.IR) == 1
    assert [one.transaction_id for one in ca.record().certificates].count(transaction.id) == 1


def open_transaction(station: Station) -> object:
    snapshot = station.store.transaction.load_snapshot()
    assert snapshot is not None
    transaction = snapshot["transaction"]
    assert isinstance(transaction, dict)
    return transaction["transaction_id"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_the_request_open(
    slow_station: Station, slow_lab: LabCa, number: signal.Signals
) -> None:
    with slow_station.running("enroll", "ike") as process:
        until(lambda: pending(slow_station))
        os.killpg(process.pid, number)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 3
    assert out == "ike: interrupted; the request stays open\n"
    assert err.splitlines()[-1].startswith("enrollctl: what to do: Ask again in ")
    assert "Traceback" not in err
    goes_on(slow_station, slow_lab, open_transaction(slow_station))


def test_a_worker_that_was_killed_is_named_and_the_request_goes_on(slow_station: Station, slow_lab: LabCa) -> None:
    with slow_station.running("enroll", "ike") as process:
        until(lambda: pending(slow_station))
        os.kill(worker_of(process), signal.SIGKILL)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert out == ""
    assert "enrollctl: error: ike: the worker was killed by SIGKILL\n" in err
    goes_on(slow_station, slow_lab, open_transaction(slow_station))


def test_a_command_that_was_killed_leaves_a_worker_that_ends_by_itself(slow_station: Station, slow_lab: LabCa) -> None:
    with slow_station.running("enroll", "ike") as process:
        until(lambda: pending(slow_station))
        worker = worker_of(process)
        process.kill()
        process.wait()
        until(lambda: not running(worker))
    goes_on(slow_station, slow_lab, open_transaction(slow_station))


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_an_interruption_before_the_worker_begins_is_told(station: Station) -> None:
    with station.running("enroll", "ike") as process:
        worker_of(process)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert "Traceback" not in err
    assert process.returncode in {0, 1}
    if process.returncode:
        assert out == ""
        assert "interrupted" in err
        assert err.splitlines()[-1].startswith("enrollctl: what to do: Run the command again")


def test_a_reader_that_goes_away_does_not_stop_the_enrollment(station: Station) -> None:
    with station.running("enroll", "ike") as process:
        assert process.stderr is not None
        process.stderr.close()
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(timeout=30) == 0
    assert station.current.confirmed
