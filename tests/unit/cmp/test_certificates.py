from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.cmp import certificates, der
from agent.cmp.errors import MalformedMessage
from tests.unit.cmp import pki

NAMES = [x509.DNSName("a.b"), x509.UniformResourceIdentifier("urn:x"), x509.RFC822Name("a@b")]
RICH = pki.authority(
    "CN=Rich,O=Operator",
    add=[
        x509.NameConstraints(NAMES, [x509.IPAddress(ipaddress.ip_network("10.0.0.0/8"))]),
        x509.SubjectAlternativeName(NAMES),
        x509.ExtendedKeyUsage([x509.ObjectIdentifier("1.2.3.4")]),
        x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("1.2.3"), ["text"])]),
    ],
)


def test_everything_that_matters_is_read() -> None:
    facts = certificates.read(RICH.certificate)
    assert facts.octets == RICH.octets
    assert facts.spki == RICH.spki
    assert facts.is_ca
    assert facts.path_length is None
    assert facts.key_usage == frozenset({"keyCertSign", "cRLSign", "digitalSignature"})
    assert facts.extended_key_usage == frozenset({"1.2.3.4"})
    assert len(facts.alternative_names) == 3
    assert facts.subject_key_identifier == facts.authority_key_identifier
    assert facts.critical == {"2.5.29.19", "2.5.29.15"}
    assert facts.self_issued
    assert facts.who == '"CN=Rich,O=Operator"'


def test_absent_extensions_are_told_from_empty_ones() -> None:
    facts = certificates.read(pki.version_1(pki.issue("CN=a"), pki.new_key()).certificate)
    assert facts.version is x509.Version.v1
    assert facts.key_usage is None
    assert facts.extended_key_usage is None
    assert facts.alternative_names == ()
    assert not facts.is_ca


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, len(RICH.octets) - 1), st.integers(0, 255)), min_size=1, max_size=3))
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_damaged_certificates_raise_nothing_but_our_error(changes: list[tuple[int, int]]) -> None:
    octets = bytearray(RICH.octets)
    for position, value in changes:
        octets[position] = value
    try:
        loaded = x509.load_der_x509_certificate(bytes(octets))
    except (ValueError, x509.InvalidVersion):
        with pytest.raises(MalformedMessage):
            certificates.load(bytes(octets))
        return
    try:
        facts = certificates.read(loaded)
    except MalformedMessage:
        return
    assert facts.octets == bytes(octets)


@given(st.binary(max_size=300))
def test_rubbish_is_malformed(octets: bytes) -> None:
    with pytest.raises(MalformedMessage, match="a certificate cannot be read"):
        certificates.load(octets)


def test_a_certificate_with_trailing_octets_is_malformed() -> None:
    with pytest.raises(MalformedMessage, match="follow its end"):
        certificates.load(RICH.octets + b"\x00")


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_old_roots_with_serial_number_zero_are_read_without_a_word() -> None:
    holder = pki.issue("CN=a")
    zero = pki.rebuild(holder, holder.key, lambda fields: [fields[0], b"\x02\x01\x00", *fields[2:]])
    assert certificates.load(zero.octets).serial_number == 0


def test_an_algorithm_that_differs_inside_and_outside_is_malformed() -> None:
    octets = bytearray(RICH.octets)
    position = octets.rindex(bytes.fromhex("2a8648ce3d040302"))
    octets[position + 7] = 3
    with pytest.raises(MalformedMessage, match="signed part"):
        certificates.load(bytes(octets))


def test_signatures_verify_with_the_right_key_only() -> None:
    leaf = certificates.read(pki.issue("CN=a", RICH).certificate)
    assert certificates.signature_verifies(leaf, certificates.read(RICH.certificate))
    assert not certificates.signature_verifies(leaf, leaf)
    other_kind = pki.issue("CN=Rich,O=Operator", key=rsa.generate_private_key(65537, 2048))
    assert not certificates.signature_verifies(leaf, certificates.read(other_kind.certificate))


def test_rsa_keys_are_equal_with_null_parameters_or_none() -> None:
    key = pki.spki(rsa.generate_private_key(65537, 2048))
    algorithm, bits = der.children(key)
    oid = der.children(key, algorithm)[0]
    bare = der.wrap(0x30, der.wrap(0x30, key[oid.start : oid.end]), key[bits.start : bits.end])
    assert certificates.same_public_key(key, bare)
    odd = der.wrap(0x30, der.wrap(0x30, key[oid.start : oid.end], b"\x04\x00"), key[bits.start : bits.end])
    assert not certificates.same_public_key(key, odd)


def test_ec_keys_differ_when_curve_bits_or_form_differ() -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    key = pki.spki(private)
    assert certificates.same_public_key(key, bytes(key))
    assert not certificates.same_public_key(key, pki.spki(ec.generate_private_key(ec.SECP256R1())))
    algorithm, bits = der.children(key)
    oid = der.children(key, algorithm)[0]
    without_curve = der.wrap(0x30, der.wrap(0x30, key[oid.start : oid.end]), key[bits.start : bits.end])
    assert not certificates.same_public_key(key, without_curve)
    point = private.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    compressed = der.wrap(0x30, key[algorithm.start : algorithm.end], der.wrap(0x03, b"\x00", point))
    assert not certificates.same_public_key(key, compressed)


@pytest.mark.parametrize("key", [b"", b"rubbish", b"\x30\x00", b"\x30\x04\x30\x00\x03\x00"])
def test_octets_that_are_no_key_are_malformed(key: bytes) -> None:
    with pytest.raises(MalformedMessage):
        certificates.same_public_key(key, RICH.spki)


def test_times_are_written_for_people() -> None:
    assert certificates.when(datetime(2026, 1, 2, 3, 4, 59, tzinfo=UTC)) == "2026-01-02 03:04 UTC"
    assert certificates.when(datetime(2026, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=2)))) == "2026-01-02 01:04 UTC"
