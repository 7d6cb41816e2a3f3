"""A site is turned up within ten answers, or by a script without any; what goes wrong is said with what to do."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from agent.cli import hardware, provisioning, site_answers
from agent.cli.provisioning import Provisioning
from agent.errors import ConfigurationError, SecretError
from agent.labca import LabCa
from tests.bare import Bare, answer_all
from tests.printed import valid
from tests.screen import Screen, screen
from tests.station import ENROLLCTL, ENVIRONMENT, REFERENCE, SECRET, until

CONTENT = Provisioning(
    urls=("http://ra1.example/cmp", "http://ra2.example/cmp"),
    reference=REFERENCE,
    subject="CN=enb-4711,O=Operator",
    trust_anchors=(b"\x30\x03\x02\x01\x07",),
)


def test_a_script_turns_a_site_up_without_a_question(bare: Bare) -> None:
    report = bare.directory / "report.json"
    page = bare.directory / "report.txt"
    given = ["--secret-file", bare.secret(), "--report", str(report), "--report", str(page)]
    done = bare.run(*bare.answers(), *given)
    assert done.code == 0, done.err
    document = valid("turn-up", report.read_text())
    assert document["verdict"] == "issued"
    assert document["anchors-learned"]
    assert page.read_text() == done.out
    assert len(done.out.splitlines()) <= 60, "one page"
    assert not (bare.config.parent / "ike.secret").exists(), "a spent secret is removed"
    assert SECRET not in done.out + done.err + report.read_text() + bare.config.read_text()
    again = bare.run("--json")
    assert again.code == 0
    assert json.loads(again.out)["verdict"] == "unchanged"


def test_with_the_root_in_a_file_nothing_is_learned(bare: Bare, lab: LabCa) -> None:
    assert lab.settings.directory is not None
    root = lab.settings.directory / "root.pem"
    done = bare.run(*bare.answers(), "--secret-file", bare.secret(), "--trust-anchors", str(root), "--json")
    assert done.code == 0, done.err
    assert not json.loads(done.out)["anchors-learned"]
    assert yaml.safe_load(bare.config.read_text())["authorities"]["operator"]["trust-anchors"] == ["operator-root.pem"]


def test_a_state_directory_is_where_the_command_line_says_it_is(bare: Bare) -> None:
    """In the configuration a relative path would start in the configuration's directory."""
    given = [*bare.command(*bare.answers(), "--secret-file", bare.secret())]
    given[given.index(bare.state)] = bare.state.name
    done = subprocess.run(
        given,
        cwd=bare.directory,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(bare.config.read_text())["state-directory"] == str(bare.state)


@pytest.mark.parametrize("missing", ["--url", "--reference", "--secret-file"])
def test_what_is_missing_is_named_where_nobody_can_be_asked(bare: Bare, missing: str) -> None:
    given = [*bare.answers(), "--secret-file", bare.secret()]
    place = given.index(missing)
    del given[place : place + 2]
    done = bare.run(*given)
    assert done.code == 2
    assert "nobody can be asked here" in done.problem
    assert done.remedy == f"Give {missing}."
    assert not bare.config.exists()


def test_a_wrong_answer_writes_nothing(bare: Bare) -> None:
    done = bare.run("--url", "ftp://ra", "--reference", "r", "--subject", "CN=x", "--secret-file", bare.secret())
    assert done.code == 2
    assert done.problem
    assert not bare.config.exists()


def test_a_fault_that_the_doctor_finds_stops_before_anything_is_sent(bare: Bare, lab: LabCa) -> None:
    before = lab.record().certificates
    bare.state.chmod(0o755)
    done = bare.run(*bare.answers(), "--secret-file", bare.secret())
    assert done.code == 1
    assert done.problem.startswith("state-directory: ")
    assert "chmod 700" in done.remedy
    assert done.remedy.endswith("leave out the answers: they are kept."), "with them it would be asked to change a file"
    assert lab.record().certificates == before
    bare.state.chmod(0o700)
    assert bare.run().code == 0, "what was answered is kept"


def test_a_configuration_that_exists_is_not_changed_unasked(bare: Bare) -> None:
    assert bare.run(*bare.answers(), "--secret-file", bare.secret()).code == 0
    before = bare.config.read_text()
    done = bare.run(*bare.answers(), "--secret-file", bare.secret())
    assert done.code == 2
    assert "exists already" in done.problem
    assert "--replace" in done.remedy
    assert bare.config.read_text() == before
    done = bare.run("--replace", *bare.answers(), "--secret-file", bare.secret(), "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["verdict"] == "issued", "whoever gives a new secret wants a new certificate"


def test_a_wrong_secret_where_nobody_can_be_asked_is_one_try(bare: Bare) -> None:
    done = bare.run(*bare.answers(), "--secret-file", bare.secret("quite-wrong"))
    assert done.code == 4
    assert "not done" in done.out
    assert done.remedy
    assert bare.run("--secret-file", bare.secret()).code == 0, "the right one needs nothing but itself"


# ------------------------------------------------------------------------------------------------------ on a terminal


@contextmanager
def a_quick_turn_up(bare: Bare, *arguments: str) -> Iterator[Screen]:
    """A turn-up on a terminal: ten answers are enough, and a minute of machine time."""
    begun = time.monotonic()
    with screen(bare.directory, bare.command(*arguments)) as terminal:
        yield terminal
        assert terminal.answers <= 10
        terminal.assert_fits()
    assert time.monotonic() - begun < 60


def test_a_technician_gives_six_answers_and_gets_a_page(bare: Bare) -> None:
    with a_quick_turn_up(bare) as terminal:
        answer_all(terminal, bare.url)
        terminal.wait_for("TURN-UP REPORT")
        assert terminal.ended() == 0
        shown = terminal.scrolled()
    assert SECRET not in shown
    for step in ("sending ir", "the certificate passed every check", "sending certConf", "installed"):
        assert step in shown
    assert "result: done: the certificate is installed and valid" in " ".join(shown.split())


def test_a_wrong_secret_then_a_right_one_is_enough(bare: Bare) -> None:
    with a_quick_turn_up(bare) as terminal:
        answer_all(terminal, bare.url, secret="wrong-one")
        terminal.wait_for("the CA does not accept the secret")
        terminal.wait_for("(Enter: stop here)")
        terminal.type(SECRET)
        terminal.wait_for("TURN-UP REPORT")
        assert terminal.ended() == 0
        assert "wrong-one" not in terminal.scrolled()


def test_before_the_third_secret_a_warning_is_shown_and_after_it_no_more_is_asked(bare: Bare) -> None:
    with screen(bare.directory, bare.command()) as terminal:
        answer_all(terminal, bare.url, secret="wrong-one")
        terminal.wait_for("(Enter: stop here)")
        assert "may lock the reference" not in terminal.scrolled()
        terminal.type("wrong-two")
        terminal.wait_for("the CA may lock the reference after one more")
        terminal.type("wrong-three")
        terminal.wait_for("enrollctl: what to do:")
        assert terminal.ended() == 4
        assert terminal.scrolled().count("does not accept") == 2


def test_secrets_that_were_refused_in_an_earlier_run_count(bare: Bare) -> None:
    assert bare.run(*bare.answers(), "--secret-file", bare.secret("wrong-one")).code == 4
    with screen(bare.directory, bare.command()) as terminal:
        terminal.wait_for("the CA refused the secret last time")
        terminal.wait_for("(Enter: the one that is here)")
        assert "may lock the reference" not in terminal.scrolled()
        terminal.type("wrong-two")
        terminal.wait_for("the CA may lock the reference after one more")
        terminal.type(SECRET)
        terminal.wait_for("result: done")
        assert terminal.ended() == 0


def test_a_ca_that_decides_while_the_technician_waits_is_one_turn_up(slow_lab: LabCa, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    bare = Bare(tmp_path, slow_lab.url)
    slow_lab.approve()
    with a_quick_turn_up(bare) as terminal:
        answer_all(terminal, bare.url)
        terminal.wait_for("the CA has not decided yet")
        assert slow_lab.approve() == 1
        terminal.wait_for("result: done: the certificate is installed and valid")
        assert terminal.ended() == 0


def test_a_pending_ca_ends_in_a_page_that_says_so_and_the_next_run_goes_on(slow_lab: LabCa, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    bare = Bare(tmp_path, slow_lab.url)
    with a_quick_turn_up(bare, "--wait", "0s") as terminal:
        answer_all(terminal, bare.url)
        terminal.wait_for("the CA has not decided yet (the request is being considered)")
        shown = terminal.wait_for("result: pending: the CA has not decided yet")
        assert terminal.ended() == 3
        assert "what to do" in shown
        assert "transactionID:" in shown, "the CA's operator finds the request by it"
    assert (bare.config.parent / "ike.secret").exists(), "it is needed until the certificate is there"
    until(slow_lab.approve)
    done = bare.run("--wait", "60s")
    assert done.code == 0, done.err
    assert not (bare.config.parent / "ike.secret").exists()


# ------------------------------------------------------------------------------------------ provisioning file and QR


def test_a_sealed_file_opens_with_its_secret_only() -> None:
    octets = provisioning.write_file(CONTENT, SECRET.encode(), os.urandom)
    sealed = provisioning.read_file(octets)
    assert sealed.reference == REFERENCE
    assert sealed.open(SECRET.encode()) == CONTENT
    with pytest.raises(SecretError, match="not sealed with this secret"):
        sealed.open(b"another")


@pytest.mark.parametrize(
    "change", [(b"ra1", b"evl"), (b"enb-4711,", b"enb-4712,"), (b"url: http://ra2.example/cmp\n", b"")]
)
def test_an_altered_file_does_nothing(change: tuple[bytes, bytes]) -> None:
    octets = provisioning.write_file(CONTENT, SECRET.encode(), os.urandom)
    assert change[0] in octets
    with pytest.raises(SecretError, match="somebody changed it"):
        provisioning.read_file(octets.replace(*change)).open(SECRET.encode())


@pytest.mark.parametrize(
    "octets",
    [
        b"", b"\xff", b"hello", b"enrolld-provisioning: 1\nurl: http://x\n",
        b"enrolld-provisioning: 1\nurl: u\nreference: r\nseal: pbkdf2-hmac-sha256 1 00112233445566778899 " + b"0" * 64,
        b"enrolld-provisioning: 2\nseal: pbkdf2-hmac-sha256 600000 " + b"0" * 32 + b" " + b"0" * 64,
        b"x" * (provisioning.LARGEST + 1),
    ],
)  # fmt: skip
def test_what_is_no_provisioning_file_is_refused_with_a_remedy(octets: bytes) -> None:
    with pytest.raises(ConfigurationError, match="no provisioning file") as caught:
        provisioning.read_file(octets)
    assert caught.value.remedy


def test_a_stick_and_a_secret_turn_a_site_up(bare: Bare, lab: LabCa) -> None:
    stick = bare.directory / "stick"
    stick.mkdir()
    content = Provisioning(urls=(bare.url,), reference=REFERENCE, subject="CN=enb-4711", trust_anchors=(root_of(lab),))
    (stick / provisioning.NAME).write_bytes(provisioning.write_file(content, SECRET.encode(), os.urandom))
    wrong = bare.run("--provisioning", str(stick), "--secret-file", bare.secret("other"))
    assert wrong.code == 4
    assert "not sealed with this secret" in wrong.problem
    assert not bare.config.exists(), "a stray stick does nothing"
    done = bare.run("--provisioning", str(stick), "--secret-file", bare.secret(), "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["subject"] == "CN=enb-4711"


def root_of(ca: LabCa) -> bytes:
    from agent.store import pem  # noqa: PLC0415 - beside its one use

    assert ca.settings.directory is not None
    (root,) = pem.decode((ca.settings.directory / "root.pem").read_bytes())
    return root


def test_a_stick_for_another_device_is_refused(bare: Bare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "serial_number", lambda: "4712")
    content = Provisioning(urls=(bare.url,), reference=REFERENCE, serial_number="4711")
    with pytest.raises(ConfigurationError, match="is for the device 4711, and this is 4712"):
        site_answers._demand_this_device(content)
    monkeypatch.setattr(hardware, "serial_number", lambda: "4711")
    site_answers._demand_this_device(content)


def test_the_operator_makes_the_file_with_a_command(bare: Bare, lab: LabCa) -> None:
    assert lab.settings.directory is not None
    target = bare.directory / provisioning.NAME
    done = subprocess.run(
        [
            ENROLLCTL, "provision", "--url", bare.url, "--reference", REFERENCE, "--subject", "CN=enb-4711",
            "--trust-anchors", lab.settings.directory / "root.pem", "--secret-file", bare.secret(), target,
        ],
        env=ENVIRONMENT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr + target.read_text()
    assert bare.run("--provisioning", str(target), "--secret-file", bare.secret()).code == 0


def test_the_text_of_a_qr_code_holds_everything() -> None:
    text = provisioning.write_qr(CONTENT, SECRET)
    content, secret = provisioning.read_qr(f" {text}\n")
    assert (content.urls, content.reference, content.subject) == (CONTENT.urls, REFERENCE, CONTENT.subject)
    assert secret == SECRET.encode()


@pytest.mark.parametrize("text", ["", "http://evil.example", "enrolld:1?url=x&ref=y", "enrolld:1?" + "url=x&" * 400])
def test_another_qr_code_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        provisioning.read_qr(text)
    assert caught.value.remedy
    assert text not in str(caught.value) or not text


def test_a_qr_code_is_the_only_answer(bare: Bare) -> None:
    text = provisioning.write_qr(Provisioning(urls=(bare.url,), reference=REFERENCE, subject="CN=enb-4711"), SECRET)
    with screen(bare.directory, bare.command("--qr")) as terminal:
        terminal.wait_for("text of the QR code")
        terminal.type(text)
        shown = terminal.wait_for("TURN-UP REPORT")
        assert terminal.ended() == 0
        assert SECRET not in shown
    assert terminal.answers == 1


# ---------------------------------------------------------------------------------------------------- serial number


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"AB12-34\n", "AB12-34"), (b"4711\0", "4711"), (b"To Be Filled By O.E.M.\n", None), (b"", None),
        (b"\xff\xfe,CN=admin", "CN-admin"), (b"x" * 100, None),
    ],
)  # fmt: skip
def test_the_serial_number_is_safe_to_put_into_a_name(octets: bytes, expected: str | None, tmp_path: Path) -> None:
    source = tmp_path / "serial"
    source.write_bytes(octets)
    assert hardware.serial_number((tmp_path / "none", source)) == expected
