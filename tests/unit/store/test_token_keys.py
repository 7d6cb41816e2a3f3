"""The list of keys on tokens, where this version cannot read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.errors import StateCorrupt, StateError, StateNewer
from agent.store.token_keys import TokenKeys
from tests.unit.store.samples import TOKEN_KEY


@pytest.mark.parametrize(("content", "kind"), [('{"version": 2}', StateNewer), ('{"version": 1}', StateCorrupt)])
def test_a_list_that_cannot_be_read_is_left_as_it_is_by_whoever_would_write_it(
    tmp_path: Path, content: str, kind: type[StateError]
) -> None:
    path = tmp_path / "token-keys.json"
    path.write_text(content)
    keys = TokenKeys(tmp_path)
    for use in (keys.load, keys.retire_at, lambda: keys.plan(None), lambda: keys.add(TOKEN_KEY)):
        with pytest.raises(kind):
            use()
    assert path.read_text() == content
