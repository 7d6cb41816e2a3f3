"""One transaction over HTTP within the patience of a job: send, hear, wait while the CA is undecided or busy."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from agent.cmp.errors import RemoteError, StandingUnknown
from agent.cmp.failures import PKIStatus
from agent.cmp.states import State
from agent.cmp.transaction import Concluded, Undecided
from agent.contract import Outcome, Verdict
from agent.errors import ServerBusy, TransportError
from agent.events import Event
from agent.worker.lists import Lists
from agent.worker.recording import Recorder
from agent.worker.words import next_step, short_wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.cmp.transaction import Event as CmpEvent
    from agent.cmp.transaction import Transaction
    from agent.contract import Job
    from agent.net.http import Answer, CmpClient
    from agent.worker.environment import Environment
    from agent.worker.reporting import Reporter

DEFAULT_CHECK_AFTER: Final = 30.0
"""Seconds between polls when the CA names no time."""
HELD_OPEN: Final = 10.0
"""Seconds of waiting through which a connection is kept; some servers tie a transaction to it."""
_WAITING: Final = frozenset({State.WAITING, State.CONFIRM_WAITING})
_LABELS: Final = {State.POLLING: "pollReq", State.CONFIRM_POLLING: "pollReq", State.PROVING: "popdecr"}


class OutOfPatience(Exception):
    """The CA wants more time than the job has, or the job was interrupted while it waited.

    ``seconds`` from now is when to come back.
    """

    def __init__(self, seconds: float, *, interrupted: bool) -> None:
        """Keep the number of seconds to wait, and why nobody waits here."""
        super().__init__(f"{seconds:.0f} seconds")
        self.seconds = seconds
        self.interrupted = interrupted

    def outcome(self, text: str) -> Outcome:
        """Return the end of a job that a person asked for, and of which nothing stays open; ``text`` is what waits."""
        return Outcome(
            verdict=Verdict.WAITING,
            text=text,
            remedy=f"Run the same command again in {short_wait(self.seconds)}.",
            retry_after=self.seconds,
        )


class Conversation:
    """Drives ``transaction`` through ``client``; ``save`` makes it durable before each send and after each answer.

    Not after the one that concludes it: what follows from that is as durable, and tells it as well.
    """

    def __init__(
        self,
        transaction: Transaction,
        client: CmpClient,
        job: Job,
        environment: Environment,
        reporter: Reporter,
        *,
        save: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin the job's patience now."""
        self._lists = Lists(job, environment, reporter)
        self._noted: set[str] = set()
        self._transaction = transaction
        self._client = client
        self._polling = job.authority.polling
        self._environment = environment
        self._tell = reporter.tell
        self._save = save
        self._recorder = Recorder(job, transaction.transaction_id, reporter)
        self._patience_ends = environment.monotonic() + job.patience

    def exchange(self, label: str) -> CmpEvent:
        """Send what the state calls for and return what the answer means; wait first if it is not time yet.

        ``label`` names the message, unless it is a pollReq. An interruption is obeyed in the waits only, where nothing
        is on its way to us.

        Raises:
            OutOfPatience: the wait is longer than the job's patience, or was interrupted.
            RemoteError, TransportError: no acceptable answer; the transaction stands where it stood.
            StateError: the transaction could not be made durable.
        """
        if self._transaction.state in _WAITING:
            self._wait()
        octets = self._transaction.send(self._environment.judging_time)
        self._save()
        label = _LABELS.get(self._transaction.state, label)
        self._tell(Event.SENT, {"CMP_MESSAGE": label}, message=label)
        self._recorder.sent(octets)
        answer = self._post(octets)
        self._recorder.received(answer.body)
        event = self._receive(answer.body)
        wait = self._time_to_wait(event) if isinstance(event, Undecided) else 0.0
        if not isinstance(event, Concluded):
            self._save()
        for note in getattr(event, "notes", ()):
            if note not in self._noted:  # what is odd about the signer is odd about each of his messages
                self._noted.add(note)
                self._tell(Event.NOTE, note=note)
        if isinstance(event, Undecided):
            reason = f" ({event.reason})" if event.reason else ""
            fields = {"CMP_STATUS": PKIStatus.WAITING.label} | self._asking_again(wait)
            self._tell(Event.PENDING, fields, reason=reason, wait=short_wait(wait))
        return event

    def _receive(self, octets: bytes) -> CmpEvent:
        """Hand over the answer; where the signer's standing is unknown, look it up and hand it over again."""
        try:
            return self._transaction.receive(octets, self._environment.judging_time)
        except StandingUnknown as unknown:
            lists = self._lists.look_up(unknown.path)
        self._transaction.use_lists(one.octets for one in lists)
        return self._transaction.receive(octets, self._environment.judging_time)

    def give_up(self) -> None:
        """Tell the CA that we do not go on with the request; that it may not hear of it changes nothing for us."""
        octets = self._transaction.give_up(self._environment.judging_time)
        self._tell(Event.SENT, {"CMP_MESSAGE": "error"}, message="error")
        try:
            answer = self._client.exchange(octets)
            self._transaction.receive(answer.body, self._environment.judging_time)
        except (TransportError, RemoteError) as error:
            self._tell(Event.NOTE, note=f"the CA may not know that the request is given up: {error}")

    def _post(self, octets: bytes) -> Answer:
        while True:
            try:
                return self._client.exchange(octets)
            except ServerBusy as busy:
                if self._patient_for(busy.retry_after):
                    fields = self._asking_again(busy.retry_after)
                    self._tell(Event.BUSY, fields, wait=short_wait(busy.retry_after))
                    self._pause(busy.retry_after)
                    if not self._environment.interrupted():
                        continue
                raise

    def _asking_again(self, wait: float) -> dict[str, str]:
        return next_step("ask the CA again", self._environment.now() + timedelta(seconds=wait))

    def _time_to_wait(self, event: Undecided) -> float:
        """Bound the CA's word on when to ask again, and hold the transaction to it."""
        asked = DEFAULT_CHECK_AFTER if event.check_after is None else float(event.check_after)
        wait = min(max(asked, self._polling.minimum), self._polling.maximum)
        self._transaction.wait_until(self._environment.now() + timedelta(seconds=wait))
        return wait

    def _wait(self) -> None:
        left = self._left()
        if not self._patient_for(left):
            raise OutOfPatience(left, interrupted=self._environment.interrupted())
        if left > 0:
            self._pause(left)
        if self._environment.interrupted():
            raise OutOfPatience(self._left(), interrupted=True)

    def _left(self) -> float:
        due = self._transaction.check_at
        left = 0.0 if due is None else (due - self._environment.now()).total_seconds()
        # A deadline that a wrong clock stamped is clamped: nobody waits longer than the configured maximum.
        return min(max(left, 0.0), self._polling.maximum)

    def _pause(self, seconds: float) -> None:
        if seconds > HELD_OPEN:
            self._client.close()
        self._environment.sleep(seconds)

    def _patient_for(self, seconds: float) -> bool:
        """Tell whether to wait here; what is due already is not put off for want of patience."""
        if self._environment.interrupted():
            return False
        return seconds <= 0 or self._environment.monotonic() + seconds <= self._patience_ends
