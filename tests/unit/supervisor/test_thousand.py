"""A thousand identities in trouble, and whoever asks enrolld about all of them."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import varlink

from agent.cli.sight import Daemon, see
from agent.config import load
from agent.control_client import INTERFACE, LONGEST_ANSWER, connect
from agent.store.deployment import moment
from agent.store.generations import Credential, IdentityStore
from agent.store.state import IdentityState, LastError
from tests.unit.supervisor.daemons import NOBODY_LISTENS, Running, call, daemon

NAMES = [f"cell-{number:04d}.enb-4711.ran" for number in range(1000)]
IDENTITY = """\
  {name}:
    authority: lab
    subject: "CN={name}.operator.example,OU=Radio Access Network,O=Operator"
    bootstrap:
      shared-secret: {{reference: enb, secret: "file:secret"}}
"""
ERROR = (
    "no address of the CA could be reached: http://ra1.operator.example/.well-known/cmp at 192.0.2.7 port 80: did not "
    "answer within 10 seconds; http://ra2.operator.example/.well-known/cmp: the name cannot be resolved"
)
REMEDY = (
    "Check the port in the url and that the CA's service is running there; 'enrollctl doctor' looks at each step of "
    "the way from here to there, and says which one fails."
)


def configuration() -> str:
    head, _, _ = NOBODY_LISTENS.partition("identities:\n")
    return head + "identities:\n" + "".join(IDENTITY.format(name=name) for name in NAMES)


def make_trouble(state: Path) -> None:
    """Write what a CA out of reach and a consumer that does not run leave behind: renewals that fail."""
    now = datetime.now(UTC)
    later = now + timedelta(hours=5)
    store = IdentityStore(state, NAMES[0])
    description: dict[str, Any] = {
        "subject": f"CN={NAMES[0]}.operator.example,OU=Radio Access Network,O=Operator",
        "serial": "4f" * 20,
        "not_before": moment(now - timedelta(days=335)),
        "not_after": moment(now + timedelta(days=30)),
    }
    with store.lock():
        store.switch(store.add(Credential(certificate=b"c", key_reference="pkcs11:object=x", description=description)))
    store.state.save(
        IdentityState(
            attempts=17,
            last_error=LastError(text=ERROR, remedy=REMEDY, verdict="unreachable", at=now),
            last_success=now - timedelta(days=335),
            next_action="try again",
            next_action_at=later,
            since=now - timedelta(days=3),
            situation="expiring",
            refreshed_at=now,
            refresh_at=later,
            refresh_error=ERROR,
        )
    )
    for name in NAMES[1:]:
        shutil.copytree(store.directory, state / "identities" / name, symlinks=True)


@pytest.fixture(scope="module")
def enrolld(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    place = tmp_path_factory.mktemp("thousand")
    (place / "state").mkdir(mode=0o700)
    make_trouble(place / "state")
    with daemon(place, configuration()) as started:
        assert started.notifies(f"STATUS={len(NAMES)} identities: {len(NAMES)} expiring"), started.said
        yield started


def test_whoever_asks_about_all_of_them_is_told_everything(enrolld: Running) -> None:
    client = connect(enrolld.directory / "run")
    assert client is not None
    with client:
        found = client.identities()
        assert client.settings_of(NAMES[-1]) is not None, "the connection goes on"
    assert [one["name"] for one in found] == NAMES
    assert {one["last_error"] for one in found} == {ERROR}
    assert len(json.dumps(found)) > LONGEST_ANSWER, "it was worth asking"


def test_its_word_counts_for_the_commands(enrolld: Running) -> None:
    settings = load(enrolld.directory / "enrolld.yaml")
    sight = see(settings, NAMES, datetime.now(UTC))
    assert sight.daemon is Daemon.RUNS
    assert len(sight.seen) == len(NAMES)


def test_a_client_that_is_not_ours_gets_some_at_a_time_or_all_at_once(enrolld: Running) -> None:
    with varlink.Client(f"unix:{enrolld.control}") as client, client.open(INTERFACE) as peer:
        parts = [answer["identities"] for answer in peer.List(_more=True)]
        assert len(parts) > 1
        assert [one["name"] for part in parts for one in part] == NAMES
    (answer,) = call(enrolld, f"{INTERFACE}.List")
    assert [one["name"] for one in answer["parameters"]["identities"]] == NAMES


def test_who_reads_slowly_is_waited_for_and_others_are_served_meanwhile(enrolld: Running) -> None:
    with socket.socket(socket.AF_UNIX) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(str(enrolld.control))
        slow.settimeout(60)
        slow.sendall(json.dumps({"method": f"{INTERFACE}.List", "more": True}).encode() + b"\0")
        begun = slow.recv(100)
        for _ in range(20):
            (answer,) = call(enrolld, f"{INTERFACE}.Describe", name=NAMES[500])
            assert answer["parameters"]["identity"]["name"] == NAMES[500]
        heard = begun
        while not heard.endswith(b"\0") or json.loads(heard.rstrip(b"\0").rpartition(b"\0")[2]).get("continues"):
            heard += slow.recv(1 << 20)
    told = [json.loads(one)["parameters"]["identities"] for one in heard.rstrip(b"\0").split(b"\0")]
    assert [one["name"] for part in told for one in part] == NAMES
