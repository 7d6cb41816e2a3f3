from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from agent.errors import StateError
from agent.store.faults import OTHER_REMEDY, REMEDIES, reported, state_error

PATH = Path("/var/lib/enrolld/identities/ike/state.json")


def test_an_error_names_the_file_the_reason_and_the_number() -> None:
    error = state_error(OSError(errno.ENOSPC, "whatever"), "write", PATH)
    assert str(error) == f"cannot write {PATH}: No space left on device (ENOSPC)"
    assert error.remedy.startswith("free space (df -h /var/lib/enrolld/identities/ike)")


@pytest.mark.parametrize("code", sorted(REMEDIES), ids=errno.errorcode.__getitem__)
def test_every_remedy_of_the_table_is_a_finished_sentence(code: int) -> None:
    remedy = state_error(OSError(code, ""), "write", PATH).remedy
    assert remedy
    assert "{" not in remedy
    assert not remedy.endswith(".")


def test_an_error_nobody_thought_of_has_a_remedy_too() -> None:
    error = state_error(OSError(errno.EXFULL, ""), "write", PATH)
    assert error.remedy == OTHER_REMEDY
    assert "EXFULL" in str(error)


def test_a_remedy_can_be_pasted_into_a_shell_whatever_the_path_is() -> None:
    error = state_error(OSError(errno.ENOSPC, ""), "write", Path("/my disk/$(reboot)/file"))
    assert "df -h '/my disk/$(reboot)'" in error.remedy


def test_the_cause_is_kept_and_other_errors_pass() -> None:
    with pytest.raises(StateError) as caught, reported("write", PATH):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    assert isinstance(caught.value.__cause__, PermissionError)
    with pytest.raises(KeyError), reported("write", PATH):
        raise KeyError
