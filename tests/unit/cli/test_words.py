"""What is shown can be translated: every text passes through gettext's catalogue, and what is stored stays English.

The language of these tests is made by machine: every message in brackets, with what was put in left as it is.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from agent.cli.messages import messages, template
from agent.cli.words import Catalogue
from tests.bare import Bare, questions
from tests.screen import screen
from tests.station import ENVIRONMENT, REFERENCE, Finished, Station


@pytest.fixture(scope="module")
def pseudo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of somebody who reads it; the catalogue is made by gettext's own msgfmt."""
    folder = tmp_path_factory.mktemp("translations")
    text = re.sub(
        r'^msgid "(.+)"\nmsgstr ""$',
        lambda one: f'msgid "{one[1]}"\nmsgstr "⟪{one[1]}⟫"',
        template(),
        flags=re.MULTILINE,
    )
    (folder / "xx.po").write_text(text)
    target = folder / "xx" / "LC_MESSAGES" / "enrolld.mo"
    target.parent.mkdir(parents=True)
    subprocess.run(["msgfmt", "--check-format", "--output-file", target, folder / "xx.po"], check=True)
    return ENVIRONMENT | {"LANGUAGE": "xx", "TEXTDOMAINDIR": str(folder)}


def plain(text: str) -> str:
    return re.sub("[⟪⟫]", "", text)


def same(one: Finished, other: Finished) -> None:
    assert plain(one.out) == other.out
    assert plain(one.err) == other.err


def test_status_and_its_errors_are_translated_and_nothing_else_changes(
    station: Station, pseudo: dict[str, str]
) -> None:
    station.configure(urls=["http://127.0.0.1:9/.well-known/cmp"])
    assert station.run("enroll").code == 1
    shown = station.run("status", "ike", env=pseudo)
    for line in shown.out.splitlines():
        assert line.startswith("⟪"), line
    assert re.search("⟪last error⟫: ⟪.* ago⟫: ⟪.*no address.* of the CA could be reached", shown.out)
    assert re.search("⟪what to do⟫: ⟪Check the port ", shown.out), shown.out
    table = station.run("status", env=pseudo)
    assert table.out.split()[:5] == ["⟪NAME⟫", "⟪STATE⟫", "⟪SUBJECT⟫", "⟪EXPIRES⟫", "⟪NEXT⟫"]
    assert "⟪enrolld does not run⟫" in table.err
    nobody = station.run("status", "nobody", env=pseudo)
    assert nobody.err.startswith("enrollctl: ⟪error⟫: ⟪there is no identity ")
    assert "enrollctl: ⟪what to do⟫: ⟪The only one is " in nobody.err


def test_json_and_what_is_stored_stay_english(station: Station, pseudo: dict[str, str]) -> None:
    station.configure(urls=["http://127.0.0.1:9/.well-known/cmp"])
    done = station.run("enroll", "--json", env=pseudo)
    assert done.code == 1
    assert "⟪" in done.err
    assert "⟪" not in json.dumps(json.loads(done.out), ensure_ascii=False)
    assert "⟪" not in (station.store.directory / "state.json").read_text()


def test_the_doctor_is_translated_to_its_last_word(station: Station, pseudo: dict[str, str]) -> None:
    done = station.run("doctor", env=pseudo)
    assert plain(done.out).splitlines()[0].split() == ["CHECK", "ABOUT", "STATE", "WHAT"]
    for line in done.out.splitlines()[1:]:
        if "what to do" in line:
            assert line.startswith("    ⟪what to do⟫: ⟪"), line


def test_a_turn_up_is_translated_from_the_first_question_to_the_report(bare: Bare, pseudo: dict[str, str]) -> None:
    with screen(bare.directory, bare.command(), environment=pseudo | {"LC_ALL": "C.UTF-8"}) as terminal:
        for question, answer in questions(bare.url):
            terminal.wait_for(question.rstrip(":").replace(f" {REFERENCE}", ""))
            terminal.type(answer)
        terminal.wait_for("⟪result⟫:")
        assert terminal.ended() == 0
        shown = terminal.scrolled()
    for message in ("one-time secret of reference", "sending ", "installed: ", "done: the certificate is installed"):
        assert f"⟪{message}" in " ".join(shown.split()), message


@pytest.mark.parametrize("octets", [b"", b"rubbish", b"\xde\x12\x04\x95" + b"\xff" * 40])
def test_a_catalogue_that_is_none_is_as_if_there_were_none(
    station: Station, pseudo: dict[str, str], tmp_path: Path, octets: bytes
) -> None:
    target = tmp_path / "xx" / "LC_MESSAGES" / "enrolld.mo"
    target.parent.mkdir(parents=True)
    target.write_bytes(octets)
    same(station.run("status", env=pseudo | {"TEXTDOMAINDIR": str(tmp_path)}), station.run("status"))


def test_what_was_put_into_a_message_is_translated_too_and_may_stand_elsewhere() -> None:
    known = Catalogue({
        "the file {path} cannot be read: {reason}": "{reason}: {path} ist nicht zu lesen",
        "it is empty": "sie ist leer",
        "{name} twice {name}": "zweimal {name}",
    })  # fmt: skip
    assert known("the file a: b cannot be read: it is empty") == "sie ist leer: a: b ist nicht zu lesen"
    assert known("ike: it is empty") == "ike: sie ist leer"
    assert known("unknown {path}") == "unknown {path}"
    assert known("x twice x") == "zweimal x"


def test_every_message_of_the_tables_is_listed_for_translators() -> None:
    known = messages()
    for text in (
        "the certificate is valid and its renewal is not due",  # agent/cli/state_words.py
        "address of the CA (http://host/path)",  # agent/cli/site_answers.py
        "a person must supply the one-time secret",  # agent/contract.py
        "is in its slot, but its module does not recognise it",  # hsm/ckr.py
        "there is no state directory {directory}",  # agent/supervisor/jobs.py
        "SUBJECT",
    ):
        assert text in known, text
