"""The control socket of a real ``enrolld`` that has a CA, through a Varlink client that is not ours."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import varlink
from varlink.scanner import Interface

from agent.contract import Action, Outcome, Progress, Verdict
from agent.control_client import INTERFACE
from agent.labca import LabCa, LabCaSettings, running
from agent.overview import Consumer, Overview, look
from agent.supervisor import control
from agent.supervisor.clocks import Calendar
from agent.supervisor.control import Control, _Follower
from agent.supervisor.keeper import Keeper
from agent.supervisor.kept import Kept
from agent.supervisor.loop import Loop
from agent.supervisor.staff import Staff
from agent.supervisor.telling import Teller
from agent.supervisor.varlink import Call
from tests.station import asked
from tests.unit.supervisor.daemons import CONFIG, Running, call, daemon, eventually

SERVICE = "org.varlink.service"
DEPLOY = '    deploy: [{hook: {command: ["/bin/true"]}}]\n'


@pytest.fixture(scope="module")
def enrolld(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Give a daemon whose identity is enrolled."""
    place = tmp_path_factory.mktemp("control")
    ca = LabCa(LabCaSettings(directory=place / "ca", secrets={"enb": "geheim"}, durable=False))
    with running(ca), daemon(place, CONFIG.format(url=ca.url) + DEPLOY) as started:
        assert eventually(lambda: at_rest(started)), started.errors()
        yield started
    ca.close()


def at_rest(started: Running) -> bool:
    (answer,) = call(started, f"{INTERFACE}.Describe", name="ike")
    seen = answer["parameters"]["identity"]
    return bool(seen["usable"]) and not seen["running"]


@pytest.fixture
def peer(enrolld: Running) -> Iterator[Any]:
    """Give a connection of the Varlink project's own client. It checks parameters and answers against the interface."""
    with varlink.Client(f"unix:{enrolld.control}") as client, client.open(INTERFACE) as connection:
        yield connection


def interface(name: str) -> Interface:
    path = Path(control.__file__).with_name(f"{name}.varlink")
    return Interface(path.read_text())


def methods(name: str) -> dict[str, set[str]]:
    """Return what the interface file says: methods, and the names of their parameters."""
    found = {}
    for member in interface(name).members.values():
        if type(member).__name__ == "_Method":
            found[f"{name}.{member.name}"] = set(member.in_type.fields)
    return found


# --- the interface ----------------------------------------------------------------------------------------------------


def test_the_interface_file_has_the_methods_parameters_errors_and_types_of_the_program(tmp_path: Path) -> None:
    loop, teller = Loop(), Teller()
    keeper = Keeper(loop, Calendar(), teller, Staff(loop))
    ours = Control(loop, keeper, teller, tmp_path, lambda: None)
    try:
        assert {name: set(one.takes) for name, one in ours._methods.items()} == methods(INTERFACE) | methods(SERVICE)
    finally:
        ours.close()
        loop.close()
    members = interface(INTERFACE).members
    types = {name: set(members[name].type.fields) for name in ("Identity", "Consumer", "Outcome", "Event")}
    assert types["Identity"] == {one.name for one in fields(Overview)} | {"state_directory"}
    assert types["Consumer"] == {one.name for one in fields(Consumer)}
    assert types["Outcome"] == {one.name for one in fields(Outcome)}
    assert types["Event"] == {one.name for one in fields(Progress)}
    raised = set(re.findall(r'\{INTERFACE\}\.([A-Z]\w+)"', Path(control.__file__).read_text()))
    declared = {name for name, one in members.items() if type(one).__name__ == "_Error"}
    assert raised - {name.rpartition(".")[2] for name in methods(INTERFACE)} == declared


def test_a_client_that_is_not_ours_learns_the_interfaces_from_the_service(enrolld: Running) -> None:
    with varlink.Client(f"unix:{enrolld.control}") as client:
        assert client.get_interfaces() == [SERVICE, INTERFACE]
        assert client.get_interface(INTERFACE).description == interface(INTERFACE).description
        with client.open(SERVICE) as service:
            info = service.GetInfo()
            assert (info["product"], info["interfaces"]) == ("enrolld", [SERVICE, INTERFACE])
            with pytest.raises(varlink.VarlinkError) as refused:
                service.GetInterfaceDescription("com.example.none")
            assert refused.value.error() == f"{SERVICE}.InterfaceNotFound"


# --- every method -----------------------------------------------------------------------------------------------------


def test_it_tells_how_identities_are_and_what_jobs_rest_on(peer: Any) -> None:
    (listed,) = peer.List()["identities"]
    described = peer.Describe("ike")["identity"]
    assert listed == described
    assert (described["name"], described["state"], described["usable"]) == ("ike", "valid", True)
    settings = peer.GetSettings("ike")["settings"]
    assert settings["identity"]["subject"] == "CN=enb,O=Operator"
    assert "geheim" not in str(settings)


def test_it_enrolls_when_that_is_wanted_and_tells_every_step_to_who_wants_more(enrolld: Running, peer: Any) -> None:
    before = look(enrolld.directory / "state", "ike").serial
    assert peer.Enroll("ike")["outcome"]["verdict"] == "unchanged"
    *steps, last = list(peer.Enroll(name="ike", again=True, _more=True))
    assert last["outcome"]["verdict"] == "issued"
    assert {"started", "sent"} <= {one["event"]["event"] for one in steps}
    assert all(one["event"]["fields"]["IDENTITY"] == "ike" for one in steps)
    assert look(enrolld.directory / "state", "ike").serial != before


@pytest.mark.parametrize(("method", "verdict"), [("Renew", "issued"), ("Refresh", "done"), ("Deploy", "done")])
def test_it_does_each_job_that_is_asked_for(peer: Any, method: str, verdict: str) -> None:
    assert getattr(peer, method)("ike")["outcome"]["verdict"] == verdict


def test_it_looks_again_when_asked_to(peer: Any) -> None:
    assert peer.Retry() == {}
    assert peer.Retry("ike") == {}


def test_it_reads_its_file_again_and_subscribers_hear_of_it(enrolld: Running, peer: Any) -> None:
    heard: list[str] = []

    def subscribe() -> None:
        with varlink.Client(f"unix:{enrolld.control}") as client, client.open(INTERFACE) as subscriber:
            for one in subscriber.Subscribe(_more=True):
                heard.append(one["event"]["event"])
                if heard[-1] == "reloaded":
                    return

    thread = threading.Thread(target=subscribe)
    thread.start()
    # Nothing says when the subscription was taken.
    assert eventually(lambda: peer.Reload() == {} and "reloaded" in heard)
    thread.join()


@pytest.mark.parametrize(
    ("method", "parameters", "error"),
    [
        ("io.enrolld.control.Describe", {"name": "none"}, "io.enrolld.control.NoSuchIdentity"),
        ("io.enrolld.control.Describe", {"name": 5}, "org.varlink.service.InvalidParameter"),
        ("io.enrolld.control.Describe", {}, "org.varlink.service.InvalidParameter"),
        ("io.enrolld.control.Retry", {"name": "none"}, "io.enrolld.control.NoSuchIdentity"),
        ("io.enrolld.control.Enroll", {"name": "ike", "again": "yes"}, "org.varlink.service.InvalidParameter"),
        ("io.enrolld.control.Enroll", {"name": "ike", "agian": True}, "org.varlink.service.InvalidParameter"),
        ("io.enrolld.control.Refresh", {"name": "ike", "stay": True}, "org.varlink.service.InvalidParameter"),
        ("io.enrolld.control.Explode", {}, "org.varlink.service.MethodNotFound"),
        ("com.example.Some", {}, "org.varlink.service.InterfaceNotFound"),
        ("org.varlink.service.GetInterfaceDescription", {}, "org.varlink.service.InvalidParameter"),
        ("io.enrolld.control.Subscribe", {}, "org.varlink.service.ExpectedMore"),
    ],
)
def test_a_call_that_cannot_be_answered_is_refused_by_name(
    enrolld: Running, method: str, parameters: dict[str, Any], error: str
) -> None:
    (answer,) = call(enrolld, method, **parameters)
    assert answer["error"] == error


def test_a_job_of_another_kind_is_refused_while_one_runs_and_everything_while_it_ends(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with daemon(tmp_path, CONFIG.format(url=url).replace("[ca/root.pem]", "enrollment")) as started:
            worker, _ = silent.accept()
            assert call(started, f"{INTERFACE}.Refresh", name="ike") == [
                {"error": f"{INTERFACE}.Busy", "parameters": {"job": "enroll"}}
            ]
            started.process.send_signal(signal.SIGTERM)
            assert started.notifies("STOPPING=1")
            for method in ("Enroll", "Retry"):
                assert call(started, f"{INTERFACE}.{method}", name="ike")[0]["error"] == f"{INTERFACE}.Ending"
            assert "parameters" in call(started, f"{INTERFACE}.List")[0]
            worker.close()
            silent.close()


def test_what_goes_wrong_in_a_call_is_told_and_ends_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where the package was replaced while enrolld ran.
    monkeypatch.setattr(control, "__file__", str(tmp_path / "gone" / "control.py"))
    loop, teller = Loop(), Teller()
    told: list[str] = []
    teller.listeners.append(lambda _, text, __: told.append(text))
    ours = Control(loop, Keeper(loop, Calendar(), teller, Staff(loop)), teller, tmp_path, lambda: None)
    answers: list[dict[str, Any]] = []
    socket_ = tmp_path / INTERFACE

    def ask() -> None:
        answers.extend(asked(socket_, f"{SERVICE}.GetInterfaceDescription", interface=INTERFACE))
        answers.extend(asked(socket_, f"{SERVICE}.GetInfo"))

    heard = threading.Thread(target=ask)
    heard.start()
    end = time.monotonic() + 60
    while heard.is_alive() and time.monotonic() < end:
        loop.after(0.01, lambda: None)
        loop.turn()
    heard.join(1)
    ours.close()
    loop.close()
    refused, info = answers
    assert refused["error"] == f"{INTERFACE}.Defect"
    assert refused["parameters"]["reason"].startswith("FileNotFoundError")
    assert info["parameters"]["product"] == "enrolld"
    assert told[0].startswith(f"note: a call of {SERVICE}.GetInterfaceDescription was in vain: FileNotFoundError")


# --- who asks ---------------------------------------------------------------------------------------------------------

NOBODY = 65_534


def asked_as(user: int, group: int, directory: Path, octets: bytes) -> bytes:
    """Return what a process of another user hears on the socket in ``directory``, to the end."""
    reader, writer = os.pipe()
    place = os.open(directory, os.O_PATH)  # what lies above may be closed to him
    child = os.fork()
    if child == 0:
        os.fchdir(place)
        os.setgroups([])
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)
        code = 1
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(60)
                connection.connect(INTERFACE)
                connection.sendall(octets)
                connection.shutdown(socket.SHUT_WR)
                while heard := connection.recv(65_536):
                    os.write(writer, heard)
            code = 0
        except OSError as error:
            os.write(writer, type(error).__name__.encode())
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    os.close(place)
    os.waitpid(child, 0)
    return said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_who_is_neither_root_nor_enrolld_nor_of_its_group_is_told_so_and_hung_up_on(enrolld: Running) -> None:
    directory = enrolld.control.parent
    listing = f'{{"method": "{INTERFACE}.List"}}\0'.encode()
    assert asked_as(NOBODY, NOBODY, directory, listing) == b"PermissionError", "the directory is closed to him"
    directory.chmod(0o755)
    assert asked_as(NOBODY, NOBODY, directory, listing) == b"PermissionError", "the socket is closed to him"
    enrolld.control.chmod(0o666)
    try:
        # Even where somebody opened both, the kernel says who he is.
        said = asked_as(NOBODY, NOBODY, directory, listing * 3)
        needed = b'{"needed": "root, or the user or group of enrolld"}'
        assert said == b'{"error": "io.enrolld.control.NotPermitted", "parameters": ' + needed + b"}\0"
        # Its group may look, and touches nothing.
        reading = asked_as(NOBODY, os.getegid(), directory, listing)
        assert b'"name": "ike"' in reading
        acting = asked_as(NOBODY, os.getegid(), directory, f'{{"method": "{INTERFACE}.Reload"}}\0'.encode())
        assert b'NotPermitted", "parameters": {"needed": "root, or the user of enrolld"}' in acting
    finally:
        enrolld.control.chmod(0o660)
        directory.chmod(0o700)


def test_why_a_directory_cannot_be_used_is_shown_with_what_to_do(tmp_path: Path) -> None:
    loop, teller = Loop(), Teller()
    keeper = Keeper(loop, Calendar(), teller, Staff(loop))
    common = SimpleNamespace(state_directory=tmp_path, identities={"ike": None})
    keeper._configuration = cast(
        "Any", SimpleNamespace(identities={"ike": b""}, common=common, settings_of=lambda _: common)
    )
    keeper.identities["ike"] = Kept("ike", trouble="the disk is full", remedy="Free space.")
    ours = Control(loop, keeper, teller, tmp_path, lambda: None)
    shown = ours._shown("ike")
    ours.close()
    loop.close()
    assert (shown["state"], shown["last_error"], shown["remedy"]) == ("unenrolled", "the disk is full", "Free space.")


def test_whoever_follows_any_job_hears_that_nothing_more_is_done_for_its_identity(tmp_path: Path) -> None:
    loop, teller = Loop(), Teller()
    keeper = Keeper(loop, Calendar(), teller, Staff(loop))
    ours = Control(loop, keeper, teller, tmp_path, lambda: None)
    heard: list[tuple[dict[str, Any], bool]] = []

    class Asked(Call):
        open = True

        def answer(self, parameters: dict[str, Any], *, continues: bool = False) -> None:
            heard.append((parameters, continues))

    following = [
        _Follower(Asked(cast("Any", None), "", {}, more=True), action, stay=True)
        for action in (Action.ENROLL, Action.REFRESH)
    ]
    ours._following["ike"] = following
    keeper.tell("ike", None, Outcome(verdict=Verdict.FAILED, text="it is gone"))
    ours.close()
    loop.close()
    assert [(told["outcome"]["text"], more) for told, more in heard] == [("it is gone", False)] * 2
    assert ours._following == {}
