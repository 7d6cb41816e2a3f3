"""What charon reports, as it was recorded from strongSwan 5.9.8, and what is made of it."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.deploy.charon import Charon
from agent.deploy.strongswan import _reason, _refusal
from agent.deploy.watch import Watch, purpose
from agent.errors import ConsumerRefused, ConsumerUnavailable, ConsumerUnproven


def watch(*before: str) -> Watch:
    return Watch("gw", frozenset(before))


def updown(unique: str, *, up: bool, connection: str = "gw") -> tuple[str, dict[str, Any]]:
    details: dict[str, Any] = {"up": b"yes"} if up else {}
    return "ike-updown", details | {connection: {"uniqueid": unique.encode(), "state": b"ESTABLISHED"}}


def line(unique: str, text: str, connection: str = "gw") -> tuple[str, dict[str, Any]]:
    return "log", {"ikesa-name": connection.encode(), "ikesa-uniqueid": unique.encode(), "msg": text.encode()}


def seen(one: Watch, *events: tuple[str, dict[str, Any]]) -> Watch:
    for event in events:
        one.note(*event)
    return one


def test_make_before_break_shows_the_new_tunnel_before_the_old_one_goes() -> None:
    one = seen(watch("1"), updown("2", up=True), updown("1", up=False))
    assert (one.up, one.lost, one.failed, one.broke_first) == ({"2"}, {"1"}, set(), False)


def test_break_before_make_is_noticed() -> None:
    one = seen(watch("1"), updown("1", up=False), updown("2", up=True))
    assert one.up == {"2"}
    assert one.broke_first


def test_another_connection_proves_nothing() -> None:
    one = seen(watch("1"), updown("2", up=True, connection="other"), line("2", "no private key found", "other"))
    assert not one.up
    assert not one.lines


def test_a_refusal_of_the_peer_is_told_with_who_to_ask() -> None:
    one = seen(
        watch("1"),
        line("2", "parsed IKE_AUTH response 1 [ N(AUTH_FAILED) ]"),
        updown("2", up=False),
        line("2", "received AUTHENTICATION_FAILED notify error"),
    )
    refusal = _refusal(one, iter([one] * 1000))
    assert isinstance(refusal, ConsumerRefused)
    assert "received AUTHENTICATION_FAILED" in str(refusal)
    assert "trusts the issuer" in refusal.remedy


def test_a_key_that_is_missing_here_is_a_refusal_with_another_remedy() -> None:
    one = seen(watch("1"), line("2", "no private key found for 'enb1.ran.example'"), updown("2", up=False))
    refusal = _refusal(one, iter([one] * 1000))
    assert isinstance(refusal, ConsumerRefused)
    assert "local.id" in refusal.remedy


def test_no_answer_is_no_refusal() -> None:
    one = seen(
        watch("1"),
        line("2", "giving up after 2 retransmits"),
        line("2", "establishing IKE_SA failed, peer not responding"),
    )
    assert one.failed == {"2"}
    assert isinstance(_refusal(one, iter([one] * 1000)), ConsumerUnproven)


@given(st.lists(st.tuples(st.sampled_from("123456"), st.booleans()), max_size=20))
def test_an_old_tunnel_never_counts_as_new_and_a_new_one_never_as_lost(events: list[tuple[str, bool]]) -> None:
    one = seen(watch("1", "2", "3"), *(updown(unique, up=up and unique > "3") for unique, up in events))
    assert one.up <= {"4", "5", "6"}
    assert one.lost <= one.before
    assert not one.failed & one.before


@given(st.text(max_size=400), st.binary(max_size=400))
def test_whatever_charon_logs_is_kept_short(text: str, octets: bytes) -> None:
    one = watch("1")
    for _ in range(300):
        one.note("log", {"ikesa-name": b"gw", "msg": octets})
        one.note(*line("2", f"failed {text}"))
    assert len(one.lines) == 200
    assert len(_reason(one)) <= 300


def test_a_charon_that_is_not_there_is_named_with_what_to_start(tmp_path: Path) -> None:
    with pytest.raises(ConsumerUnavailable, match="No such file") as caught, Charon(str(tmp_path / "vici")).connected():
        pass
    assert "systemctl start strongswan" in caught.value.remedy


@pytest.mark.parametrize(
    "answer",
    [b"", b"\x00\x00\x00\x00", b"\x00\x00\x00\x02\x07\x03", b"\x00\x00\x00\x03\x05\x63\x00" * 2,
     b"\x00\x00\x00\x01\x05" + b"\x00\x00\x00\x04\x01\x03\x01\xff"],
    ids=["nothing", "an empty message", "another kind", "an event confirmed twice", "a name that is no text"],
)  # fmt: skip
def test_a_socket_that_answers_rubbish_is_no_charon(tmp_path: Path, answer: bytes) -> None:
    """Cut short, a message of another kind, an element of no kind: none of it is taken for a charon."""
    path = tmp_path / "vici"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        charon = Charon(str(path), timeout=2)
        with pytest.raises((ConsumerUnavailable, ConsumerRefused)), charon.connected():  # noqa: PT012 - one conversation
            peer, _ = listener.accept()
            with peer:
                peer.sendall(answer)
                if not answer:
                    peer.shutdown(socket.SHUT_WR)
                charon.certificates()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(b"\0\0", "middle"), (b"\0\0\0\x09\x01", "middle"), (struct.pack("!I", 1 << 27) + bytes(1 << 16), "vici")],
    ids=["half a length", "half a message", "a message of 128 MiB"],
)
def test_a_message_that_does_not_end_is_given_up_in_time(tmp_path: Path, answer: bytes, reason: str) -> None:
    path = tmp_path / "vici"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        charon = Charon(str(path), timeout=0.5)
        began = time.monotonic()
        with pytest.raises(ConsumerUnavailable, match=reason), charon.connected():  # noqa: PT012 - one conversation
            peer, _ = listener.accept()
            with peer:
                peer.sendall(answer)
                charon.keys()
        assert time.monotonic() - began < 5


def test_a_message_that_comes_in_drips_has_no_more_time_than_another(tmp_path: Path) -> None:
    path = tmp_path / "vici"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        charon = Charon(str(path), timeout=0.5)
        over = threading.Event()

        def drip(peer: socket.socket) -> None:
            with peer, suppress(OSError):
                while not over.wait(0.1):
                    peer.sendall(b"\1")

        with pytest.raises(ConsumerUnavailable, match="middle"), charon.connected():  # noqa: PT012 - one conversation
            peer, _ = listener.accept()
            peer.sendall(b"\0\0\0\xff")
            dripping = threading.Thread(target=drip, args=(peer,))
            dripping.start()
            try:
                charon.keys()
            finally:
                over.set()
                dripping.join()


def test_a_tunnel_made_twice_is_told_from_one_with_another_peer_or_for_other_traffic() -> None:
    def tunnel(peer: bytes = b"enb1", port: bytes = b"4500", *networks: bytes) -> dict[str, Any]:
        child = {"local-ts": [b"10.0.0.0/8"], "remote-ts": list(networks) or [b"10.46.1.1/32"]}
        return {"remote-id": peer, "remote-host": b"192.0.2.1", "remote-port": port, "child-sas": {"s1-1": child}}

    assert purpose(tunnel()) == purpose(tunnel())
    others = tunnel(b"enb2"), tunnel(b"enb1", b"1024"), tunnel(b"enb1", b"4500", b"10.46.1.2/32")
    assert len({purpose(one) for one in (tunnel(), *others)}) == 4
