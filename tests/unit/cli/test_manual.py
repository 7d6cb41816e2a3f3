from __future__ import annotations

import pytest

from agent.cli import manual


def test_the_readme_shows_the_help_of_every_command_as_it_is() -> None:
    readme = manual.README.read_text()
    assert readme == manual.updated(readme), "the README is stale; write it anew with: python -m agent.cli.manual"


def test_a_readme_without_markers_is_not_guessed_at() -> None:
    with pytest.raises(ValueError, match="substring not found"):
        manual.updated("# enrolld")
