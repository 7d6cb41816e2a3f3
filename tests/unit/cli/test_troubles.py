"""What can go wrong at a site is a sentence on what happened and one on what to do; nothing that was there is lost."""

from __future__ import annotations

import re
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from agent.labca import LabCa
from tests.bare import Bare, answer_all, questions
from tests.screen import Screen, screen
from tests.station import ENROLLCTL, SECRET, Finished, Station, until

COUNT = len(questions(""))


def ended_in_words(terminal: Screen, code: int, *, happened: str, remedy: str) -> None:
    """Demand that the last two things shown are what happened and what to do."""
    terminal.wait_for("enrollctl: what to do:")
    assert terminal.ended() == code
    shown = " ".join(terminal.scrolled().split())
    assert "Traceback" not in shown
    assert re.search("^enrollctl: error:", terminal.scrolled(), re.MULTILINE), "not beside the question"
    assert happened in shown.rpartition("enrollctl: error:")[2].partition("enrollctl: what to do:")[0]
    assert remedy in shown.rpartition("enrollctl: what to do:")[2]
    terminal.assert_fits()


@pytest.mark.parametrize("answered", range(COUNT))
def test_ctrl_c_at_any_question(bare: Bare, answered: int) -> None:
    asked = questions(bare.url)
    with screen(bare.directory, bare.command()) as terminal:
        for question, answer in asked[:answered]:
            terminal.wait_for(question)
            terminal.type(answer)
        terminal.wait_for(asked[answered][0])
        terminal.interrupt()
        ended_in_words(terminal, 1, happened="interrupted", remedy="nothing on disk was lost")
    assert not bare.config.exists()


def test_ctrl_c_where_a_wrong_secret_may_be_typed_again(bare: Bare) -> None:
    with screen(bare.directory, bare.command()) as terminal:
        answer_all(terminal, bare.url, secret="wrong-one")
        terminal.wait_for("(Enter: stop here)")
        terminal.interrupt()
        ended_in_words(terminal, 1, happened="interrupted", remedy="nothing on disk was lost")
    assert bare.run("--secret-file", bare.secret()).code == 0


def test_ctrl_c_where_a_fault_may_be_passed_over(bare: Bare) -> None:
    bare.state.chmod(0o755)
    with screen(bare.directory, bare.command()) as terminal:
        answer_all(terminal, bare.url)
        terminal.wait_for("enroll in spite of these faults?")
        terminal.interrupt()
        ended_in_words(terminal, 1, happened="interrupted", remedy="nothing on disk was lost")


def test_ctrl_c_before_a_revocation(station: Station) -> None:
    assert station.run("enroll").code == 0
    with screen(station.directory, [ENROLLCTL, "--config", station.config, "revoke", "ike"]) as terminal:
        terminal.wait_for("this cannot be undone")
        terminal.interrupt()
        ended_in_words(terminal, 1, happened="interrupted", remedy="nothing on disk was lost")
    assert station.run("status", "ike").out.splitlines()[1].split() == ["state:", "valid"]


def hang_up(terminal: Screen) -> None:
    """Let the terminal die, and wait until the program has, too."""
    pid = terminal.process()
    terminal.tmux("kill-pane", "-t", "0")
    until(lambda: not Path(f"/proc/{pid}").exists() or _zombie(pid))
    with pytest.raises(subprocess.CalledProcessError):
        terminal.shown()
    terminal.tmux("start-server", ";", "new-session", "-d")  # for the end of the block


def _zombie(pid: int) -> bool:
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def test_a_terminal_that_dies_at_a_question_leaves_nothing_half_written(bare: Bare) -> None:
    with screen(bare.directory, bare.command()) as terminal:
        terminal.wait_for("address of the CA")
        hang_up(terminal)
    assert not bare.config.exists()


def test_a_terminal_that_dies_while_the_ca_thinks_leaves_a_request_that_goes_on(
    slow_lab: LabCa, tmp_path: Path
) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    bare = Bare(tmp_path, slow_lab.url)
    with screen(bare.directory, bare.command()) as terminal:
        answer_all(terminal, bare.url)
        terminal.wait_for("the CA has not decided yet")
        hang_up(terminal)
    before = len(slow_lab.record().transactions)
    assert slow_lab.approve() == 1
    done = bare.run("--wait", "60s")
    assert done.code == 0, done.err
    assert "going on with the request of" in done.err
    assert len(slow_lab.record().transactions) == before, "it was the same request"


# --- the clock --------------------------------------------------------------------------------------------------------


def at(moment: datetime, station: Station, *arguments: str) -> Finished:
    """Run a command while the clock shows ``moment``."""
    return station.run(*arguments, prefix=("faketime", "-f", f"@{moment.astimezone():%Y-%m-%d %H:%M:%S}"))


EPOCH = datetime.fromisoformat("1970-01-01T00:05:00+00:00")


def test_in_1970_a_turn_up_stops_before_the_secret_is_used(bare: Bare, lab: LabCa) -> None:
    before = len(lab.record().transactions)
    clock = ["faketime", "-f", "@1970-01-01 00:05:00"]
    with screen(bare.directory, [*clock, *bare.command()]) as terminal:
        answer_all(terminal, bare.url)
        terminal.wait_for("enroll in spite of these faults?")
        terminal.type("n")
        ended_in_words(terminal, 1, happened="clock: it shows 1970-01-01", remedy="Set it with date --utc --set")
    assert len(lab.record().transactions) == before
    assert bare.run().code == 0, "the answers are kept, and the right clock is enough"


def test_in_1970_a_good_certificate_is_kept_and_the_clock_is_named(station: Station) -> None:
    assert station.run("enroll").code == 0
    before = station.credential()
    shown = at(EPOCH, station, "status")
    assert "by this machine's clock (1970-01-01 00:05 UTC) the certificate is not valid yet" in shown.out
    assert "what to do: Set the clock." in shown.out
    assert "not-yet-valid" in shown.out
    retried = at(EPOCH, station, "retry")
    assert retried.code in {0, 1}
    assert station.credential() == before


def test_a_certificate_that_expires_today_says_so_and_what_to_do(station: Station) -> None:
    assert station.run("enroll").code == 0
    end = datetime.fromisoformat(str(station.current.description["not_after"]))
    shown = at(end - timedelta(hours=5), station, "status").out
    assert "expiring" in shown
    assert "in 4 hours" in shown or "in 5 hours" in shown
    assert "ike: the certificate is still valid but should have been renewed by now" in shown
    assert "what to do: See 'enrollctl status ike' for why it was not, and run 'enrollctl renew ike'." in shown
    in_full = at(end - timedelta(hours=5), station, "status", "ike").out
    assert "that is:      the certificate is still valid but should have been renewed by now" in in_full
    gone = at(end + timedelta(hours=1), station, "status").out
    assert "ike: the certificate is no longer valid, by the clock of this machine" in gone
    assert "enroll again" in gone


def test_in_all_of_this_the_secret_is_shown_nowhere(bare: Bare) -> None:
    with screen(bare.directory, bare.command()) as terminal:
        answer_all(terminal, bare.url)
        terminal.wait_for("TURN-UP REPORT")
        assert SECRET not in terminal.scrolled()
