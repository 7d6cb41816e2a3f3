"""Keeping what was sent and received for a support bundle, where the configuration says so; it never stops the work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.cmp.errors import MalformedMessage
from agent.cmp.redaction import without_macs
from agent.errors import StateError
from agent.events import Event
from agent.store.generations import IdentityStore
from agent.store.recording import Recordings

if TYPE_CHECKING:
    from agent.contract import Job
    from agent.worker.reporting import Reporter


class Recorder:
    """Records the messages of one transaction, without their MACs; a full disk is told once and then left alone."""

    def __init__(self, job: Job, transaction_id: bytes, reporter: Reporter) -> None:
        """Read from ``job`` whether anything is recorded."""
        self._bounds = job.recording
        self._transaction_id = transaction_id
        self._reporter = reporter
        self._recordings = Recordings(IdentityStore(job.state_directory, job.name).directory)
        self._works = job.recording.transactions > 0

    def sent(self, octets: bytes) -> None:
        """Record a message of ours."""
        self._record("sent", octets)

    def received(self, octets: bytes) -> None:
        """Record an answer, whatever it is."""
        self._record("received", octets)

    def _record(self, direction: str, octets: bytes) -> None:
        if not self._works:
            return
        try:
            octets = without_macs(octets)
        except MalformedMessage:
            return  # nobody can say what is in it
        try:
            self._recordings.add(
                self._transaction_id,
                direction,
                octets,
                transactions=self._bounds.transactions,
                maximum=self._bounds.maximum,
            )
        except (StateError, OSError) as error:
            self._works = False
            self._reporter.tell(Event.NOTE, note=f"messages are not recorded any more: {error}")
