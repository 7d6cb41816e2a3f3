from __future__ import annotations

from agent.cli import protocol_tables
from agent.cmp.states import State


def test_the_tables_in_the_docs_are_those_of_the_code() -> None:
    remedy = "write it anew: python -m agent.cli.protocol_tables"
    assert protocol_tables.DOCUMENT.read_text() == protocol_tables.document(), remedy


def test_the_diagram_has_every_state() -> None:
    assert all(state.value.replace("-", "_") in protocol_tables.document() for state in State)
