"""What benchmarks read and print, by hand-written samples and by processes of their own."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.benchmarks.__main__ import verdicts, written
from tests.benchmarks.authority import Authority, served
from tests.benchmarks.bench_many_identities import helper, until_all
from tests.benchmarks.certmonger import copied
from tests.benchmarks.processes import (
    Memory,
    cpu,
    memory,
    parse_family_cpu,
    parse_smaps,
    parse_switches,
    switches,
    until_quiet,
)
from tests.benchmarks.tables import table, verdict

SMAPS = """\
00400000-00700000 r-xp 00000000 fe:00 1234    /usr/bin/python3.11
Size:               3072 kB
Rss:                2000 kB
Pss:                 500 kB
Shared_Clean:       2000 kB
Private_Clean:         0 kB
Private_Dirty:         0 kB
VmFlags: rd ex mr mw me
01000000-01100000 rw-p 00000000 00:00 0       [heap]
Rss:                1024 kB
Pss:                1024 kB
Private_Clean:         8 kB
Private_Dirty:      1016 kB
7f0000000000-7f0000100000 r-xp 00000000 fe:00 99 /usr/lib/x86_64-linux-gnu/libc.so.6
Rss:                1500 kB
Pss:                  30 kB
Private_Clean:         0 kB
Private_Dirty:         0 kB
"""


def test_memory_is_summed_over_all_mappings() -> None:
    assert parse_smaps(SMAPS) == Memory(pss=1554, private=1024, rss=4524)


def test_what_would_be_alone_elsewhere_counts_in_full() -> None:
    assert parse_smaps(SMAPS, alone="python") == Memory(pss=3054, private=1024, rss=4524)


def test_no_mapping_is_no_memory() -> None:
    assert parse_smaps("") == Memory(0, 0, 0)


def test_only_voluntary_switches_are_wake_ups() -> None:
    assert parse_switches("Name:\tx\nvoluntary_ctxt_switches:\t62\nnonvoluntary_ctxt_switches:\t250\n") == 62


def test_the_kernel_writes_what_is_read_here() -> None:
    program = "import sys\nfor _ in sys.stdin: print(sum(range(300_000)), flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        until_quiet(child.pid)
        woken, spent, occupied = switches(child.pid), cpu(child.pid), memory(child.pid)
        child.stdin.write("\n")
        child.stdin.flush()
        child.stdout.readline()
        until_quiet(child.pid)
        assert switches(child.pid) > woken
        assert 0.0 < spent < cpu(child.pid)
        assert 0 < occupied.private <= occupied.pss <= occupied.rss
        child.stdin.close()


def test_a_process_that_never_rests_is_given_up() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as child:
        began = time.monotonic()
        with pytest.raises(TimeoutError, match=rf"process {child.pid} was still busy"):
            until_quiet(child.pid, seconds=0.3)
        assert time.monotonic() - began < 60
        child.kill()


def test_columns_are_as_wide_as_what_is_in_them() -> None:
    assert table(("daemon", "MiB"), [("enrolld, 1000", "9.5"), ("x", "10.25")]) == (
        "daemon           MiB\nenrolld, 1000    9.5\nx              10.25"
    )


def test_a_row_that_lacks_a_cell_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        table(("a", "b"), [("only one",)])


@pytest.mark.parametrize(
    ("found", "at_least", "word"), [(14.0, False, "met"), (14.1, False, "MISSED"), (20, True, "met")]
)
def test_a_goal_is_said_to_be_met_or_missed(found: float, at_least: bool, word: str) -> None:
    line = verdict("PSS", found, 14, "MiB", at_least=at_least)
    assert line.split()[0] == word
    assert f"{found:.2f} MiB" in line


def test_a_copied_request_has_files_of_its_own() -> None:
    request = "id=first\nkey_storage_location=/x/first.key\ncert_storage_location=/x/first.pem\nca_name=local\n"
    assert copied(request, "copy-7") == (
        "id=copy-7\nkey_storage_location=/x/copy-7.key\ncert_storage_location=/x/copy-7.pem\nca_name=local\n"
    )


def test_the_cpu_of_a_family_is_its_own_and_that_of_its_ended_children_whatever_its_name() -> None:
    stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 200 3 4 50 25 300 125 20 0 1 0 99"
    assert parse_family_cpu(stat, 100) == pytest.approx(5.0)


def test_only_what_follows_the_introduction_is_a_message_served() -> None:
    introduction = (
        "listening on http://127.0.0.1:1/x\n\nevery message served is one line from here on; end with Ctrl-C\n"
    )
    assert served(introduction) == 0
    assert served(f"{introduction}ir: accepted\ncertConf: accepted\n") == 2
    assert served("listening on http://127.0.0.1:1/x\n") == 0


def test_the_helper_asks_the_ca_it_is_written_for_and_has_no_word_left_to_fill_in(tmp_path: Path) -> None:
    script = helper(Authority(tmp_path, "127.0.0.1:8829", ".well-known/cmp"))
    assert "-server 127.0.0.1:8829 -path /.well-known/cmp -ref enb-4711 -secret pass:" in script
    assert not {"HOST", "PATH", "REFERENCE", "SECRET"} & set(script.replace(":", " ").split())
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)
    unsupported = subprocess.run(
        ["sh", "-s"], input=script, text=True, env={"CERTMONGER_OPERATION": "POLL"}, check=False
    )
    assert unsupported.returncode == 6


def test_files_that_do_not_come_are_named(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    until_all([tmp_path / "there"], seconds=0.0)
    with pytest.raises(TimeoutError, match=r"1 certificates were not there after 0 s: .*missing"):
        until_all([tmp_path / "there", tmp_path / "missing"], seconds=0.0)


def test_the_table_of_all_goals_has_a_row_for_each_line_that_a_benchmark_prints() -> None:
    met, missed = verdict("PSS, identities 1", 13.4, 14, "MiB"), verdict("rate", 2, 20, "x as fast", at_least=True)
    said = f"some table: 3\n{met}\n{missed}\n"
    command = "python tests/benchmarks/bench_daemon.py"
    assert list(verdicts("daemon", said)) == [
        ("PSS, identities 1", "13.40 MiB", "at most 14 MiB", "met", command),
        ("rate", "2.00 x as fast", "at least 20 x as fast", "MISSED", command),
    ]


def test_the_document_keeps_everything_but_what_a_benchmark_has_printed_before() -> None:
    document = written("# Performance\n\nText.\n", "many_identities", "old")
    assert document.startswith("# Performance\n\nText.\n\n## Many identities\n")
    again = written(f"{document}\nMore.\n", "many_identities", "new")
    assert "old" not in again
    assert again == f"{document}\nMore.\n".replace("old", "new")
