"""Run in a process of its own: fill a disk that is really small, and look at what is left of an identity on it.

``python -m tests.unit.store.small_disk KIND DIRECTORY``, where ``KIND`` is ``tmpfs`` (needs a mount namespace) or
``limit`` (a limit on the size of files, which needs nothing).
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.errors import StateError
from agent.store.generations import IdentityStore
from agent.store.state import IdentityState
from tests.unit.store.samples import credential, enrolled, left_overs

LARGE = bytes(20_000)


def refused(change: Callable[[], object], reason: str) -> None:
    """Demand that ``change`` fails sooner or later, for ``reason`` and with a remedy."""

    def often() -> None:
        for _ in range(20):
            change()

    with pytest.raises(StateError, match=reason) as caught:
        often()
    assert caught.value.remedy


def unharmed(store: IdentityStore) -> None:
    """Demand that the first credential is in use and that whatever else is there is whole."""
    assert store.current == store.generations[0]
    assert store.generations[0].certificate == b"certificate 1"
    for generation in store.generations:
        generation.check()
    assert store.state.load() == IdentityState(attempts=1)
    assert store.transaction.load_snapshot() == {"sent": 1}
    assert left_overs(store.state_directory) == []


def fill(directory: Path) -> None:
    """Take the last octet of the disk."""
    descriptor = os.open(directory / "filler", os.O_WRONLY | os.O_CREAT)
    try:
        while os.write(descriptor, bytes(512)):
            pass
    except OSError:
        os.close(descriptor)


def main(kind: str, directory: Path) -> None:
    """Enroll, fill the disk, fail in every way there is, make room, go on; with tmpfs, then read-only."""
    if kind == "tmpfs":
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k,mode=0700", "none", directory], check=True)
    store, _ = enrolled(directory)
    store.state.save(IdentityState(attempts=1))
    store.transaction.save_snapshot({"sent": 1})

    reason = "ENOSPC"
    if kind == "limit":
        reason = "EFBIG"
        resource.setrlimit(resource.RLIMIT_FSIZE, (1500, resource.RLIM_INFINITY))
    with store.lock():
        refused(lambda: store.add(credential(LARGE)), reason)
    unharmed(store)
    if kind == "tmpfs":
        fill(directory)
    with store.lock():
        refused(lambda: store.add(credential(LARGE)), reason)
        refused(lambda: store.transaction.save_snapshot({"sent": 2, "anchors": "00" * 4000}), reason)
        refused(lambda: store.state.save(IdentityState(attempts=2, next_action="x" * 8000)), reason)
        unharmed(store)
        if kind == "tmpfs":
            (directory / "filler").unlink()
            store.transaction.clear()
            store.switch(store.generations[-1])
            assert store.prune(keep=1)
        store.switch(store.add(credential(b"at last")))

    if kind == "tmpfs":
        subprocess.run(["mount", "-o", "remount,ro", directory], check=True)
        refused(lambda: store.lock().__enter__(), "EROFS")
        refused(lambda: store.state.save(IdentityState()), "EROFS")
    current = store.current
    assert current is not None
    assert current.certificate == b"at last"


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
