"""The matrix: every fault at every step, and what came of it."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from itertools import count
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from agent.cmp.certificates import load
from agent.contract import Action, Outcome, Verdict
from agent.labca.records import CertificateStatus
from agent.overview import look
from agent.settings import PollingSettings
from agent.store.generations import Generation
from agent.supervisor import schedule
from tests.faults.kinds import KINDS, Course, Kind
from tests.faults.proxy import Exchange
from tests.faults.world import World, pass_on

_WHILE: Final = 2
"""Attempts while the fault lasts."""
_AFTER: Final = 5
"""Attempts after it, at the most."""


class Side(StrEnum):
    """Which half of an exchange a fault hits."""

    SENT = "sent"
    RECEIVED = "received"


@dataclass(frozen=True)
class Step:
    """One moment of a job: a message that leaves, or its answer on the way back."""

    name: str
    action: Action
    message: str
    side: Side
    polls: int = 0
    first: bool = False


STEPS: Final = (
    Step("ir sent", Action.ENROLL, "ir", Side.SENT, first=True),
    Step("ip received", Action.ENROLL, "ir", Side.RECEIVED, first=True),
    Step("pollReq sent", Action.ENROLL, "pollReq", Side.SENT, polls=1),
    Step("ip after polling received", Action.ENROLL, "pollReq", Side.RECEIVED, polls=1),
    Step("certConf sent", Action.ENROLL, "certConf", Side.SENT),
    Step("pkiConf received", Action.ENROLL, "certConf", Side.RECEIVED),
    Step("kur sent", Action.RENEW, "kur", Side.SENT, first=True),
    Step("kup received", Action.RENEW, "kur", Side.RECEIVED, first=True),
    Step("certConf of kur sent", Action.RENEW, "certConf", Side.SENT),
    Step("pkiConf of kur received", Action.RENEW, "certConf", Side.RECEIVED),
)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of one fault at one step. Figures of the CA are its own record's."""

    during: tuple[str, ...]
    """Verdicts of the attempts while the fault lasted; an attempt that succeeded was the last."""
    after: int
    """Attempts from its end to the new certificate; 0: it was there already."""
    issued: int
    """Certificates the CA issued on the way, each to be confirmed or to lapse."""
    lost: int
    """Certificates in force at the CA that the device does not have."""
    doubled: int
    """Certificates in force beyond the one that was wanted."""
    known: bool
    """Whether the CA knows the certificate in use and counts it as confirmed."""
    kept: bool
    """Whether the credential of before stayed in use, whole, until the new one took over."""
    longest_wait: float
    """Seconds the daemon would have waited after the last failure, at the most; 0 without a failure."""
    seconds: float
    """How long the attempts after the end of the fault took."""


@dataclass(frozen=True)
class Cell:
    """One fault at one step."""

    kind: Kind
    step: Step

    @property
    def id(self) -> str:
        """Return what the cell is called."""
        return f"{self.kind.name}@{self.step.name}"

    @property
    def exists(self) -> bool:
        """Tell whether this fault can happen at this step."""
        kind = self.kind
        if kind.needs_previous and self.step.first:
            return False
        acts = (kind.before, kind.sent) if self.step.side is Side.SENT else (kind.received, kind.arrived)
        return any(one is not None for one in acts)


CELLS: Final = {cell.id: cell for kind in KINDS for step in STEPS if (cell := Cell(kind, step)).exists}
_NUMBERS: Final = count()


def run(cell: Cell, place: Path) -> Result:
    """Bring the fault about in a world of its own below ``place``, end it, and let the device recover."""
    kind, step = cell.kind, cell.step
    with World(
        place / f"world-{next(_NUMBERS)}",
        polls=step.polls,
        tls=kind.tls,
        small_disk=kind.small_disk,
        faked_clock=kind.faked_clock,
    ) as world:
        if step.action is Action.RENEW:
            _succeed(world.attempt(Action.ENROLL))
        before = world.store.current
        course = Course(world, backup=world.back_up_ca(), other=_answer_of_another(step.message))
        serials = {one.serial for one in world.record().certificates}
        _arm(cell, course)
        if kind.patience is not None:
            world.answers_within(kind.patience)
        during: list[str] = []
        kept, wait = True, 0.0
        while True:
            outcome = world.attempt(_next(world, step.action))
            during.append(str(outcome.verdict))
            if _is_done(outcome):
                break
            kept = kept and world.store.current == before and _whole(before)
            wait = _longest_wait(world, outcome)
            if len(during) == _WHILE:
                break
        world.before, world.handle = (lambda _: None), pass_on
        kind.end(course)
        world.answers_within()
        began, after = time.monotonic(), 0
        while not _is_done(outcome) and after < _AFTER:
            after += 1
            outcome = world.attempt(_next(world, step.action))
        _succeed(outcome)
        took = time.monotonic() - began
        return _judged(world, serials, before, tuple(during), after, kept=kept, wait=wait, took=took)


def _arm(cell: Cell, course: Course) -> None:
    """Let the fault happen whenever the step comes."""
    kind, step, world = cell.kind, cell.step, course.world

    def before(message: str) -> None:
        if step.side is Side.SENT and kind.before is not None and message == step.message:
            kind.before(course)

    def handle(exchange: Exchange) -> None:
        here = exchange.message == step.message
        if here and step.side is Side.SENT and kind.sent is not None:
            kind.sent(course, exchange)
        elif here and step.side is Side.RECEIVED and kind.received is not None:
            kind.received(course, exchange)
        else:
            answer = exchange.forward()
            if here and step.side is Side.RECEIVED and kind.arrived is not None:
                kind.arrived(course)
            exchange.peer.say(answer)
            course.request, course.answer = exchange.body, answer

    world.before, world.handle = before, handle


@cache
def _answer_of_another(message: str) -> bytes:
    """Return an answer to ``message`` from the transaction of another device with the same secret."""
    found: list[bytes] = []

    def handle(exchange: Exchange) -> None:
        answer = exchange.forward()
        exchange.peer.say(answer)
        if exchange.message == message:
            found.append(answer)

    with tempfile.TemporaryDirectory() as place, World(Path(place) / "other", polls=int(message == "pollReq")) as world:
        world.handle = handle
        _succeed(world.attempt(Action.ENROLL))
        _succeed(world.attempt(Action.RENEW))
    return found[0]


def _next(world: World, wanted: Action) -> Action:
    """Return what the daemon would do: what is open first."""
    seen = look(world.state, "ike", world.identity, now=world.now())
    return Action(seen.open_request) if seen.open_request else wanted


def _is_done(outcome: Outcome) -> bool:
    return outcome.verdict in {Verdict.ISSUED, Verdict.UNCHANGED}


def _succeed(outcome: Outcome) -> None:
    assert _is_done(outcome), f"{outcome.verdict}: {outcome.text}"


def _longest_wait(world: World, outcome: Outcome) -> float:
    seen = look(world.state, "ike", world.identity, now=world.now())
    asked = outcome.retry_after
    if outcome.verdict is Verdict.WAITING:
        wait = schedule.poll(1, uniform=1.0, asked=asked, longest=PollingSettings().maximum)
    else:
        wait = schedule.pause(seen, outcome.verdict, world.now(), times=1, uniform=1.0, asked=asked)
    return round(wait, 1)


def _whole(generation: Generation | None) -> bool:
    if generation is not None:
        generation.check()
        assert generation.private_key is not None
        key = load_pem_private_key(generation.private_key.read_bytes(), None)
        assert key.public_key() == load(generation.certificate).public_key()
    return True


def _judged(
    world: World,
    serials: set[int],
    before: Generation | None,
    during: tuple[str, ...],
    after: int,
    *,
    kept: bool,
    wait: float,
    took: float,
) -> Result:
    current = world.store.current
    assert current is not None
    assert current != before
    _whole(current)
    assert not world.store.transaction.path.exists()
    have = {generation.certificate for generation in world.store.generations}
    new = [one for one in world.record().certificates if one.serial not in serials]
    in_force = [one.octets for one in new if one.status is CertificateStatus.CONFIRMED]
    return Result(
        during=during,
        after=after,
        issued=len(new),
        lost=len([one for one in in_force if one not in have]),
        doubled=len([one for one in in_force if one != current.certificate]),
        known=current.certificate in in_force,
        kept=kept,
        longest_wait=wait,
        seconds=round(took, 2),
    )
