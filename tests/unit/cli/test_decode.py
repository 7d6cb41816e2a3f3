from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from agent.cli import main, output
from agent.cmp import messages
from agent.cmp.bodies import ErrorMessage, PkiConf, StatusInfo
from agent.cmp.messages import Header
from agent.cmp.protection import MacParameters, MacProtector
from agent.cmp.reading import SIZE

MESSAGE = messages.build(Header(transaction_id=bytes(16)), ErrorMessage(StatusInfo(status=2, failures=frozenset({9}))))


@pytest.fixture
def message(tmp_path: Path) -> Path:
    path = tmp_path / "error.der"
    path.write_bytes(MESSAGE)
    return path


def run(*arguments: Any) -> int:
    with pytest.raises(SystemExit) as ended:
        main.main(["decode", *map(str, arguments)])
    return int(ended.value.code or 0)


def test_a_file_is_told_in_words(message: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(message) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"message: error (error message), {len(MESSAGE)} octets\n  as received: canonical DER")
    assert "      failInfo: badPOP\n" in out
    assert "what to do: Check that the key belongs to this identity" in out
    assert all(len(line) <= 80 for line in out.splitlines())
    assert not err


def test_standard_input_is_read_with_and_without_a_dash(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []
    for arguments in ((), ("-",)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(MESSAGE.hex(":").encode())))
        assert run(*arguments) == 0
        seen.append(capsys.readouterr().out)
    assert seen[0] == seen[1]
    assert "note: from hexadecimal" in seen[0]


def test_json_is_one_document_that_says_the_same(message: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--json", message) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["understood"] is True
    (item,) = document["items"]
    assert [one["name"] for one in item["items"]] == ["as received", "header", "body error", "protection"]
    assert item["items"][1]["items"][0] == {
        "name": "pvno",
        "value": "2 (cmp2000)",
        "offset": item["items"][1]["offset"] + 2,
    }


def test_what_is_not_understood_gives_one_and_everything_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cut.der"
    path.write_bytes(MESSAGE[:-3])
    assert run(path) == 1
    out, err = capsys.readouterr()
    assert "transactionID: 00000000000000000000000000000000" in out
    assert "error: reading stopped at " in err
    assert err.splitlines()[-1].startswith("enrollctl: what to do: Check that the input is whole")
    assert run("--json", path) == 1
    assert json.loads(capsys.readouterr().out)["understood"] is False


def test_a_file_that_is_too_long_is_read_in_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "long"
    path.write_bytes(MESSAGE + bytes(2 * SIZE))
    assert run(path) == 1
    assert f"only the first {SIZE} of the" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [("/nonexistent",), ("--unknown",), ("a", "b"), ("/",)])
def test_usage_gives_two(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert not out
    assert "what to do:" in err


def test_a_file_that_breaks_while_it_is_read_gives_two(capsys: pytest.CaptureFixture[str]) -> None:
    # The kernel refuses to read the memory at address 0.
    assert run("/proc/self/mem") == 2
    assert "cannot be read: Input/output error" in capsys.readouterr().err


@pytest.mark.parametrize(("secret", "verdict"), [("geheim\n", "verifies with the"), ("other", "DOES NOT VERIFY")])
def test_a_mac_is_checked_with_the_secret_of_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], secret: str, verdict: str
) -> None:
    protector = MacProtector(b"geheim", MacParameters(iterations=100, salt=b"saltsalt"))
    path, secret_file = tmp_path / "message", tmp_path / "secret"
    header = Header(protection_alg=protector.algorithm)
    path.write_bytes(messages.build(header, PkiConf(), protect=protector.protect))
    secret_file.write_text(secret)
    secret_file.chmod(0o600)
    assert run("--secret-file", secret_file, path) == 0
    assert verdict in capsys.readouterr().out


def test_a_secret_that_everybody_can_read_is_refused(
    message: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret_file = tmp_path / "secret"
    secret_file.write_text("geheim")
    secret_file.chmod(0o644)
    assert run("--secret-file", secret_file, message) == 4
    out, err = capsys.readouterr()
    assert not out
    assert "chmod 600" in err.splitlines()[-1]
    assert run("--secret-file", tmp_path / "none", message) == 4


def test_a_terminal_gets_lines_of_its_width(
    message: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "width", lambda _: 50)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert run(message) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 50
    assert "\x1b" not in out


def test_a_person_is_told_that_we_wait_for_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal(io.BytesIO(MESSAGE)))
    assert run() == 0
    assert "reading standard input; end it with Ctrl-D" in capsys.readouterr().err


def test_the_command_is_known_to_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(["--help"])
    assert not ended.value.code
    assert "decode" in capsys.readouterr().out
