"""A challenge is solved when it is one, from the CA itself, for our key; otherwise no number is given to anybody."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cmp import algorithms, challenge, cms, der, names
from agent.cmp.bodies import Challenge, PopDecChallenges
from agent.cmp.errors import CmpError, ProtectionError, ProtocolViolation
from agent.labca import enveloping
from agent.labca.enveloping import Recipe
from hsm.algorithms import KeyAlgorithm
from tests.unit.cmp.decryptors import P256, RSA, X25519, key_of
from tests.unit.cmp.mutations import grafted, scrambled

CA = names.directory_name(names.name_from_text("CN=Operator RA,OU=Core,O=Operator"))
NUMBER = 0x8899AABBCCDDEEFF
"""Its first bit is set: the INTEGER has an octet more than the number."""
SHA256 = algorithms.build_algorithm("2.16.840.1.101.3.4.2.1")
SHA1 = algorithms.build_algorithm("1.3.14.3.2.26")


def integer(number: int) -> bytes:
    return der.wrap(der.INTEGER, der.integer_contents(number))


def rand(number: int = NUMBER, sender: bytes = CA) -> bytes:
    return der.wrap(der.SEQUENCE, integer(number), sender)


def posed(content: bytes, algorithm: KeyAlgorithm = RSA, *, direct: bool = False, number: int = NUMBER) -> Challenge:
    """Return a challenge with ``content``; its witness is that of ``number``."""
    public = key_of(algorithm).public_key
    witness = hashlib.sha256(integer(number)).digest()
    if direct:
        return Challenge(owf=SHA256, witness=witness, challenge=enveloping.encrypt_directly(content, public))
    sealed = cms.encode(enveloping.envelop(content, public))
    return Challenge(owf=SHA256, witness=witness, challenge=b"", encrypted_rand=sealed)


def solved(posed: Challenge, algorithm: KeyAlgorithm = RSA, sender: bytes = CA) -> int:
    return challenge.solve(PopDecChallenges((posed,)), key_of(algorithm), sender)


def refused(posed: Challenge, said: str, sender: bytes = CA) -> None:
    with pytest.raises(ProtocolViolation, match=said) as caught:
        solved(posed, sender=sender)
    assert str(NUMBER) not in str(caught.value)
    assert f"{NUMBER:x}" not in str(caught.value)


# --- solved ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", [RSA, P256, KeyAlgorithm.EC_P384, X25519])
def test_a_challenge_is_solved(algorithm: KeyAlgorithm) -> None:
    assert solved(posed(rand(), algorithm), algorithm) == NUMBER


def test_a_challenge_of_rfc_4210_is_solved() -> None:
    assert solved(posed(rand(), direct=True)) == NUMBER


@pytest.mark.parametrize("number", [0, 1, 127, 128, 2**63, 2**64 - 1, 2**2048 - 1])
def test_any_number_is_found(number: int) -> None:
    assert solved(posed(rand(number), number=number)) == number


def test_the_witness_may_be_over_the_value_of_the_number_alone() -> None:
    witness = hashlib.sha256(der.integer_contents(NUMBER)).digest()
    assert solved(replace(posed(rand()), witness=witness)) == NUMBER


@pytest.mark.parametrize("owf", [SHA1, algorithms.build_algorithm("1.2.840.113549.2.5", algorithms.NULL)])
def test_old_one_way_functions_are_for_legacy_profiles_only(owf: bytes) -> None:
    hash_ = hashlib.sha1 if owf == SHA1 else hashlib.md5
    old = replace(posed(rand()), owf=owf, witness=hash_(integer(NUMBER)).digest())
    assert challenge.solve(PopDecChallenges((old,)), key_of(RSA), CA, legacy=True) == NUMBER
    with pytest.raises(ProtectionError, match="one-way function"):
        solved(old)


@pytest.mark.parametrize(
    "text",
    ["CN=operator ra,OU=Core,O=Operator", "CN=Operator RA", "CN=Operator RA,O=Operator"],
)
def test_the_name_may_be_written_otherwise_or_cut_to_what_fits(text: str) -> None:
    """RFC 4210 5.2.8.3 lets a CA shorten its name, so that the challenge fits into an RSA block."""
    assert solved(posed(rand(sender=names.directory_name(names.name_from_text(text))))) == NUMBER


def test_a_name_of_another_kind_must_be_the_very_same() -> None:
    dns = der.wrap(0x82, b"ra.operator.example")
    assert solved(posed(rand(sender=dns)), sender=dns) == NUMBER
    refused(posed(rand(sender=dns)), "somebody else")
    refused(posed(rand()), "somebody else", sender=dns)


# --- not solved -----------------------------------------------------------------------------------------------------


def test_a_wrong_witness_is_refused() -> None:
    for witness in (b"", bytes(32), hashlib.sha256(integer(NUMBER + 1)).digest()):
        refused(replace(posed(rand()), witness=witness), "witness")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"a pre-master secret",
        bytes(48),
        der.wrap(der.SEQUENCE),
        integer(NUMBER),
        der.wrap(der.SEQUENCE, integer(NUMBER)),
        rand() + b"\x05\x00",
        der.wrap(der.SEQUENCE, integer(NUMBER), CA, CA),
        der.wrap(der.SEQUENCE, CA, integer(NUMBER)),
        der.wrap(der.SET, integer(NUMBER), CA),
        b"\x30\x80" + integer(NUMBER) + CA + b"\x00\x00",
        rand(-1),
        rand(2**2048),
    ],
)
@pytest.mark.parametrize("direct", [False, True])
def test_what_is_no_number_with_a_name_is_not_given_away(content: bytes, *, direct: bool) -> None:
    if direct and len(content) > 245:
        content = content[:245]
    refused(posed(content, direct=direct), "no number with a name")


@pytest.mark.parametrize("text", ["CN=another CA", "CN=Operator RA,O=Another", "OU=Core,O=Operator", "O=Operator"])
def test_a_challenge_that_somebody_else_made_is_refused(text: str) -> None:
    refused(posed(rand(sender=names.directory_name(names.name_from_text(text)))), "somebody else")


def test_a_sender_that_is_no_name_is_refused() -> None:
    refused(posed(rand(sender=der.wrap(0xA4, b"\x05\x00"))), "somebody else")


@pytest.mark.parametrize("direct", [False, True])
def test_a_challenge_for_another_key_is_refused(*, direct: bool) -> None:
    with pytest.raises(ProtocolViolation):
        challenge.solve(PopDecChallenges((posed(rand(), direct=direct),)), key_of(RSA, 1), CA)


def test_one_challenge_is_solved_and_no_more() -> None:
    one = posed(rand())
    for challenges in ((), (one, one)):
        with pytest.raises(ProtocolViolation, match="challenges for our one key"):
            challenge.solve(PopDecChallenges(challenges), key_of(RSA), CA)


def test_a_challenge_must_say_how_its_witness_was_made() -> None:
    refused(replace(posed(rand()), owf=None), "owf")
    with pytest.raises(ProtectionError, match=r"hash 1\.2\.3"):
        solved(replace(posed(rand()), owf=algorithms.build_algorithm("1.2.3")))


def test_a_challenge_in_two_forms_is_refused() -> None:
    refused(replace(posed(rand()), challenge=b"x"), "two forms")


def test_a_key_that_agrees_takes_no_direct_challenge() -> None:
    with pytest.raises(ProtectionError, match="rsa-pkcs1"):
        solved(replace(posed(rand(), P256), challenge=b"x", encrypted_rand=None), P256)


# --- anything at all ------------------------------------------------------------------------------------------------

CONTENTS = st.binary(max_size=80) | grafted(st.just(rand())) | scrambled(st.just(rand()))


@given(CONTENTS, st.sampled_from([P256, X25519]))
def test_whatever_is_encrypted_only_a_challenge_is_answered(content: bytes, algorithm: KeyAlgorithm) -> None:
    sealed = enveloping.envelop(content, key_of(algorithm).public_key, 0, Recipe(key_size=16))
    witness = hashlib.sha256(integer(NUMBER)).digest()
    one = Challenge(owf=SHA256, witness=witness, challenge=b"", encrypted_rand=cms.encode(sealed))
    with contextlib.suppress(CmpError):
        assert (solved(one, algorithm), content[:1]) == (NUMBER, b"\x30")


@given(st.binary(max_size=300))
def test_any_octets_raise_nothing_but_our_errors(octets: bytes) -> None:
    sequence = der.wrap(der.SEQUENCE, octets)
    for one in (
        Challenge(owf=SHA256, witness=bytes(32), challenge=octets),
        Challenge(owf=SHA256, witness=octets, challenge=b"", encrypted_rand=octets),
        Challenge(owf=octets, witness=octets, challenge=octets),
        Challenge(owf=sequence, witness=octets, challenge=b"", encrypted_rand=sequence),
    ):
        with pytest.raises(CmpError):
            solved(one)
