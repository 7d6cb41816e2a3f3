"""What the CA wants in a request (certReqTemplate): shown to people, and held against a request before it is sent."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from agent.cmp import names
from agent.cmp.messages import Info
from agent.cmp.request_template import RequestTemplate, completed, decode, described, objections
from agent.contract import Outcome, Verdict
from agent.errors import ConfigurationError
from agent.events import Event, sentence
from agent.worker.conversation import OutOfPatience
from agent.worker.inquiring import DeclinedQuestion, Inquirer

if TYPE_CHECKING:
    from agent.contract import Job
    from agent.worker.environment import Environment
    from agent.worker.plan import Plan
    from agent.worker.reporting import Reporter
    from hsm.keystore import Key


def show(job: Job, plan: Plan, reporter: Reporter, environment: Environment) -> Outcome:
    """Ask for the template with ``plan``'s credential and say how our settings stand to it; nothing is changed.

    Raises:
        RemoteError, TransportError: no acceptable answer.
    """
    try:
        template = _ask(job, plan, reporter, environment)
    except OutOfPatience as wait:
        return wait.outcome("the CA has not answered yet")
    except DeclinedQuestion as declined:
        return Outcome(verdict=Verdict.REJECTED, text=str(declined), remedy=declined.remedy)
    facts = "nothing in particular" if template is None else "; ".join(described(template))
    reporter.tell(Event.TEMPLATE, facts=facts)
    words = {"facts": facts}
    if template is None:
        return Outcome(verdict=Verdict.DONE, text=sentence(Event.TEMPLATE, words))
    trouble = _trouble(job, template, job.identity.key.algorithm.value)
    return trouble or Outcome(verdict=Verdict.DONE, text=f"{sentence(Event.TEMPLATE, words)}. Our request fits")


def fitted(job: Job, plan: Plan, key: Key, reporter: Reporter, environment: Environment) -> Plan:
    """Return ``plan`` with what the CA's template adds.

    Raises:
        ConfigurationError: the template forbids the request as it is; nothing was asked for.
        RemoteError, TransportError: no acceptable answer to the question.
    """
    try:
        template = _ask(job, plan, reporter, environment)
    except (OutOfPatience, DeclinedQuestion) as error:
        reporter.tell(Event.NOTE, note=f"the CA gives no request template: {error}")
        return plan
    if template is None:
        return plan
    reporter.tell(Event.TEMPLATE, facts="; ".join(described(template)))
    trouble = _trouble(job, template, key.algorithm.value if key.algorithm else "another kind")
    if trouble is not None:
        raise ConfigurationError(trouble.text, remedy=trouble.remedy)
    return replace(plan, extensions=completed(template, plan.extensions))


def _ask(job: Job, plan: Plan, reporter: Reporter, environment: Environment) -> RequestTemplate | None:
    inquirer = Inquirer(job, plan.originator, plan.rules, plan.recipient, reporter, environment)
    answer = inquirer.ask(
        Info.CERT_REQ_TEMPLATE, None, Info.CERT_REQ_TEMPLATE, certificate_profile=job.authority.certificate_profile
    )
    return None if answer is None else decode(answer)


def _trouble(job: Job, template: RequestTemplate, key: str) -> Outcome | None:
    subject = names.parse_name(names.name_from_text(job.identity.subject))
    found = objections(template, subject=subject, alternative_names=bool(job.identity.alternative_names), key=key)
    if not found:
        return None
    settings = ", ".join(dict.fromkeys(f"`{setting}`" for _, setting in found))
    return Outcome(
        verdict=Verdict.MISCONFIGURED,
        text="; ".join(text for text, _ in found),
        remedy=f"Change {settings} of the identity so, or ask the CA's operator for another profile.",
    )
