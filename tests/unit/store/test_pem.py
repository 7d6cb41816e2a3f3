from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.store import pem

CERTIFICATES = st.lists(st.binary(min_size=1, max_size=300), max_size=4)


@given(CERTIFICATES)
def test_what_is_written_is_read_back(certificates: list[bytes]) -> None:
    assert pem.decode(pem.encode(certificates, nothing="none")) == tuple(certificates)


@given(st.binary(min_size=1, max_size=300))
def test_the_text_is_the_one_other_programs_write(certificate: bytes) -> None:
    assert pem.encode([certificate]).decode() == ssl.DER_cert_to_PEM_cert(certificate)


def test_no_certificates_make_a_remark_and_no_empty_file() -> None:
    assert pem.encode([], nothing="no chain") == b"# no chain\n"
    assert pem.decode(b"# no chain\n") == ()


def test_carriage_returns_and_text_between_blocks_are_read_over() -> None:
    text = b"subject=CN=x\r\n" + pem.encode([b"first"]).replace(b"\n", b"\r\n") + b"issuer\n" + pem.encode([b"second"])
    assert pem.decode(text) == (b"first", b"second")


@given(CERTIFICATES.filter(bool), st.data())
def test_a_text_cut_short_is_never_read_as_something_else(certificates: list[bytes], data: st.DataObject) -> None:
    """It is refused, or it was cut between two blocks."""
    text = pem.encode(certificates)
    end = data.draw(st.integers(0, len(text)))
    try:
        read = pem.decode(text[:end])
    except ValueError:
        return
    assert read == tuple(certificates)[: len(read)]


@pytest.mark.parametrize(
    "text",
    [
        b"-----BEGIN CERTIFICATE-----\nAAAA\n",
        b"-----BEGIN CERTIFICATE-----\nAA*A\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nAAA\n-----END CERTIFICATE-----\n",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        b"AAAA\n-----END CERTIFICATE-----\n",
    ],
    ids=["no end", "no base64", "wrong length", "a private key", "no beginning"],
)
def test_damage_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="PEM block"):
        pem.decode(text)
