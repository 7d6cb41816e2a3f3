from __future__ import annotations

import pytest

from tests.conformance.collected import is_test, names
from tests.conformance.document import CHAPTERS, DOCUMENT, document
from tests.conformance.table import Row, Status

ROWS = [row for chapter in CHAPTERS for row in chapter.rows]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.requirement[:60])
def test_every_row_names_tests_that_are_collected(row: Row) -> None:
    assert row.tests, "a requirement that nothing shows is a wish"
    assert [one for one in row.tests if not is_test(one)] == []
    assert len(set(row.tests)) == len(row.tests)
    assert (row.status is Status.DONE) == (not row.note), "what is missing is said, and only that"
    assert "|" not in row.requirement + row.source + row.note


def test_no_requirement_stands_twice() -> None:
    said = [(row.requirement, row.source) for row in ROWS]
    assert len(set(said)) == len(said)


def test_the_document_is_that_of_the_tables() -> None:
    assert DOCUMENT.read_text() == document(), "write it anew: python -m tests.conformance"


def test_a_test_that_does_not_exist_is_noticed() -> None:
    here = "tests/conformance/test_conformance.py"
    assert is_test(f"{here}::test_no_requirement_stands_twice")
    assert "test_no_requirement_stands_twice" in names(here)
    assert not is_test(f"{here}::test_that_nobody_wrote")
    assert not is_test("tests/conformance/test_nothing.py::test_no_requirement_stands_twice")
    assert not is_test("tests/conformance/collected.py::names"), "pytest does not look there"


def test_a_set_of_parameters_must_be_one_that_the_test_has() -> None:
    confirmation = "tests/unit/cmp/test_pitfalls.py::test_pitfall_20_a_lost_confirmation_is_made_good"
    assert is_test(f"{confirmation}[certConf]")
    assert not is_test(f"{confirmation}[pollReq]")
    tries = "tests/unit/net/test_answers.py::test_retry_after_is_seconds_or_a_date_within_bounds"
    assert not is_test(f"{tries}[no such-set]")
