from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.config import load
from agent.errors import ConfigurationError
from agent.settings import Settings
from agent.supervisor.configuration import parse

TEXT = """\
state-directory: state
authorities:
  lab: {urls: [http://127.0.0.1:9/], trust-anchors: enrollment, mac: {iterations: 5000}}
  idle: {urls: [http://127.0.0.1:9/], trust-anchors: enrollment}
identities:
  plain: {authority: lab, subject: "CN=a", bootstrap: {shared-secret: {reference: a, secret: prompt}}}
  other:
    authority: lab
    subject: "CN=é"
    bootstrap: {shared-secret: {reference: é, secret: prompt}}
    renewal: {at: 70%}
"""


def said_about(path: Path) -> bytes:
    done = subprocess.run([sys.executable, "-I", "-m", "agent.config", path], capture_output=True, check=False)
    assert done.stderr == b""
    return done.stdout


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "enrolld.yaml"
    path.write_text(TEXT)
    return path


def test_what_the_reader_says_is_what_the_file_says(file: Path) -> None:
    known, settings = parse(said_about(file)), load(file)
    assert known.common == Settings(
        state_directory=settings.state_directory, authorities=settings.authorities, identities={}
    )
    assert list(known.identities) == list(settings.identities)
    for name, identity in settings.identities.items():
        assert known.settings_of(name).identities == {name: identity}
    assert known.warnings == ("authorities.idle: is used by no identity (name it in an identity, or remove it)",)


def test_an_identity_is_kept_without_what_has_its_default(file: Path) -> None:
    bootstrap = {"shared-secret": {"reference": "a", "secret": "prompt"}}
    kept = json.loads(parse(said_about(file)).identities["plain"])
    assert kept == {"authority": "lab", "subject": "CN=a", "bootstrap": bootstrap}


def test_a_file_that_is_refused_is_refused_with_every_mistake(file: Path) -> None:
    file.write_text(TEXT.replace("authority: lab", "authority: lap"))
    with pytest.raises(ConfigurationError) as caught:
        parse(said_about(file))
    assert len(caught.value.mistakes) == 2


def test_what_a_reader_that_was_ended_left_unsaid_is_not_taken_for_no_identity(file: Path) -> None:
    whole = said_about(file)
    for end in range(len(whole)):
        with pytest.raises(ValueError, match=r"."):
            parse(whole[:end])


@pytest.mark.parametrize("identities", [2, 2000])
def test_a_reader_whose_daemon_is_gone_leaves_without_a_word(file: Path, identities: int) -> None:
    # As one is whose daemon was killed: in the buffer at the end, or while more is written than it takes.
    more = (
        f'  i{one}: {{authority: lab, subject: "CN={one}", '
        f"bootstrap: {{shared-secret: {{reference: a, secret: prompt}}}}}}\n"
        for one in range(identities)
    )
    file.write_text(TEXT + "".join(more))
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-I", "-m", "agent.config", str(file)]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")
