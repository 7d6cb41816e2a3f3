"""Asking the CA a question (genm, RFC 9483 4.3): one InfoTypeAndValue there, one back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.cmp import algorithms, failures
from agent.cmp.bodies import General
from agent.cmp.messages import Info
from agent.cmp.request import Inquiry
from agent.cmp.sizes import MAXIMUM_LIST, SMALLER_LISTS
from agent.cmp.transaction import Answered, Declined, Transaction
from agent.errors import TooLarge
from agent.net.http import CmpClient
from agent.worker.conversation import Conversation

if TYPE_CHECKING:
    from agent.cmp.peer import PeerRules
    from agent.cmp.request import Originator
    from agent.contract import Job
    from agent.worker.environment import Environment
    from agent.worker.reporting import Reporter


class DeclinedQuestion(Exception):
    """The CA does not answer this question; ``remedy`` is what to do about it."""

    def __init__(self, why: str, *, remedy: str) -> None:
        """Keep why, in words."""
        super().__init__(why)
        self.remedy = remedy


class Inquirer:
    """Asks as ``originator``; each question is a transaction of its own."""

    def __init__(
        self,
        job: Job,
        originator: Originator,
        rules: PeerRules,
        recipient: bytes,
        reporter: Reporter,
        environment: Environment,
    ) -> None:
        """Take who asks whom, and who may answer."""
        self._job = job
        self._originator = originator
        self._rules = rules
        self._recipient = recipient
        self._reporter = reporter
        self._environment = environment

    def ask(
        self, question: Info, value: bytes | None, expected: Info, *, certificate_profile: str | None = None
    ) -> bytes | None:
        """Return the DER value of the one answer; None when it has none.

        Raises:
            DeclinedQuestion: the CA says no, or that it does not know the question (RFC 9810 5.3.19.7).
            OutOfPatience: it has not answered yet.
            RemoteError, TransportError: no acceptable answer.
        """
        inquiry = Inquiry(
            info_type=question.value,
            value=value,
            recipient=self._recipient,
            certificate_profile=certificate_profile,
        )
        lists = MAXIMUM_LIST if expected is Info.CRLS else 0
        answers = [one for one in self._exchange(inquiry, lists).infos if one.type == expected.value]
        if len(answers) != 1:
            raise DeclinedQuestion(
                f"the CA does not answer the question {question.name.lower().replace('_', ' ')}",
                remedy="It may not offer this; ask its operator. Everything stays as it is.",
            )
        found = answers[0].value
        return None if found in {None, algorithms.NULL} else found

    def _exchange(self, inquiry: Inquiry, lists: int) -> General:
        """Ask; in the answer may be ``lists`` octets of CRLs beside what any answer may have."""
        transaction = Transaction(
            inquiry,
            self._originator,
            self._rules,
            random=self._environment.random,
            clock_trusted=self._environment.clock_trusted,
        )
        self._reporter.remember(CMP_TRANSACTION_ID=transaction.transaction_id.hex())
        with CmpClient(self._job.authority.urls, self._job.authority.http, more=lists) as client:
            conversation = Conversation(transaction, client, self._job, self._environment, self._reporter)
            while True:
                try:
                    event = conversation.exchange("genm")
                except TooLarge as error:
                    error.remedy = SMALLER_LISTS if lists else error.remedy
                    raise
                if isinstance(event, Declined):
                    said = failures.describe(event.status, event.failures, event.text)
                    raise DeclinedQuestion(said, remedy=failures.remedy(event.failures))
                if isinstance(event, Answered) and isinstance(event.body, General):
                    return event.body
