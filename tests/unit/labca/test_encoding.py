from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from agent.cmp import der
from agent.cmp.errors import MalformedMessage
from agent.labca import encoding
from agent.labca.encoding import Extension

OIDS = st.builds(
    lambda first, second, rest: ".".join(map(str, (first, second, *rest))),
    st.integers(0, 2),
    st.integers(0, 39),
    st.lists(st.integers(0, 2**40), min_size=1, max_size=6),
)
MOMENTS = st.datetimes(datetime(1950, 1, 1), datetime(2200, 1, 1)).map(  # noqa: DTZ001 - hypothesis wants them so
    lambda when: when.replace(microsecond=0, tzinfo=UTC)
)
EXTENSIONS = st.lists(
    st.builds(Extension, OIDS, st.booleans(), st.binary(max_size=40).map(encoding.octet_string)), max_size=5
).map(tuple)


@given(st.integers(0, 2**200))
def test_an_integer_is_canonical_and_comes_back(number: int) -> None:
    octets = encoding.integer(number)
    der.check(octets)
    assert encoding.read_integer(octets) == number


@given(OIDS)
def test_an_oid_comes_back(dotted: str) -> None:
    octets = encoding.oid(dotted)
    der.check(octets)
    assert encoding.read_oid(octets) == dotted


@given(st.frozensets(st.integers(0, 20)))
def test_named_bits_are_canonical_and_come_back(bits: frozenset[int]) -> None:
    octets = encoding.named_bits(*bits)
    der.check(octets)
    assert encoding.read_named_bits(octets) == bits


def test_key_usage_is_what_the_library_writes() -> None:
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=True,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    assert encoding.named_bits(0, 2) == usage.public_bytes()


@given(EXTENSIONS)
def test_extensions_come_back(parts: tuple[Extension, ...]) -> None:
    octets = encoding.extensions(parts)
    der.check(octets)
    assert encoding.read_extensions(octets) == parts


@given(MOMENTS)
def test_a_time_comes_back_in_either_form(moment: datetime) -> None:
    octets = encoding.time(moment)
    der.check(octets)
    assert encoding.read_time(octets) == moment


@pytest.mark.parametrize("octets", [b"\x17\x02ab", b"\x04\x0d270301120000Z"])
def test_what_is_no_time_is_refused(octets: bytes) -> None:
    with pytest.raises(MalformedMessage):
        encoding.read_time(octets)


@pytest.mark.parametrize("octets", [b"\x30\x02\x05\x00", b"\x30\x05\x30\x03\x06\x01\x2a", b"\x05\x00"])
def test_what_are_no_extensions_is_refused(octets: bytes) -> None:
    with pytest.raises(MalformedMessage):
        encoding.read_extensions(octets)
