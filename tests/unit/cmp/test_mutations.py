"""No change to a protected answer is ever accepted as anything: the transaction stands where it stood.

One exception, by design: extraCerts are not protected (RFC 9810 5.1.3). What is added, dropped or reordered there may
not matter; or a certificate's chain is missing then, and the certificate is refused, which trusts nothing either.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.cmp import der, messages
from agent.cmp.errors import RemoteError
from agent.cmp.events import Issued, Unacceptable
from agent.cmp.protection import Kind
from tests.unit.cmp.mutations import grafted, scrambled
from tests.unit.cmp.stages import CASES, Moment, awaiting


def judge(moment: Moment, octets: bytes) -> None:
    """Expect that ``octets`` are refused without a trace, or are the true answer but for unprotected parts."""
    device = moment.again()
    before = device.transaction.snapshot()
    try:
        event = device.hear(octets)
    except RemoteError:
        assert device.transaction.snapshot() == before
        return
    taken, true = messages.parse(octets), messages.parse(moment.answer)
    assert taken.protected_part == true.protected_part
    if event != moment.event:
        assert taken.extra_certs != true.extra_certs
        assert isinstance(moment.event, Issued)
        assert isinstance(event, Unacceptable)
        assert event.objection.check == "chain"


MOMENTS: Final = st.sampled_from(CASES).map(lambda one: awaiting(*one))


@st.composite
def spliced(draw: st.DrawFn, one: bytes, other: bytes) -> bytes:
    """Put parts of two answers together, as values with right lengths or as mere octets."""
    if draw(st.booleans()):
        parts = [der.values(one), der.values(other)]
        count = draw(st.integers(2, 4))
        chosen = [draw(st.sampled_from(parts)) for _ in range(count)]
        return der.wrap(der.SEQUENCE, *(values[at] for at, values in enumerate(chosen) if at < len(values)))
    return one[: draw(st.integers(0, len(one)))] + other[draw(st.integers(0, len(other))) :]


@given(st.data())
@settings(max_examples=250)
def test_no_scrambled_answer_is_accepted(data: st.DataObject) -> None:
    now = data.draw(MOMENTS)
    judge(now, data.draw(scrambled(st.just(now.answer))))


@given(st.data())
@settings(max_examples=250)
def test_no_answer_with_values_repeated_dropped_reordered_or_replaced_is_accepted(data: st.DataObject) -> None:
    now = data.draw(MOMENTS)
    judge(now, data.draw(grafted(st.just(now.answer))))


@given(st.data())
@settings(max_examples=150)
def test_no_answer_put_together_from_two_is_accepted(data: st.DataObject) -> None:
    now, other = data.draw(MOMENTS), data.draw(MOMENTS)
    judge(now, data.draw(spliced(now.answer, other.answer)))


@given(st.data())
@settings(max_examples=150)
def test_header_and_body_of_true_answers_cannot_be_exchanged_under_a_protection_that_does_not_cover_them(
    data: st.DataObject,
) -> None:
    now, other = data.draw(MOMENTS), data.draw(MOMENTS)
    mine, theirs = messages.parse(now.answer), messages.parse(other.answer)
    fields = data.draw(st.sets(st.sampled_from(["recip_nonce", "transaction_id", "sender_nonce", "sender"])))
    header = replace(mine.header, **{name: getattr(theirs.header, name) for name in fields})
    body = theirs if data.draw(st.booleans()) else mine
    protection = data.draw(st.sampled_from([mine.protection, theirs.protection]))
    octets = messages.build(
        header, body.body(), protect=lambda _: protection or b"", extra_certs=mine.extra_certs + theirs.extra_certs
    )
    judge(now, octets)


@pytest.mark.parametrize(
    ("name", "kind", "step"), [("pkiconf", Kind.MAC, 1), ("ip", Kind.SIGNATURE, 5), ("pollRep", Kind.SIGNATURE, 5)]
)
def test_no_bit_can_be_changed(name: str, kind: Kind, step: int) -> None:
    now = awaiting(name, kind)
    for at in range(0, len(now.answer), step):
        changed = bytearray(now.answer)
        changed[at] ^= 1 << at % 8
        judge(now, bytes(changed))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_no_beginning_of_an_answer_is_an_answer(name: str, kind: Kind) -> None:
    now = awaiting(name, kind)
    for end in range(len(now.answer)):
        with pytest.raises(RemoteError):
            messages.parse(now.answer[:end])


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_an_answer_of_one_moment_is_none_at_another(name: str, kind: Kind) -> None:
    now = awaiting(name, kind)
    for other in CASES:
        if other != (name, kind):
            judge(now, awaiting(*other).answer)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_extra_certs_that_do_not_matter_change_nothing(name: str, kind: Kind) -> None:
    now = awaiting(name, kind)
    true = messages.parse(now.answer)
    header, body, protection = der.values(now.answer)[:3]
    rubbish = (b"\x30\x00", der.wrap(der.SEQUENCE, b"\x02\x01\x07"), now.device.ca.pki.other_root.certificate)
    for certificates in (
        (*true.extra_certs, *rubbish),
        (*rubbish, *true.extra_certs),
        (*rubbish, *reversed(true.extra_certs), *true.extra_certs),
    ):
        listed = der.wrap(0xA1, der.wrap(der.SEQUENCE, *certificates))
        assert now.again().hear(der.wrap(der.SEQUENCE, header, body, protection, listed)) == now.event
