from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from agent.cmp import algorithms, by_schema, der, root_update, schema
from agent.cmp.certificates import MODERN
from agent.cmp.errors import CmpError, UntrustedPeer
from agent.cmp.root_update import RootUpdate
from tests.unit.cmp import pki
from tests.unit.cmp.pki import DAY, NOW, Holder, issue

OLD = issue("CN=Root,O=Operator", ca=True)
NEW = issue("CN=Root 2,O=Operator", ca=True)


def cross(holder: Holder, by: Holder, **changes: object) -> bytes:
    """The name and key of ``holder``, certified by ``by``."""
    arguments: dict[str, object] = {"key": holder.key, "ca": True} | changes
    return issue(holder.certificate.subject, by, **arguments).octets  # type: ignore[arg-type]


GOOD = RootUpdate(new_with_new=NEW.octets, new_with_old=cross(NEW, OLD), old_with_new=cross(OLD, NEW))


def accept(update: RootUpdate, old: Holder = OLD) -> x509.Certificate:
    return root_update.accept(update, old.certificate, now=NOW, rules=MODERN)


def test_a_root_that_the_old_one_vouches_for_is_accepted() -> None:
    assert accept(GOOD) == NEW.certificate
    assert accept(replace(GOOD, old_with_new=None)) == NEW.certificate


def _other_key() -> RootUpdate:
    return replace(GOOD, new_with_old=cross(issue("CN=Root 2,O=Operator", ca=True), OLD))


def _weak() -> RootUpdate:
    weak = issue("CN=Root 2,O=Operator", ca=True, key=rsa.generate_private_key(65537, 1024))
    return RootUpdate(new_with_new=weak.octets, new_with_old=cross(weak, OLD))


def _made(**changes: object) -> RootUpdate:
    new = issue("CN=Root 2,O=Operator", **({"ca": True} | changes))  # type: ignore[arg-type]
    return RootUpdate(new_with_new=new.octets, new_with_old=cross(new, OLD))


REFUSED: dict[str, tuple[Callable[[], RootUpdate], str]] = {
    "nothing vouches for it": (lambda: replace(GOOD, new_with_old=None), "nothing we trust vouches for it"),
    "not self-signed": (lambda: replace(GOOD, new_with_new=cross(NEW, OLD)), "not signed with its own key"),
    "no CA": (lambda: _made(ca=False), "not that of a CA"),
    "may not sign certificates": (lambda: _made(key_usage=pki.usage("digital_signature")), "not that of a CA"),
    "weak key": (_weak, "an RSA key of 1024 bits"),
    "ended": (lambda: _made(end=NOW - DAY), "ended on"),
    "far in the future": (lambda: _made(start=NOW + 91 * DAY, end=NOW + 900 * DAY), "begins only on"),
    "another key in newWithOld": (_other_key, "another name or key"),
    "a stranger vouches": (
        lambda: replace(GOOD, new_with_old=cross(NEW, issue("CN=Stranger", ca=True))),
        "was not issued by the root we trust",
    ),
    "a stranger of the same name vouches": (
        lambda: replace(GOOD, new_with_old=cross(NEW, issue("CN=Root,O=Operator", ca=True))),
        "was not made by the root we trust",
    ),
    "newWithOld is no CA": (lambda: replace(GOOD, new_with_old=cross(NEW, OLD, ca=False)), "does not certify a CA"),
    "newWithOld ended": (lambda: replace(GOOD, new_with_old=cross(NEW, OLD, end=NOW - DAY)), "valid only until"),
    "oldWithNew of another": (
        lambda: replace(GOOD, old_with_new=cross(issue("CN=Root,O=Operator", ca=True), NEW)),
        "oldWithNew does not certify",
    ),
    "rubbish": (lambda: replace(GOOD, new_with_new=b"\x30\x03\x02\x01\x05"), "cannot be read"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_new_root_is_refused_when(case: str) -> None:
    make, words = REFUSED[case]
    with pytest.raises(UntrustedPeer, match=words) as refused:
        accept(make())
    assert "stay in use" in refused.value.remedy


def test_an_ended_root_vouches_for_nobody() -> None:
    ended = issue("CN=Root,O=Operator", ca=True, end=NOW - DAY)
    with pytest.raises(UntrustedPeer, match="the root we trust ended"):
        accept(RootUpdate(new_with_new=NEW.octets, new_with_old=cross(NEW, ended)), ended)


def announcing(digest: bytes) -> Holder:
    value = der.wrap(der.SEQUENCE, algorithms.build_algorithm(algorithms.HASHES["sha256"].oid), der.wrap(0x04, digest))
    oid = x509.ObjectIdentifier(root_update.HASH_OF_ROOT_KEY)
    return issue("CN=Root,O=Operator", ca=True, add=[x509.UnrecognizedExtension(oid, value)])


def test_a_root_that_announced_its_successor_is_followed_by_that_one_only() -> None:
    right = announcing(hashlib.sha256(NEW.spki).digest())
    assert accept(RootUpdate(new_with_new=NEW.octets, new_with_old=cross(NEW, right)), right) == NEW.certificate
    wrong = announcing(hashlib.sha256(b"another key").digest())
    with pytest.raises(UntrustedPeer, match="another successor"):
        accept(RootUpdate(new_with_new=NEW.octets, new_with_old=cross(NEW, wrong)), wrong)


def encoded(update: RootUpdate) -> bytes:
    value = schema.RootCaKeyUpdateContent()
    value["newWithNew"] = der.unwrap(update.new_with_new)
    value["newWithOld"] = der.unwrap(update.new_with_old or b"")
    value["oldWithNew"] = der.unwrap(update.old_with_new or b"")
    return by_schema.encode(value)


def test_the_content_of_the_message_is_read_as_it_was_written() -> None:
    assert root_update.decode(encoded(GOOD)) == GOOD


@given(st.integers(0, len(encoded(GOOD)) - 1), st.integers(1, 255))
def test_no_changed_octet_is_taken_for_a_root(position: int, difference: int) -> None:
    octets = bytearray(encoded(GOOD))
    octets[position] ^= difference
    try:
        found = accept(root_update.decode(bytes(octets)))
    except CmpError:
        return
    assert found == NEW.certificate, "only what does not matter may change"
